"""NumPy passes of the networks over time, arranged for speed on a CPU.

Formulas: docs/models.md and `hrm_jax.models`. Norm gains are folded into the matrix that follows,
attention over a single token is one folded matrix.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hrm_jax.artefacts.errors import RequestError

Weights = dict[str, np.ndarray]
Params = dict[str, Weights]  # by group
Step = Callable[[np.ndarray], np.ndarray]  # input [rows, D] to top [rows, D]; the state moves on
Start = Callable[[int, int], Step]  # rows, and how many successive rows are one group -> the first step
# Inputs [T, rows, D], and the members of a group -> the step that follows, and the last step's top.
Core = Callable[[np.ndarray, int], tuple[Step, np.ndarray]]
Cache = tuple[np.ndarray, np.ndarray]  # keys and values [rows, heads, steps, D / heads]
MIX = np.float32(0.7071)
CONTEXT_FLOOR = np.float32(0.01)  # mean square that HRM's context_norm adds
EPS = 1e-6  # of the transformer's norms


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), in place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)


def softmax(x: np.ndarray) -> np.ndarray:
    """Of the last axis, in place."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)
    return x


def norm_scale(x: np.ndarray, eps: float) -> np.ndarray:
    """1 / max(|row|, eps) of x [rows, D]: [rows, 1]."""
    square = np.einsum("ij,ij->i", x, x)
    return (1 / np.sqrt(np.maximum(square, np.float32(eps) ** 2)))[:, None].astype(np.float32)


def in_steps(start: Start) -> Core:
    """The core of a network that takes one step after the other."""

    def read(x: np.ndarray, members: int) -> tuple[Step, np.ndarray]:
        step = start(x.shape[1], members)
        for now in x:
            top = step(now)
        return step, top

    return read


def hrm(config: dict[str, Any], params: Params) -> Core:
    """The twin of `hrm_jax.models.predictors.hrm` and `hrm_block`."""
    low = _hrm_blocks(config, params["low"])
    high = _hrm_blocks(config, params["high"]) if config["h_stream"] else []
    k = config["k_step"] if config["h_stream"] else 0
    gain = params["message"]["gain"] if k and config["h_gain"] else None

    def start(rows: int, members: int) -> Step:
        low_states, high_states = (
            [np.zeros((rows, config["width"]), np.float32) for _ in stream] for stream in (low, high)
        )
        t = 0

        def step(x: np.ndarray) -> np.ndarray:
            nonlocal t
            if k and t % k == 0:
                _run_stream(high, _normed(config, "messages", low_states[-1]), high_states, members)
            t += 1
            message = x
            if k:
                told = _normed(config, "messages", high_states[-1])
                message = x + (told if gain is None else gain * told)
            _run_stream(low, message, low_states, members)
            return low_states[-1]

        return step

    return in_steps(start)


def _normed(config: dict[str, Any], place: str, x: np.ndarray) -> np.ndarray:
    """x [rows, D], of an RMS below 1 where `context_norm` is of this place."""
    if config["context_norm"] != place:
        return x
    square = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[1])
    return x / np.sqrt(square + CONTEXT_FLOOR)


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
        h += mix(h, norm_scale(h, eps), members)
        wide = h @ up
        wide *= norm_scale(h, eps)
        gate = wide[:, :hidden]
        h += (gate * sigmoid(gate.copy()) * wide[:, hidden:]) @ w["down_kernel"]
        h = _normed(config, "candidate", h)
        if not gated:
            return h
        logit = h @ w["gate_kernel"][:d]
        logit += state @ w["gate_kernel"][d:]
        logit += w["gate_bias"]
        h -= state
        h *= sigmoid(logit)
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
        mixed = attend(qkv.reshape(-1, members, qkv.shape[-1]), config["heads"])
        return mixed.reshape(h.shape) @ w["out_kernel"] + w["out_bias"]

    return mix


def attend(qkv: np.ndarray, heads: int) -> np.ndarray:
    """Softmax attention over the S axis: packed [B, S, 3D] to [B, S, D]."""
    batch, length, _ = qkv.shape
    q, k, v = np.moveaxis(qkv.reshape(batch, length, 3, heads, -1), (2, 3), (0, 2))
    scores = q @ np.swapaxes(k, -1, -2) / np.float32(q.shape[-1] ** 0.5)
    return np.swapaxes(softmax(scores) @ v, 1, 2).reshape(batch, length, -1)


def recurrent(arrange: Callable, cell: Callable, states: int, config: dict[str, Any], params: Params) -> Core:
    """The LSTM and the GRU of `hrm_jax.models.predictors.recurrent`: layers of cells.

    A cell turns weights, its `states` [rows, D] and an input into its next states; the last one is the
    output of its layer.
    """
    stack = [arrange(params[f"layer{i}"]) for i in range(config["layers"])]

    def start(rows: int, members: int) -> Step:
        kept = [(np.zeros((rows, config["width"]), np.float32),) * states for _ in stack]

        def step(x: np.ndarray) -> np.ndarray:
            for i, w in enumerate(stack):
                kept[i] = cell(w, *kept[i], x)
                x = kept[i][-1]
            return x

        return step

    return in_steps(start)


