"""The entrants of an evaluation: predictors and planners of paths, built in or from model files."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.artefacts import files, health, model_file
from hrm_jax.artefacts.errors import RequestError, known, naming
from hrm_jax.artefacts.report_file import group_of
from hrm_jax.judging import own
from hrm_jax.judging.own import Function
from hrm_jax.referee.cells import episode
from hrm_jax.referee.inference import networks
from hrm_jax.referee.paths import denoising as diffusion
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths.planners import PLANNERS
from hrm_jax.referee.protocols import CELL_PROTOCOLS, PATH_PROTOCOLS, PathProtocol, Protocol
from hrm_jax.worlds.baselines import BASELINES, LEAST_HISTORY
from hrm_jax.worlds.rules import BOUNDS, FURTHEST
from hrm_jax.worlds.world import World

PREDICTORS = (*BASELINES, *BOUNDS)  # what --model accepts apart from files
PATH_PLANNERS = tuple(PLANNERS)  # and under the protocols of paths
BACKENDS = ("numpy", "jax", "jit")


class Entrant(NamedTuple):
    """A predictor or a planner of paths, and what the report says of it."""

    play: Any  # an `episode.Predictor` or a `Planner`
    source: Any  # the model of a file, else the name
    about: dict[str, Any]  # parameters; group and seed of a model that was trained several times


# Where an entrant comes from: a model file, somebody's function, or None for what is built in.
Source = Path | Function | None


class Predictor(NamedTuple):
    """A predictor before it is matched with a world: a model that was read, or the name of a built-in one."""

    name: str
    path: Path | None = None
    model: networks.Predictor | None = None
    function: Function | None = None

    def enter(self, asked: World) -> Entrant:
        """It in the world `asked`; refused where it does not fit."""
        model, baseline = self.model, None if self.function else BASELINES.get(self.name)
        needed = model.history if model else LEAST_HISTORY if baseline else 1 if self.function else 0
        if model:
            check_world(self.path, model.world, asked)
        if needed > asked.history:
            raise RequestError(
                f"{self.path or self.name}: needs {needed} observed steps; "
                f'world "{asked.name}" gives {asked.history}'
            )
        if self.function:
            return Entrant(self.function, self.function, {})
        if model is None:
            return Entrant(functools.partial(baseline, world=asked) if baseline else self.name, self.name, {})
        return Entrant(model.predict, model, _about(self.name, model.parameters, model.config))


def bounded(entrant: Entrant) -> Entrant:
    """A predictor that is not refused where it diverges: what it predicts is cut off at the bound."""
    if not callable(entrant.play):
        return entrant
    return entrant._replace(play=functools.partial(_bounded, entrant.play))


def _bounded(predict: Callable[..., np.ndarray], seen: Any, horizon: int) -> np.ndarray:
    predicted = np.asarray(predict(seen, horizon), np.float64)
    return np.clip(np.nan_to_num(predicted, nan=np.inf), 1 - FURTHEST, FURTHEST - 1)


def enter(
    files: Mapping[str, Source], predictor: str | None, backend: str, asked: World, protocol: Protocol
) -> dict[str, Entrant]:
    """Entrants by name: predictors, or under the protocols of paths planners; the others are refused.

    `predictor` is the name or file of what planners that need forecasts get.
    """
    built_in = PATH_PLANNERS if isinstance(protocol, PathProtocol) else PREDICTORS
    for name, path in files.items():
        if path is None:
            known(f'model under protocol "{protocol.name}"', name, built_in)
    if not isinstance(protocol, PathProtocol):
        if predictor:
            allowed = ", ".join(PATH_PROTOCOLS)
            raise RequestError(f'--predictor is for the protocols {allowed}, not "{protocol.name}"')
        return {name: read_predictor(name, path, backend).enter(asked) for name, path in files.items()}
    # Read once, and refused if wrong even where no planner needs it.
    forecaster = make_forecaster(predictor, backend, asked) if predictor else None
    return {
        name: make_planner(name, path, backend, asked, protocol, forecaster) for name, path in files.items()
    }


def read_predictor(name: str, path: Source, backend: str) -> Predictor:
    """The predictor called `name`, or in the file `path`."""
    if path is None:
        return Predictor(name)
    if isinstance(path, Function):
        return Predictor(name, path.path, function=path)
    kind, _ = _computed_by(backend)
    return Predictor(name, path, networks.load(path, kind))


def _computed_by(backend: str) -> tuple[type[networks.Predictor], type[diffusion.Sampler]]:
    """What computes predictions and paths; here and in `referee` alone jax may be needed."""
    if backend == "numpy":
        return networks.Predictor, diffusion.Sampler
    from hrm_jax.judging.backend import JaxPredictor, JaxSampler

    return JaxPredictor, JaxSampler


def make_planner(
    name: str, path: Source, backend: str, asked: World, rules: PathProtocol, forecaster: Entrant | None
) -> Entrant:
    """The planner of paths called `name`, or in the file `path`; `forecaster` is for those that need one."""
    if isinstance(path, Function):
        raise RequestError(
            f'model "{name}": a function that predicts; protocol "{rules.name}" judges planners of paths, '
            f"which ask for it by --predictor; protocols for it: {', '.join(CELL_PROTOCOLS)}"
        )
    if path is None:
        return Entrant(PLANNERS[name](rules), name, {})
    config, params = model_file.read(path, diffusion.NETWORKS)
    check_world(path, config.get("world", {}), asked)
    if (points := config["model"].get("points")) != rules.points:
        raise RequestError(f'{path}: plans {points} points; protocol "{rules.name}" wants {rules.points}')
    with naming(path):
        needed = diffusion.check_plan(config).forecast == "predictor"
        if asked.history < 1 and (needed or "velocity" in config["model"]["channels"]):
            raise RequestError(f'needs to see obstacles move; world "{asked.name}" shows one moment')
        _, sampler = _computed_by(backend)
        predict = forecaster.play if forecaster else None
        planner = diffusion.DiffusionPlanner(sampler(config, params), rules, predict)
    forecast = forecaster.about if needed and forecaster else {}
    return Entrant(planner, planner, forecast | _about(name, planner.parameters, config))


def make_forecaster(request: str, backend: str, asked: World) -> Entrant:
    """What planners of paths roll obstacles forward with, a baseline's name or a file; it says its name."""
    path = None if request in BASELINES else files.expanded(request)
    source: Source = path
    if function := own.parse(request):
        source = own.load(*function[1:])
    elif path and not path.exists():
        raise RequestError(
            f"--predictor {request}: a model.npz of a predictor, FILE.py:FUNCTION, or one of "
            + ", ".join(BASELINES)
        )
    predictor = read_predictor(request, source, "numpy" if backend == "jit" else backend)
    entrant = predictor.enter(asked)
    about = {"predictor": files.printable(request), **health.told(entrant.about)}
    return entrant._replace(about=about)


def check_world(path: Path | None, trained: dict[str, Any], asked: World) -> None:
    """Refuse a model of another world than the one `asked`, as far as its file tells."""
    if trained.get("size") != asked.size:
        raise RequestError(
            f"{path}: trained in a world of size {trained.get('size')}; "
            f'world "{asked.name}" has size {asked.size}'
        )


def _about(name: str, parameters: int, config: dict[str, Any]) -> dict[str, Any]:
    about = {"parameters": parameters, **health.told(config)}
    if group := group_of(name):
        about |= {"group": group, "seed": config.get("config", {}).get("seed")}
    return about


def referee(backend: str, protocol: Protocol) -> Callable[..., episode.Result]:
    """What plays scenarios under a protocol with an entrant's `play`; for "jit", with its `source`."""
    if isinstance(protocol, PathProtocol):
        if backend == "jit":
            raise RequestError(f'--backend jit: paths ("{protocol.name}") are played by numpy or jax')
        return path_episode.run
    if backend != "jit":
        return episode.run
    from hrm_jax.judging import on_device

    on_device.check(protocol)
    on_device.warn()
    return on_device.run
