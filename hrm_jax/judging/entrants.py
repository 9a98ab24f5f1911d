"""Whom an evaluation compares: predictors and planners of paths, built in or from model files."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.referee.cells import episode
from hrm_jax.referee.cells.protocols import Protocol
from hrm_jax.referee.inference import networks
from hrm_jax.referee.paths import denoising as diffusion
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths.planners import PLANNERS, Planner
from hrm_jax.referee.paths.protocols import PathProtocol
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.world import World

PREDICTORS = (*BASELINES, *episode.BOUNDS)  # what --model accepts beside files
PATH_PLANNERS = tuple(PLANNERS)  # and under the protocols of paths
BACKENDS = ("numpy", "jax", "jit")


class Rival(NamedTuple):
    """A predictor or a planner of paths, and what the report says of it."""

    play: episode.Predictor | Planner
    source: Any  # the model of a file, else the name
    about: dict[str, Any]  # parameters; group and seed of a model that was trained several times


class Forecaster(NamedTuple):
    """A predictor that planners of paths roll obstacles forward with."""

    name: str  # as the request gave it
    predict: diffusion.Predict


def make_rival(name: str, path: Path | None, backend: str, asked: World) -> Rival:
    """The predictor called `name`, or in the file `path`; refused where it does not fit the world `asked`."""
    if name in BASELINES and path is None:
        return Rival(functools.partial(BASELINES[name], world=asked), name, {})
    if path is None:
        return Rival(name, name, {})
    model = _load_predictor(path, backend)
    check_world(path, model.world, asked)
    if model.history > asked.history:
        raise RequestError(
            f'{path}: needs {model.history} observed steps; world "{asked.name}" gives {asked.history}'
        )
    return Rival(model.predict, model, _about(name, model.parameters, model.config))


def make_planner(
    name: str,
    path: Path | None,
    backend: str,
    asked: World,
    rules: PathProtocol,
    forecaster: Forecaster | None,
) -> Rival:
    """The planner of paths called `name`, or in the file `path`; `forecaster` is for those that need one."""
    if path is None:
        return Rival(PLANNERS[name](rules), name, {})
    config, params = model_file.read(path, diffusion.NETWORKS)
    check_world(path, config.get("world", {}), asked)
    if (points := config["model"].get("points")) != rules.points:
        raise RequestError(f'{path}: plans {points} points; protocol "{rules.name}" wants {rules.points}')
    try:
        needed = diffusion.check_plan(config)["forecast"] == "predictor"
        if asked.history < 1 and (needed or "velocity" in config["model"]["channels"]):
            raise RequestError(f'needs to see obstacles move; world "{asked.name}" shows one moment')
        predict = forecaster.predict if forecaster else None
        planner = diffusion.DiffusionPlanner(_sampler(backend)(config, params), rules, predict)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    forecast = {"predictor": forecaster.name} if needed else {}
    return Rival(planner, planner, _about(name, planner.parameters, config) | forecast)


def make_forecaster(request: str, backend: str, asked: World) -> Forecaster:
    """The predictor that planners of paths roll obstacles forward with: a baseline's name or a file."""
    if request in BASELINES:
        return Forecaster(request, make_rival(request, None, backend, asked).play)
    if not Path(request).exists():
        raise RequestError(
            f"--predictor {request}: a model.npz of a predictor, or one of {', '.join(BASELINES)}"
        )
    backend = "numpy" if backend == "jit" else backend
    return Forecaster(request, make_rival(request, Path(request), backend, asked).play)


def check_world(path: Path, trained: dict[str, Any], asked: World) -> None:
    """Refuse a model of another world than the one `asked`, as far as its file tells."""
    if trained.get("size") != asked.size:
        raise RequestError(
            f"{path}: trained in a world of size {trained.get('size')}; "
            f'world "{asked.name}" has size {asked.size}'
        )


def _about(name: str, parameters: int, config: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {"parameters": parameters}
    group, separator, _ = name.rpartition("/")
    if separator:
        about |= {"group": group, "seed": config.get("config", {}).get("seed")}
    return about


def _load_predictor(path: Path, backend: str) -> networks.Predictor:
    if backend == "numpy":
        return networks.load(path)
    from hrm_jax.judging.backend import load  # here and in `referee` and `_sampler` alone jax may be needed

    return load(path)


def _sampler(backend: str) -> Callable[..., diffusion.Sampler]:
    if backend == "numpy":
        return diffusion.NumpySampler
    from hrm_jax.judging.backend import JaxSampler

    return JaxSampler


Referee = Callable[[Rival, Scenarios, Protocol | PathProtocol, Callable | None], episode.Result]


def referee(backend: str, protocol: Protocol | PathProtocol) -> Referee:
    """What plays the episodes."""
    if isinstance(protocol, PathProtocol):
        if backend == "jit":
            raise RequestError(f'--backend jit: paths ("{protocol.name}") are played by numpy or jax')
        return lambda rival, scenarios, rules, progress: path_episode.run(
            scenarios, rules, rival.play, progress
        )
    if backend != "jit":
        return lambda rival, scenarios, rules, progress: episode.run(scenarios, rules, rival.play, progress)
    from hrm_jax.judging import on_device

    on_device.check(protocol)
    return lambda rival, scenarios, rules, progress: on_device.run(scenarios, rules, rival.source, progress)