def _doubled_g(w: Weights) -> Weights:
    """An LSTM layer whose g gate computes 2x, so that one sigmoid serves all gates: tanh(x) = 2 s(2x) - 1."""
    d = w["hh_kernel"].shape[0]
    factor = np.repeat(np.array([1, 1, 2, 1], np.float32), d)
    bias = factor * (w["ih_bias"] + w["hh_bias"])
    return {"ih_kernel": factor * w["ih_kernel"], "hh_kernel": factor * w["hh_kernel"], "bias": bias}


def _lstm_cell(
    w: Weights, memory: np.ndarray, hidden: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step of one layer; `w` from `_doubled_g`, gates in torch's order i, f, g, o."""
    gates = x @ w["ih_kernel"]
    gates += hidden @ w["hh_kernel"]
    gates += w["bias"]
    i, f, g, o = np.split(sigmoid(gates), 4, axis=1)
    memory = f * memory + i * (2 * g - 1)
    return memory, o * (2 * sigmoid(2 * memory) - 1)


def _gru_cell(w: Weights, hidden: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
    """One step of one layer, gates in torch's order r, z, n."""
    own = hidden @ w["hh_kernel"]
    own += w["hh_bias"]
    driven = x @ w["ih_kernel"]
    driven += w["ih_bias"]
    d = hidden.shape[1]
    r, z = np.split(sigmoid(driven[:, : 2 * d] + own[:, : 2 * d]), 2, axis=1)
    n = np.tanh(driven[:, 2 * d :] + r * own[:, 2 * d :])
    return (n + z * (hidden - n),)


def transformer(config: dict[str, Any], params: Params) -> Core:
    """The twin of `hrm_jax.models.predictors.transformer`: of the last layer, only the last step's output."""
    stack = [_transformer_layer(config, params[f"layer{i}"]) for i in range(config["layers"])]
    time, gain, scale = params["time"]["kernel"], params["final"]["norm"], np.float32(config["width"] ** 0.5)

    def read(x: np.ndarray, members: int) -> tuple[Step, np.ndarray]:
        past: list[Cache | None] = [None] * len(stack)
        taken = 0

        def take(x: np.ndarray) -> np.ndarray:
            """Further inputs [rows, T, D] to the last one's top [rows, D]."""
            nonlocal taken
            first, taken = taken, taken + x.shape[1]
            most = len(time)
            if taken > most:
                raise RequestError(
                    f"history and predicted steps are more than the transformer's model.positions = {most}"
                )
            x = x + time[first:taken]
            for i, layer in enumerate(stack):
                x, past[i] = layer(x, past[i], i == len(stack) - 1)
            top = x[:, -1]
            return top * (norm_scale(top, EPS) * scale) * gain

        return lambda x: take(x[:, None]), take(np.swapaxes(x, 0, 1))

    return read


def _transformer_layer(config: dict[str, Any], w: Weights) -> Callable:
    """One layer as a function (x [rows, T, D], what it cached, whether only the last step is asked for).

    It returns the outputs [rows, T or 1, D] and the longer cache.
    """
    d, heads, scale = config["width"], config["heads"], np.float32(config["width"] ** 0.5)
    soft = np.repeat(np.array([(d // heads) ** -0.5, 1, 1], np.float32), d)  # of the queries only
    qkv_kernel, qkv_bias = (scale * w["norm1"])[:, None] * w["qkv_kernel"] * soft, w["qkv_bias"] * soft
    up_kernel = (scale * w["norm2"])[:, None] * w["up_kernel"]

    def layer(x: np.ndarray, past: Cache | None, only_last: bool) -> tuple[np.ndarray, Cache]:
        rows, steps, _ = x.shape
        flat = x.reshape(-1, d)
        qkv = (flat @ qkv_kernel) * norm_scale(flat, EPS) + qkv_bias
        q, k, v = np.moveaxis(qkv.reshape(rows, steps, 3, heads, -1), (2, 3), (0, 2))
        if past is not None:
            k, v = (np.concatenate(pair, axis=2) for pair in zip(past, (k, v), strict=True))
        if only_last:
            x, q = x[:, -1:], q[:, :, -1:]
        x = x + _attend_causally(q, k, v).reshape(x.shape) @ w["out_kernel"] + w["out_bias"]
        flat = x.reshape(-1, d)
        up = (flat @ up_kernel) * norm_scale(flat, EPS) + w["up_bias"]
        return x + (_gelu(up) @ w["down_kernel"] + w["down_bias"]).reshape(x.shape), (k, v)

    return layer


def _attend_causally(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Queries of the last Q steps, on the keys and values of all: [rows, heads, …, D_head], then
    [rows, Q, heads, D_head].
    """
    scores = q @ np.swapaxes(k, -1, -2)
    queries, steps = scores.shape[-2:]
    if queries > 1:
        scores += np.triu(np.full((queries, steps), -np.inf, np.float32), steps - queries + 1)
    return np.swapaxes(softmax(scores) @ v, 1, 2)


def _gelu(x: np.ndarray) -> np.ndarray:
    """Its usual tanh form, which is jax's default."""
    return x * sigmoid(np.float32(2 * (2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x))


CORES: dict[str, Callable[[dict[str, Any], Params], Core]] = {
    "hrm": hrm,
    "lstm": functools.partial(recurrent, _doubled_g, _lstm_cell, 2),
    "gru": functools.partial(recurrent, dict, _gru_cell, 1),
    "transformer": transformer,
}
