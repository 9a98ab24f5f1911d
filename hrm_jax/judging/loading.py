"""`hrm_jax.load`: what a model file computes, for a program of somebody's own."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, model_file, networks, numbers
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.judging import solvers
from hrm_jax.puzzles.dataset import Meta, PuzzleSet
from hrm_jax.referee.inference import networks as inference
from hrm_jax.referee.paths import denoising
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.worlds.features import Observation, Predict


def load(
    path: str | os.PathLike, predictor: str | os.PathLike | Predict | None = None
) -> "Predictor | denoising.DiffusionPlanner | PuzzleModel":
    """The model in a model.npz, a model.safetensors, or a folder with one of them.

    A predictor of obstacles is a `Predictor`. A denoiser is a planner of paths, under the limits of the
    protocol `paths`: `plan(view, previous)` of a `referee.paths.planners.View` (`previous`: its last path, or
    None); where it plans with a predictor, `predictor` is that one, or its file. Both need NumPy alone. What
    solves puzzles is a `PuzzleModel`, which needs jax.

    A file that is damaged, or not of a model, is a `RequestError`.
    """
    if not isinstance(path, str | os.PathLike):
        raise RequestError(f"path is a {type(path).__name__}; wanted is that of a model file")
    path = model_file.located(files.expanded(path))
    config, params = model_file.read(path, networks.NETWORKS)
    name = config["model"]["name"]
    if predictor is not None and name not in networks.DENOISERS:
        raise RequestError(f"{path}: a {name} plans with no predictor")
    with naming(path):
        if name in networks.PUZZLES:
            return PuzzleModel(path, config, params)
        if name in networks.PREDICTORS:
            return Predictor(config, params)
        rules = dataclasses.replace(PATH_PROTOCOLS["paths"], points=config["model"]["points"])
        if isinstance(predictor, str | os.PathLike):
            predictor = inference.load(files.expanded(predictor)).predict
        return denoising.DiffusionPlanner(denoising.Sampler(config, params), rules, predictor)


class Predictor(inference.Predictor):
    """A trained predictor of obstacles: `model(history, horizon)`, or `model.predict(observation, horizon)`.

    `history`: the steps that it looks back; `world`: the world it was trained in; `config`: all of its file.
    """

    def __call__(
        self, history: Any, horizon: int, *, agent: Any = None, static: Any = None, observed: Any = None
    ) -> np.ndarray:
        """Where obstacles will be: positions [A, horizon, N, 2] in cells, float64; of one episode without A.

        Args:
            history: their positions [A, H, N, 2] or [H, N, 2] in cells, oldest first; H is `self.history` or
                more, of which the last ones count. Gaps are filled in, as `worlds.motion.fill` does.
                Or an `Observation`, which has the rest, too: so `hrm_jax.judge` asks.
            agent, static: of a model that sees the scene, the agent's positions [A, H, 2] and the static
                cells, bool [A, R, C]. Others do not look at them.
            observed: False where `history` was filled in, bool [A, H, N].
        """
        if isinstance(history, Observation):
            return self.predict(history, horizon)
        seen = _floats("history", history)
        one = seen.ndim == 3
        seen = seen[None] if one else seen
        if seen.ndim != 4 or seen.shape[-1] != 2 or 0 in seen.shape or seen.shape[1] < self.history:
            wanted = f"[A, H, N, 2] or [H, N, 2], H at least {self.history}"
            raise RequestError(f"history is {list(np.shape(history))}; wanted is {wanted}")
        if horizon < 1:
            raise RequestError(f"a horizon of {horizon} steps; at least 1")
        if self.config["model"].get("features") == "scene" and (agent is None or static is None):
            raise RequestError("this model sees the scene: give agent=[A, H, 2] and static=[A, R, C], too")
        episodes, steps, members, _ = seen.shape
        size = self.world["size"]

        def rest(name: str, given: Any, *shape: int) -> np.ndarray:
            array = np.zeros(shape) if given is None else _floats(name, given)
            array = array[None] if one and given is not None else array
            if array.shape != shape:
                raise RequestError(f"{name} is {list(np.shape(given))}; wanted is {list(shape[one:])}")
            return array

        observation = Observation(
            history=seen,
            observed=rest("observed", np.ones(seen.shape[one:3]) if observed is None else observed,
                          episodes, steps, members).astype(bool),
            agent=rest("agent", agent, episodes, steps, 2),
            static=rest("static", static, episodes, size, size).astype(bool),
        )  # fmt: skip
        predicted = self.predict(observation, horizon)
        return predicted[0] if one else predicted


class PuzzleModel:
    """A trained solver of puzzles. `config`: all of its file; `segments`: those of its training."""

    def __init__(self, path: Path, config: dict[str, Any], params: model_file.Weights):
        known = networks.config(config["model"])
        self.config, self._vocabulary, self._sequence = config, known.vocabulary, known.sequence
        table = params.get(solvers.PUZZLE_EMBEDDING)
        self._identifiers = 1 if table is None else len(table)
        self._model = solvers.FAMILIES[config["model"]["name"]](path, config, params, self._data(path))
        self.segments = self._model.trained_segments

    def __call__(self, inputs: Any, segments: int | None = None, identifiers: Any = None) -> np.ndarray:
        """The answers to puzzles [B, S] after every segment: tokens [T, B, S]; the last ones count.

        Args:
            inputs: tokens of the puzzles, as in a data set of `hrm_jax.puzzles`.
            segments: T, as many as in training if it is not given; more may help.
            identifiers: of the puzzles [B], for a model that was trained with some; none: 0.
        """
        inputs = np.asarray(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != self._sequence or inputs.dtype.kind not in "ui":
            found = f"{inputs.dtype} {list(inputs.shape)}"
            raise RequestError(f"inputs are {found}; wanted are integers [B, {self._sequence}]")
        _check_range("inputs", inputs, self._vocabulary)
        count = len(inputs)
        identifiers = np.zeros(count, np.int32) if identifiers is None else np.asarray(identifiers)
        if identifiers.shape != (count,):
            raise RequestError(f"identifiers are {list(identifiers.shape)}; wanted are [{count}]")
        _check_range("identifiers", identifiers, self._identifiers)
        tokens, _ = self._model.solver(segments or self.segments, None).answer(inputs, identifiers)
        return tokens

    def _data(self, path: Path) -> PuzzleSet:
        """No puzzles, of the kind that it was trained on: what `solvers` checks a model against."""
        none = np.empty((0, self._sequence), np.uint8)
        index = np.zeros(1, np.int32)
        meta = Meta(0, 0, 0, self._vocabulary, self._sequence, self._identifiers, 1, 1.0, ("all",))
        return PuzzleSet(
            self.config.get("kind", ""), path, "", none, none, index[:0], index, index, meta,
            1, self._sequence, self.config.get("identifiers"),
        )  # fmt: skip


def _floats(name: str, given: Any) -> np.ndarray:
    array = numbers.real(given, "fiub")
    if array is None:
        raise RequestError(f"{name} is no array of numbers")
    if not np.isfinite(array).all():
        raise RequestError(f"{name} is not finite: {(~np.isfinite(array)).sum():,} of {array.size:,} numbers")
    return array


def _check_range(name: str, array: np.ndarray, end: int) -> None:
    if array.size and not 0 <= array.min() <= array.max() < end:
        raise RequestError(f"{name} are from {array.min()} to {array.max()}; allowed are 0 to {end - 1}")
