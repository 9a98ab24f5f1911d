"""Exported predictors in NumPy: `model.npz` in, predicted positions out, no jax.

Formulas: docs/models.md and `hrm_jax.models`. Obstacles run in cache-sized blocks on all cores.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError, naming
from hrm_jax.referee.inference.blocks import in_blocks
from hrm_jax.referee.inference.cores import CORES, MIX, Params, Weights, attend, norm_scale, sigmoid, softmax
from hrm_jax.worlds import features
from hrm_jax.worlds.features import Context, Observation

BLOCK_ROWS = 256  # obstacles per block: the activations of a small network then stay in cache


class Predictor:
    """An exported predictor. `world`: the world it was trained in; `history`: the steps it looks back;
    `parameters`: how many it has; `network`: its passes, float32, positions and displacements over size."""

    def __init__(self, config: dict[str, Any], params: Weights):
        self.config, self._params = config, params
        self.parameters = sum(array.size for array in params.values())
        model_file.check_constants(config, features.CONSTANTS)
        model = config["model"]
        self.world: dict[str, Any] = config["world"]
        self.history: int = config["history"]
        self._scene = model.get("features") == "scene"
        self._together = self._scene or model.get("attention") == "obstacles"
        self.network = NETWORKS[model["name"]](model, model_file.unflatten(params))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes it anew: networks are full of functions, which cannot be pickled."""
        return type(self), (self.config, self._params)

    def predict(self, observation: Observation, horizon: int) -> np.ndarray:
        """Free-running prediction: E observed scenes to positions [E, horizon, N, 2] in cells, float64.

        The last `self.history` steps enter. Like the published roll-out it is float32 and not clipped to
        the world.
        """
        size = self.world["size"]
        seen, context = features.recent(observation, self.history, size)  # [E, N, T, 2]
        groups = seen if self._together else seen.reshape(-1, 1, *seen.shape[2:])
        tracks = self._tracks(groups, context if self._scene else None, horizon)
        tracks = tracks.reshape(*seen.shape[:2], horizon, 2)
        return np.moveaxis(tracks, 1, 2).astype(np.float64) * float(size)

    def _tracks(self, groups: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2], positions over size, in blocks on all cores."""

        def run(groups: np.ndarray, *context: np.ndarray) -> np.ndarray:
            return self.network.tracks(groups, Context(*context) if context else None, horizon)

        rows = groups.shape[0] * groups.shape[1]
        return in_blocks(run, -(-rows // BLOCK_ROWS), groups, *(context or ()))


def load(path: str | os.PathLike, kind: type[Predictor] = Predictor) -> Predictor:
    """The predictor in a `model.npz` written by `hrm_jax.export` or `hrm_jax.interop`."""
    config, params = model_file.read(path, NETWORKS)
    with naming(path):
        return kind(config, params)


class Network:
    """Inputs, a core over time and a head; as `hrm_jax.models.predictors.base` has them."""

    def __init__(self, config: dict[str, Any], params: Params):
        self._config, self._head = config, params["head"]
        self._inputs = features.Inputs.of(config)
        self._embedding, self._neighbours = (params.get(name, {}) for name in ("embed", "neighbours"))
        self._core = CORES[config["name"]](config, params)

    def displacement(self, history: np.ndarray, context: Context | None = None) -> np.ndarray:
        """[G, N, T, 2] to the displacement that follows [G, N, 2]."""
        positions = np.moveaxis(history, 2, 0)
        _, top = self._read(positions, features.arrange(context))
        return self._move(top, features.moves(positions[-2:])[-1])

    def tracks(self, history: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to free-running positions [G, N, horizon, 2]."""
        run: dict[str, Any] = {
            "sliding": functools.partial(slide, self.displacement),
            "carry": self._carry,
            "direct": self._direct,
        }
        with np.errstate(over="ignore"):
            return run[self._config.get("rollout", "sliding")](history, context, horizon)

    def _carry(self, history: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
        """The core reads the history once and goes on from its state, fed with its own predictions."""
        positions, seen = np.moveaxis(history, 2, 0), features.arrange(context)
        step, top = self._read(positions, seen)
        moved, seen = self._move(top, features.moves(positions[-2:])[-1]), features.afterwards(seen)
        path = [positions[-1] + moved]
        while len(path) < horizon:
            moved = self._move(step(self._embed(path[-1], moved, seen)), moved)
            path.append(path[-1] + moved)
        return np.stack(path, axis=2)

    def _direct(self, history: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
        """All displacements at once from the last state."""
        config, positions = self._config, np.moveaxis(history, 2, 0)
        if horizon > config["horizon"]:
            raise RequestError(
                f"a horizon of {horizon} steps: the direct head has model.horizon = {config['horizon']}"
            )
        _, top = self._read(positions, features.arrange(context))
        output = top @ self._head["kernel"] + self._head["bias"]
        moved = output.reshape(*history.shape[:2], config["horizon"], 2)[:, :, :horizon]
        if config["features"] != "positions":
            moved = features.moves(positions[-2:])[-1][:, :, None] + moved / np.float32(config["size"])
        return history[:, :, -1:] + np.cumsum(moved, axis=2)

    def _read(self, positions: np.ndarray, seen: features.Seen | None) -> tuple[Callable, np.ndarray]:
        """The core through positions [T, G, N, 2] from its start: its next step, and its top [rows, D]."""
        _, groups, members, _ = positions.shape
        embedded = self._embed(positions, features.moves(positions), seen)
        return self._core(embedded.reshape(len(positions), groups * members, -1), members)

    def _embed(self, now: np.ndarray, moved: np.ndarray, seen: features.Seen | None) -> np.ndarray:
        """Positions and last displacements [..., G, N, 2] as the core's input: [..., rows, D]."""
        rows = (*now.shape[:-3], now.shape[-3] * now.shape[-2], -1)
        x = features.features(self._inputs, now, moved, seen)
        if self._embedding:
            flat = x.reshape(-1, x.shape[-1]) @ self._embedding["kernel"] + self._embedding["bias"]
            x = flat.reshape(*x.shape[:-1], -1)
        if self._neighbours:
            x = attend_neighbours(self._config, self._neighbours, x, now, moved)
        return x.reshape(rows)

    def _move(self, top: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """The displacement [G, N, 2] after the last one `moved`, from the core's top [rows, D]."""
        output = (top @ self._head["kernel"][:, :2] + self._head["bias"][:2]).reshape(moved.shape)
        if self._config["features"] == "positions":
            return output
        return moved + output / np.float32(self._config["size"])


def attend_neighbours(
    config: dict[str, Any], w: Weights, x: np.ndarray, now: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """x [..., N, D] plus what every obstacle reads from the others of its world, the near ones first."""
    members, heads, size = x.shape[-2], config["neighbours"], np.float32(config["size"])
    if members == 1:
        return x
    qkv = (x @ w["qkv_kernel"] + w["qkv_bias"]).reshape(*x.shape[:-1], 3, heads, -1)
    q, k, v = (np.swapaxes(qkv[..., part, :, :], -3, -2) for part in range(3))  # [..., heads, N, D_head]
    place, speed = (features.relative(a * size) for a in (now, moved))  # [..., 2, N, N]
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(q.shape[-1] ** 0.5)
    square = np.sum(place**2, axis=-3)
    scores -= np.logaddexp(w["sharpness"], np.float32(0))[:, None, None] * square[..., None, :, :]
    scores[..., np.arange(members), np.arange(members)] = -np.inf
    weights = softmax(scores)
    read = [np.swapaxes(weights @ v, -3, -2)]
    read += [np.einsum("...hij,...cij->...ihc", weights, away) for away in (place, speed)]
    read = np.concatenate([a.reshape(*x.shape[:-1], -1) for a in read], axis=-1)
    return x + (read @ w["out_kernel"] + w["out_bias"])


def slide(displacement: Callable, history: np.ndarray, context: Context | None, horizon: int) -> np.ndarray:
    """The published free run [G, N, T, 2] to [G, N, horizon, 2]: every prediction enters the window."""
    steps = history.shape[2]
    path = np.empty((*history.shape[:2], steps + horizon, 2), np.float32)
    path[:, :, :steps] = history
    if context is not None:
        observed = np.pad(context.observed, ((0, 0), (0, 0), (0, horizon)))
        agent = np.pad(context.agent, ((0, 0), (0, horizon), (0, 0)), mode="edge")
    for t in range(horizon):
        window = slice(t, t + steps)
        if context is not None:
            context = context._replace(observed=observed[:, :, window], agent=agent[:, window])
        path[:, :, t + steps] = path[:, :, t + steps - 1] + displacement(path[:, :, window], context)
    return path[:, :, steps:]


class HRM8GPUV2(Network):
    """The twin of `hrm_jax.models.predictors.hrm_8gpu_v2`: no recurrence, so no core and no state."""

    def __init__(self, config: dict[str, Any], params: Params):
        self._config, self._params = config, params

    def displacement(self, history: np.ndarray, context: Context | None = None) -> np.ndarray:
        """[G, N, T, 2] to the displacement that follows [G, N, 2]."""
        embed, head, config = self._params["embed"], self._params["head"], self._config
        message = (history @ embed["kernel"] + embed["bias"]).reshape(-1, history.shape[2], config["width"])
        message = self._run("low", message, [np.zeros_like(message)] * config["blocks"])
        states = [np.zeros_like(message)] * config["blocks"]
        for _ in range(config["k_step"]):
            message = self._run("high", message, states)
        return (message[:, -1] @ head["kernel"] + head["bias"]).reshape(*history.shape[:2], 2)

    def _run(self, name: str, message: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
        for i in range(self._config["blocks"]):
            w = {k: v[i] for k, v in self._params[name].items()}
            message, states[i] = _v2_block(w, message, states[i], self._config)
        return message


def _v2_block(
    w: Weights, message: np.ndarray, state: np.ndarray, config: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """One block: message and state [B, T, D] to the next message and state."""
    from scipy.special import erf

    scale = np.float32(config["width"] ** 0.5)

    def normal(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1])
        return (flat * norm_scale(flat, config["norm_eps"]) * (scale * gain)).reshape(x.shape)

    z = sigmoid(np.concatenate([message, state], axis=-1) @ w["gate_kernel"] + w["gate_bias"])
    h = MIX * (message + state)
    qkv = normal(h, w["norm1"]) @ w["qkv_kernel"] + w["qkv_bias"]
    h = h + attend(qkv, config["heads"]) @ w["out_kernel"] + w["out_bias"]
    up = normal(h, w["norm2"]) @ w["up_kernel"] + w["up_bias"]
    up *= np.float32(0.5) * (1 + erf(up * np.float32(0.5**0.5)))
    h = h + up @ w["down_kernel"] + w["down_bias"]
    return h, z * h + (1 - z) * state


NETWORKS: dict[str, Any] = {**dict.fromkeys(CORES, Network), "hrm_8gpu_v2": HRM8GPUV2}
