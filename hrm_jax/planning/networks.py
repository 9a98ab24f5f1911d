"""NumPy forward passes of exported predictors: `model.npz` in, predicted positions out, no jax.

Formulas: specs/cloud.md §1.4. The passes are arranged for speed on a CPU: norm gains are folded into the
matrix that follows, attention over a single token is one folded matrix, rows run in cache-sized blocks on
all cores.
"""

import concurrent.futures
import functools
import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from hrm_jax.errors import RequestError

Weights = dict[str, np.ndarray]
MIX = np.float32(0.7071)
ONE_BLAS_THREAD = functools.partial(ThreadpoolController().limit, limits=1, user_api="blas")
BLOCK_ROWS = 256  # obstacles per block: the activations of a small network then stay in cache


def load(path: str | os.PathLike) -> "Predictor":
    """The predictor in a `model.npz` written by `hrm_jax.export` or `hrm_jax.interop`."""
    config, params = read_model(path)
    return Predictor(config, params)


def read_model(path: str | os.PathLike) -> tuple[dict[str, Any], Weights]:
    """Config and parameters {"group/leaf": array} of a model file; a bad file is one `RequestError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop("config")))
        name = config["model"]["name"]
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file (write one with python -m hrm_jax.export)") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        detail = f"{type(error).__name__}: {error}"
        raise RequestError(f"{path}: not a complete model.npz ({detail})") from None
    if name not in FORWARD:
        raise RequestError(f'{path}: unknown model "{name}"; known are {", ".join(FORWARD)}')
    params = {key.removeprefix("params/"): a for key, a in arrays.items() if key.startswith("params/")}
    return config, params


class Predictor:
    """An exported predictor. `world`: the world it was trained in; `history`: the steps it looks back."""

    def __init__(self, config: dict[str, Any], params: Weights):
        self.config = config
        self._together = config["model"].get("attention", "single") == "obstacles"
        try:
            self.world: dict[str, Any] = config["world"]
            self.history: int = config["history"]
            self._forward = FORWARD[config["model"]["name"]](config["model"], params)
            self._forward(np.zeros((1, 1, 2, 2), np.float32))  # shapes that do not fit fail here and now
        except KeyError as error:
            raise RequestError(f"model file lacks {error} that its config asks for") from None
        except (ValueError, IndexError, TypeError) as error:
            raise RequestError(f"model file whose config and parameters do not fit ({error})") from None

    def predict(self, history: np.ndarray, horizon: int) -> np.ndarray:
        """Free-running prediction: [E, H, N, 2] observed positions (cells) to [E, horizon, N, 2].

        The last `self.history` observations enter; every prediction replaces the oldest one. Like the
        published roll-out it is float32 and not clipped to the world.
        """
        size = np.float32(self.world["size"])
        seen = np.moveaxis(history[:, -self.history :], 1, 2).astype(np.float32) / size  # [E, N, T, 2]
        groups = seen if self._together else seen.reshape(-1, 1, *seen.shape[2:])
        tracks = self._tracks(groups, horizon).reshape(*seen.shape[:2], horizon, 2)
        return np.moveaxis(tracks, 1, 2).astype(np.float64) * float(size)

    def _tracks(self, groups: np.ndarray, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2], positions over size, in blocks on all cores."""
        # Each core has a block of its own: BLAS threads beside them would fight for the same cores.
        with ONE_BLAS_THREAD(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = pool.map(lambda block: self._roll_out(block, horizon), _split(groups))
            return np.concatenate(list(parts))

    def displacement(self, history: np.ndarray) -> np.ndarray:
        """One step: positions over size [G, N, T, 2] float32 to displacements over size [G, N, 2]."""
        return self._forward(history)

    def _roll_out(self, window: np.ndarray, horizon: int) -> np.ndarray:
        """[G, N, T, 2] to [G, N, horizon, 2], positions over size."""
        steps = window.shape[2]
        path = np.empty((*window.shape[:2], steps + horizon, 2), np.float32)
        path[:, :, :steps] = window
        with np.errstate(over="ignore"):
            for t in range(horizon):
                moved = self._forward(path[:, :, t : t + steps])
                path[:, :, t + steps] = path[:, :, t + steps - 1] + moved
        return path[:, :, steps:]


def _split(groups: np.ndarray) -> list[np.ndarray]:
    """[G, N, T, 2] in blocks of about BLOCK_ROWS obstacles, at least one a core."""
    rows = groups.shape[0] * groups.shape[1]
    count = max(-(-rows // BLOCK_ROWS), min(os.cpu_count() or 1, groups.shape[0]))
    return np.array_split(groups, count)


def embed_features(history: np.ndarray, features: str, size: int) -> np.ndarray:
    """Input features [..., T, F]; the twin of `hrm_jax.models.layers.embed_features`."""
    if features == "positions":
        return history
    moved = (history[..., 1:, :] - history[..., :-1, :]) * np.float32(size)
    moved = np.concatenate([moved[..., :1, :], moved], axis=-2)
    return np.concatenate([2 * history - 1, moved], axis=-1)


def _displacement(output: np.ndarray, history: np.ndarray, features: str, size: int) -> np.ndarray:
    if features == "positions":
        return output
    return history[..., -1, :] - history[..., -2, :] + output / np.float32(size)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), in place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)


def _norm_scale(x: np.ndarray, eps: float) -> np.ndarray:
    """1 / max(|row|, eps) of x [rows, D]: [rows, 1]."""
    square = np.einsum("ij,ij->i", x, x)
    return (1 / np.sqrt(np.maximum(square, np.float32(eps) ** 2)))[:, None].astype(np.float32)


def _group(params: Weights, name: str) -> Weights:
    prefix = name + "/"
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def _hrm(config: dict[str, Any], params: Weights) -> Callable[[np.ndarray], np.ndarray]:
    """Forward pass of `hrm_jax.models.hrm.HRM`: [G, N, T, 2] to [G, N, 2]."""
    embed, head = _group(params, "embed"), _group(params, "head")
    low, high = (_hrm_blocks(config, _group(params, name)) for name in ("low", "high"))

    def forward(history: np.ndarray) -> np.ndarray:
        groups, members, steps, _ = history.shape
        features = embed_features(history, config["features"], config["size"])
        rows = groups * members
        embedded = features.reshape(rows * steps, -1) @ embed["kernel"] + embed["bias"]
        embedded = embedded.reshape(rows, steps, -1)
        low_states = [np.zeros((rows, config["width"]), np.float32) for _ in low]
        high_states = [np.zeros((rows, config["width"]), np.float32) for _ in high]
        for t in range(steps):
            if t % config["k_step"] == 0:
                _run_stream(high, low_states[-1], high_states, members)
            _run_stream(low, embedded[:, t] + high_states[-1], low_states, members)
        output = (low_states[-1] @ head["kernel"] + head["bias"]).reshape(groups, members, 2)
        return _displacement(output, history, config["features"], config["size"])

    return forward


def _run_stream(blocks: list[Callable], message: np.ndarray, states: list[np.ndarray], members: int) -> None:
    """Send `message` [rows, D] up the blocks; each output becomes that block's state, in the list."""
    for i, block in enumerate(blocks):
        states[i] = message = block(message, states[i], members)


def _hrm_blocks(config: dict[str, Any], stream: Weights) -> list[Callable]:
    return [_hrm_block(config, {k: v[i] for k, v in stream.items()}) for i in range(config["blocks"])]


def _hrm_block(config: dict[str, Any], w: Weights) -> Callable:
    """One block as a function (message, state [rows, D], members) -> output [rows, D]."""
    d, eps, gated = config["width"], config["norm_eps"], config["block"] == "gated"
    scale = np.float32(d**0.5 if config["norm"] == "rms" else d**-0.5)
    gain1, gain2 = ((scale * w[name])[:, None] for name in ("norm1", "norm2"))
    mix = _single_attention(w, gain1) if config["attention"] == "single" else _attention(config, w, gain1)
    up, hidden = gain2 * w["up_kernel"], w["down_kernel"].shape[0]

    def block(message: np.ndarray, state: np.ndarray, members: int) -> np.ndarray:
        h = message + state
        if gated:
            h *= MIX
        h += mix(h, _norm_scale(h, eps), members)
        wide = h @ up
        wide *= _norm_scale(h, eps)
        gate = wide[:, :hidden]
        h += (gate * _sigmoid(gate.copy()) * wide[:, hidden:]) @ w["down_kernel"]
        if not gated:
            return h
        logit = h @ w["gate_kernel"][:d]
        logit += state @ w["gate_kernel"][d:]
        logit += w["gate_bias"]
        h -= state
        h *= _sigmoid(logit)
        h += state
        return h

    return block


def _single_attention(w: Weights, gain: np.ndarray) -> Callable:
    """Attention over one token: softmax is 1, what remains is a linear map."""
    kernel = gain * (w["v_kernel"] @ w["out_kernel"])
    bias = w["v_bias"] @ w["out_kernel"] + w["out_bias"]

    def mix(h: np.ndarray, inverse_norm: np.ndarray, members: int) -> np.ndarray:
        mixed = h @ kernel
        mixed *= inverse_norm
        mixed += bias
        return mixed

    return mix


def _attention(config: dict[str, Any], w: Weights, gain: np.ndarray) -> Callable:
    """Attention across the members of each group."""
    kernel = gain * np.concatenate([w["qk_kernel"], w["v_kernel"]], axis=1)
    bias = np.concatenate([w["qk_bias"], w["v_bias"]])

    def mix(h: np.ndarray, inverse_norm: np.ndarray, members: int) -> np.ndarray:
        qkv = (h @ kernel) * inverse_norm + bias
        mixed = _attend(qkv.reshape(-1, members, qkv.shape[-1]), config["heads"])
        return mixed.reshape(h.shape) @ w["out_kernel"] + w["out_bias"]

    return mix


def _attend(qkv: np.ndarray, heads: int) -> np.ndarray:
    """Softmax attention over the S axis: packed [B, S, 3D] to [B, S, D]."""
    batch, length, _ = qkv.shape
    q, k, v = np.moveaxis(qkv.reshape(batch, length, 3, heads, -1), (2, 3), (0, 2))
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(q.shape[-1] ** 0.5)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.swapaxes(scores @ v, 1, 2).reshape(batch, length, -1)


def _hrm_8gpu_v2(config: dict[str, Any], params: Weights) -> Callable[[np.ndarray], np.ndarray]:
    """Forward pass of `hrm_jax.models.hrm_8gpu_v2.HRM8GPUV2`: [G, N, T, 2] to [G, N, 2]."""
    embed, head = _group(params, "embed"), _group(params, "head")
    stacks = {name: _group(params, name) for name in ("low", "high")}
    scale = np.float32(config["width"] ** 0.5)

    def run(stack: Weights, message: np.ndarray, states: list[np.ndarray]) -> np.ndarray:
        for i in range(config["blocks"]):
            w = {k: v[i] for k, v in stack.items()}
            message, states[i] = _v2_block(w, message, states[i], scale, config)
        return message

    def forward(history: np.ndarray) -> np.ndarray:
        message = (history @ embed["kernel"] + embed["bias"]).reshape(-1, history.shape[2], config["width"])
        message = run(stacks["low"], message, [np.zeros_like(message)] * config["blocks"])
        states = [np.zeros_like(message)] * config["blocks"]
        for _ in range(config["k_step"]):
            message = run(stacks["high"], message, states)
        return (message[:, -1] @ head["kernel"] + head["bias"]).reshape(*history.shape[:2], 2)

    return forward


def _v2_block(
    w: Weights, message: np.ndarray, state: np.ndarray, scale: np.float32, config: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """One block: message and state [B, T, D] to the next message and state."""
    from scipy.special import erf

    def normal(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1])
        return (flat * _norm_scale(flat, config["norm_eps"]) * (scale * gain)).reshape(x.shape)

    z = _sigmoid(np.concatenate([message, state], axis=-1) @ w["gate_kernel"] + w["gate_bias"])
    h = MIX * (message + state)
    qkv = normal(h, w["norm1"]) @ w["qkv_kernel"] + w["qkv_bias"]
    h = h + _attend(qkv, config["heads"]) @ w["out_kernel"] + w["out_bias"]
    up = normal(h, w["norm2"]) @ w["up_kernel"] + w["up_bias"]
    up *= np.float32(0.5) * (1 + erf(up * np.float32(0.5**0.5)))
    h = h + up @ w["down_kernel"] + w["down_bias"]
    return h, z * h + (1 - z) * state


def _lstm(config: dict[str, Any], params: Weights) -> Callable[[np.ndarray], np.ndarray]:
    """Forward pass of `hrm_jax.models.lstm.LSTM`: [G, N, T, 2] to [G, N, 2]."""
    stack = [_doubled_g(_group(params, f"layer{i}")) for i in range(config["layers"])]
    head = _group(params, "head")

    def forward(history: np.ndarray) -> np.ndarray:
        features = embed_features(history, config["features"], config["size"])
        outputs = features.reshape(-1, *features.shape[2:]).swapaxes(0, 1)  # [T, rows, F]
        for w in stack:
            outputs = _lstm_layer(w, outputs)
        output = (outputs[-1] @ head["kernel"] + head["bias"]).reshape(*history.shape[:2], 2)
        return _displacement(output, history, config["features"], config["size"])

    return forward


def _doubled_g(w: Weights) -> Weights:
    """An LSTM layer whose g gate computes 2x, so that one sigmoid serves all gates: tanh(x) = 2 s(2x) - 1."""
    d = w["hh_kernel"].shape[0]
    factor = np.repeat(np.float32([1, 1, 2, 1]), d)
    return {leaf: factor * value for leaf, value in w.items()}


def _lstm_layer(w: Weights, inputs: np.ndarray) -> np.ndarray:
    """[T, rows, D_in] to [T, rows, D]; `w` from `_doubled_g`, gates in torch's order i, f, g, o."""
    driven = inputs @ w["ih_kernel"] + (w["ih_bias"] + w["hh_bias"])
    cell = np.zeros((inputs.shape[1], w["hh_kernel"].shape[0]), np.float32)
    outputs = np.empty((*inputs.shape[:2], cell.shape[1]), np.float32)
    for t, gates in enumerate(driven):
        if t:
            gates += outputs[t - 1] @ w["hh_kernel"]
        i, f, g, o = np.split(_sigmoid(gates), 4, axis=1)
        cell = f * cell + i * (2 * g - 1)
        outputs[t] = o * (2 * _sigmoid(2 * cell) - 1)
    return outputs


FORWARD = {"hrm": _hrm, "hrm_8gpu_v2": _hrm_8gpu_v2, "lstm": _lstm}
