"""Exported denoisers of paths in NumPy: the forward passes of `hrm_jax.models.denoisers.networks`.

Everything is float32. Paths run in cache-sized blocks on all cores. Axes: B paths, P points of a path,
C channels; paths, their ends and codes are those of the jax networks.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.referee.inference.blocks import in_blocks
from hrm_jax.referee.inference.cores import Params, Weights, softmax
from hrm_jax.worlds import raster

BLOCK_ROWS = 8  # paths or maps per block: the activations then stay in cache
EPS = np.float32(1e-5)


class Denoiser:
    """An exported denoiser from the config and the parameters {"group/leaf": array} of its `model.npz`.

    `config`: all of it; `model`: its group `model`; `parameters`: how many it has.
    """

    def __init__(self, config: dict[str, Any], params: Weights):
        self.config = config
        self.parameters = sum(array.size for array in params.values())
        model_file.check_constants(config, raster.CONSTANTS)
        self.model: dict[str, Any] = config["model"]
        arrays = {key: _arranged(key, array) for key, array in params.items()}
        weights: Params = model_file.unflatten(arrays)
        network, depth = NETWORKS[self.model["name"]]
        self._encode = functools.partial(_encode, weights, depth)
        self._denoise = functools.partial(network, weights, self.model)

    def encode(self, maps: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Maps [B, size, size, C] and ends [B, 4] (start, goal) to codes [B, 2 D]: the map's half first."""
        return _in_blocks(self._encode, maps, ends)

    def denoise(self, x: np.ndarray, t: np.ndarray, code: np.ndarray) -> np.ndarray:
        """Noisy paths x [B, P, inputs] at noise levels t [B] in [0, 1], with their codes: [B, P, 2]."""
        return _in_blocks(self._denoise, x, t, code)


def _in_blocks(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    arrays = [np.asarray(a, np.float32) for a in arrays]
    return in_blocks(function, -(-len(arrays[0]) // BLOCK_ROWS), *arrays)


# ---------------------------------------------------------------- networks


def _path_unet(params: Params, model: dict[str, Any], x: np.ndarray, t: np.ndarray, code: np.ndarray):
    """v2."""
    if model["condition"] == "published":
        code = code[:, : 2 * model["width"]]
    time = _layers(params["time"], 3, t[:, None])

    def block(name: str, x: np.ndarray, code: np.ndarray | None = None) -> np.ndarray:
        return _residual(params[name], model["groups"], x, time, code)

    narrow = block("down1", x)
    wide = _attend(params["attention1"], model, block("down2", narrow))
    h = _attend(params["attention2"], model, block("middle1", wide, code))
    h = block("middle2", h)
    h = block("up1", np.concatenate([h, wide], axis=-1))
    h = block("up2", np.concatenate([h, narrow], axis=-1))
    return _conv(_attend(params["attention3"], model, h), params["out"]["kernel"], params["out"]["bias"])


def _path_convnet(params: Params, model: dict[str, Any], x: np.ndarray, t: np.ndarray, code: np.ndarray):
    """v1."""
    w = params["path"]
    h = _conv(x, w["conv1_kernel"], w["conv1_bias"])
    _add_code(h, w["code_kernel"], code)
    h += _layers(params["time"], 2, t[:, None])[:, None]
    h = _silu(_conv(_silu(h), w["conv2_kernel"], w["conv2_bias"]))
    return _conv(h, w["conv3_kernel"], w["conv3_bias"])


# The pass over noisy paths, and how many times the map's encoder halves the map.
NETWORKS: dict[str, tuple[Callable[..., np.ndarray], int]] = {
    "path_unet": (_path_unet, 3),
    "path_convnet": (_path_convnet, 2),
}


def _encode(params: Params, depth: int, maps: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Maps and ends to codes: `depth` convolutions of stride 2 and a linear layer; a linear layer."""
    w, x = params["map"], maps
    for i in range(depth):
        kernel = w[f"conv{i}_kernel"]
        x = _silu(_patches(x, len(kernel)) @ kernel.reshape(-1, kernel.shape[-1]) + w[f"conv{i}_bias"])
    code = x.reshape(len(x), -1) @ w["kernel"] + w["bias"]
    return np.concatenate([code, ends @ params["ends"]["kernel"] + params["ends"]["bias"]], axis=1)


def _patches(x: np.ndarray, size: int) -> np.ndarray:
    """Every second patch of x [B, R, R, C] along both axes: [B, R/2, R/2, size * size * C], zeros around."""
    around = (size // 2, size // 2)
    padded = np.pad(x, ((0, 0), around, around, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::2, ::2]
    return np.moveaxis(windows, 3, -1).reshape(*windows.shape[:3], -1)


def _layers(w: Weights, depth: int, x: np.ndarray) -> np.ndarray:
    """`depth` linear layers with SiLU between them: [B, D_in] to [B, D_out]."""
    for i in range(depth):
        x = (_silu(x) if i else x) @ w[f"linear{i}_kernel"] + w[f"linear{i}_bias"]
    return x


def _residual(
    w: Weights, groups: int, x: np.ndarray, time: np.ndarray, code: np.ndarray | None
) -> np.ndarray:
    """A residual block: x [B, P, C_in], time [B, D] and perhaps code [B, C] to [B, P, C_out]."""
    h = _conv(x, w["conv1_kernel"], w["conv1_bias"])
    if code is not None:
        _add_code(h, w["code_kernel"], code)
    h = _silu(_group_norm(h, w["norm1"], w["norm1_bias"], groups))
    h += (time @ w["time_kernel"] + w["time_bias"])[:, None]
    h = _conv(h, w["conv2_kernel"], w["conv2_bias"])
    h = _silu(_group_norm(h, w["norm2"], w["norm2_bias"], groups))
    if "skip_kernel" in w:
        h += (x.reshape(-1, x.shape[-1]) @ w["skip_kernel"]).reshape(h.shape)
        h += w["skip_bias"] if code is None else (code @ w["code_skip"] + w["skip_bias"])[:, None]
        return h
    h[..., : x.shape[-1]] += x
    if code is not None:
        h[..., x.shape[-1] :] += code[:, None]
    return h


def _arranged(name: str, parameter: np.ndarray) -> np.ndarray:
    """A parameter in float32; a kernel of three taps [3 C, D] as [C, 3 D], for `_conv`."""
    array = np.asarray(parameter, np.float32)
    if array.ndim != 2 or not ("/conv" in name or name == "out/kernel"):
        return array
    return array.reshape(3, -1, array.shape[-1]).swapaxes(0, 1).reshape(-1, 3 * array.shape[-1])


def _conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Three taps over the points of x [B, P, C], zeros around: [B, P, D]. Kernel [C, 3 D]."""
    parts = (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:2], 3, -1)
    y = parts[:, :, 1] + bias
    y[:, 1:] += parts[:, :-1, 0]
    y[:, :-1] += parts[:, 1:, 2]
    return y


def _add_code(h: np.ndarray, kernel: np.ndarray, code: np.ndarray) -> None:
    """Add to h [B, P, D] the taps kernel [3, C, D] over channels that are code [B, C] at every point."""
    before, here, after = code @ kernel
    h += here[:, None]
    h[:, 1:] += before[:, None]
    h[:, :-1] += after[:, None]


def _group_norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray, groups: int) -> np.ndarray:
    """Normalise x [B, P, C] over the points and the channels of each group, in place."""
    rows, points, channels = x.shape
    share = channels // groups
    x -= np.repeat(x.mean(axis=1).reshape(rows, groups, share).mean(axis=2), share, axis=1)[:, None]
    square = np.einsum("bpc,bpc->bc", x, x).reshape(rows, groups, share).sum(axis=2) / (points * share)
    x *= (np.repeat(1 / np.sqrt(square + EPS), share, axis=1) * gain)[:, None]
    x += bias
    return x


def _silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), in place."""
    with np.errstate(over="ignore"):
        share = np.exp(-x)
    share += 1
    x /= share
    return x


def _attend(w: Weights, model: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """x [B, P, C] plus attention over its points."""
    rows, points, channels = x.shape
    normal = _group_norm(x.copy(), w["norm"], w["norm_bias"], model["groups"])
    packed = normal.reshape(-1, channels) @ w["qkv_kernel"] + w["qkv_bias"]
    heads = packed.reshape(rows, points, 3, model["heads"], -1).transpose(2, 0, 3, 1, 4)
    q, k, v = heads  # [B, heads, P, D_head]
    scores = (q * np.float32(q.shape[-1] ** -0.5)) @ k.swapaxes(2, 3)
    mixed = (softmax(scores) @ v).swapaxes(1, 2).reshape(-1, channels)
    return x + (mixed @ w["out_kernel"] + w["out_bias"]).reshape(x.shape)
