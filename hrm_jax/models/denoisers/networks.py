"""Path denoisers: a map, two end points and a noisy path in, what was mixed into the path out.

Formulas: docs/models.md. The map is encoded once a plan (`encode`), the path is denoised many times.
Parameters are float32. Axes: B paths, P points of a path, W width, C channels; channels are last.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import layers

EPS = 1e-5  # of the group norms
CHANNELS = ("occupancy", "static", "obstacles", "velocity", "forecast")
CONDITIONS = ("full", "published")
PREDICTS = ("noise", "sample", "velocity")
SCHEDULES = ("linear", "cosine")
CORRIDOR = 17  # places across the line, at each of its points
COORDINATES = ("line", "unit")
Weights = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is and what it was trained to do; the published v2 is `PUBLISHED`."""

    size: int = 64  # cells of the map along an axis
    points: int = 64  # of a path
    width: int = 64  # channels of the narrowest stage
    heads: int = 4
    groups: int = 8  # of every group norm
    channels: tuple[str, ...] = ("static", "obstacles")  # what the map shows, in this order
    slices: int = 8  # of the channel "forecast"
    obstacle_radius: float = 2.0  # cells
    condition: str = "full"  # "published": half of the map's code and all of the ends' are cut off (F24)
    predict: str = "sample"
    schedule: str = "linear"
    coordinates: str = "line"  # offsets along and across the timed line; "unit": x / size
    ends: bool = True  # the noisy path's end points are clean in training, as they are in sampling
    map_dropout: float = 0.1  # chance that training hides the map's code

    def __post_init__(self):
        names = ("size", "points", "width", "heads", "groups", "slices")
        layers.check_positive(**{name: getattr(self, name) for name in names})
        object.__setattr__(self, "channels", _checked_channels(self.channels))
        if self.size % 8:
            raise RequestError(f"model.size = {self.size}: a multiple of 8 (the map is halved three times)")
        if self.points < 3:
            raise RequestError(f"model.points = {self.points}: at least 3, of which two are the ends")
        if self.width % 4:
            raise RequestError(f"model.width = {self.width}: a multiple of 4")
        layers.check_heads(self.width, self.heads)
        layers.check_heads(self.width, self.groups, "groups")
        layers.check_choice("model.condition", self.condition, CONDITIONS)
        layers.check_choice("model.predict", self.predict, PREDICTS)
        layers.check_choice("model.schedule", self.schedule, SCHEDULES)
        layers.check_choice("model.coordinates", self.coordinates, COORDINATES)
        if not self.obstacle_radius > 0:
            raise RequestError(f"model.obstacle_radius = {self.obstacle_radius}: more than 0 (cells)")
        if not 0 <= self.map_dropout < 1:
            raise RequestError(f"model.map_dropout = {self.map_dropout}: at least 0 and less than 1")

    @property
    def inputs(self) -> int:
        """Channels of a noisy path as the network sees it.

        Offsets come with the line that they are from, and with what its corridor shows.
        """
        if self.coordinates == "unit":
            return 2
        return 4 + CORRIDOR * (4 if "velocity" in self.channels else 2)

    @property
    def map_channels(self) -> int:
        """Channels of the map: two for "velocity", `slices` for "forecast", one for any other."""
        return sum({"velocity": 2, "forecast": self.slices}.get(name, 1) for name in self.channels)


def _checked_channels(channels: Any) -> tuple[str, ...]:
    """`channels`, perhaps a list, as a tuple of different known names."""
    said = f"model.channels = {channels!r}: different names of {', '.join(CHANNELS)}"
    if isinstance(channels, str) or not isinstance(channels, tuple | list):
        raise RequestError(f"{said}, as a list")
    known = all(name in CHANNELS for name in channels)
    if not channels or not known or len(set(channels)) < len(channels):
        raise RequestError(said)
    return tuple(channels)


@dataclasses.dataclass(frozen=True)
class PathConvNetConfig(DenoiserConfig):
    """v1's: `heads` and `groups` mean nothing to it, and no slice of its condition is published."""

    def __post_init__(self):
        super().__post_init__()
        if self.condition != "full":
            raise RequestError(f'model.condition = "{self.condition}": path_convnet allows only full')


PUBLISHED: dict[str, Any] = {  # the fields in which the committed v2 is not the default
    "channels": ("occupancy",),
    "condition": "published",
    "predict": "noise",
    "schedule": "linear",
    "coordinates": "unit",
    "ends": False,
    "map_dropout": 0.0,
}


class Denoiser(nn.Module):
    """`encode` and `__call__`; each declares all parameters, so that `init` through either makes them.

    An architecture adds `_weights`, which declares the parameters, and `_denoise`.
    """

    config: Any

    def encode(self, grid: jax.Array, ends: jax.Array) -> jax.Array:
        """Maps [B, size, size, C] and ends [B, 4] (start, goal) to a code [B, 2 D].

        The first half of the code is the map's, the second the ends'.
        """
        w = self._weights()
        return jnp.concatenate([encode_map(w["map"], grid), dense(w["ends"], ends)], axis=-1)

    def __call__(self, x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
        """Noisy paths x [B, P, inputs] at noise levels t [B] in [0, 1]: [B, P, 2]."""
        return self._denoise(self._weights(), x, t, code)


class PathUNet(Denoiser):
    """v2, the "U-Net" of the originals (without any change of resolution): 4,128,258 parameters.

    Channels W, 2 W, 4 W; the codes of the map, of the ends and of the time have 4 W each.
    """

    config: DenoiserConfig

    @nn.compact
    def _weights(self) -> dict[str, Weights]:
        c, w = self.config, self.config.width
        code = 2 * w if c.condition == "published" else 8 * w
        stages = ((5, c.map_channels, w // 2), (5, w // 2, w), (3, w, 2 * w))
        return {
            "map": declare_map(self, stages, (c.size // 8) ** 2 * 2 * w, 4 * w),
            "ends": layers.declare(self, "ends", **affine(4, 4 * w)),
            "time": declare_time(self, (1, 4 * w, 4 * w, 4 * w)),
            "down1": self._block("down1", c.inputs, w),
            "down2": self._block("down2", w, 2 * w),
            "attention1": self._attention("attention1", 2 * w),
            "middle1": self._block("middle1", 2 * w, 4 * w, code),
            "attention2": self._attention("attention2", 4 * w),
            "middle2": self._block("middle2", 4 * w, 4 * w),
            "up1": self._block("up1", 6 * w, 2 * w),
            "up2": self._block("up2", 3 * w, w),
            "attention3": self._attention("attention3", w),
            "out": layers.declare(self, "out", **affine(3 * w, 2)),
        }

    def _block(self, name: str, inputs: int, outputs: int, code: int = 0) -> Weights:
        """A residual block; `code` is how many channels of its input are constant along the path.

        They have kernels of their own, `code_kernel` by the three taps and `code_skip`.
        """
        first = layers.uniform_fan_in(3 * (inputs + code))
        leaves = {
            "conv1_kernel": (first, (3 * inputs, outputs)),
            "conv1_bias": (first, (outputs,)),
            **affine(4 * self.config.width, outputs, "time_"),
            **affine(3 * outputs, outputs, "conv2_"),
            **norm(outputs, "norm1"),
            **norm(outputs, "norm2"),
        }
        if code:
            leaves["code_kernel"] = (first, (3, code, outputs))
        if inputs + code != outputs:
            skip = layers.uniform_fan_in(inputs + code)
            leaves |= {"skip_kernel": (skip, (inputs, outputs)), "skip_bias": (skip, (outputs,))}
            if code:
                leaves["code_skip"] = (skip, (code, outputs))
        return layers.declare(self, name, **leaves)

    def _attention(self, name: str, width: int) -> Weights:
        packed = affine(width, 3 * width, "qkv_")
        return layers.declare(self, name, **norm(width, "norm"), **packed, **affine(width, width, "out_"))

    def _denoise(self, w: dict[str, Weights], x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
        c = self.config
        if c.condition == "published":
            code = code[:, : 2 * c.width]
        time = embed_time(w["time"], t)
        narrow = residual(w["down1"], c.groups, x, time)
        wide = attend(w["attention1"], c, residual(w["down2"], c.groups, narrow, time))
        h = residual(w["middle1"], c.groups, wide, time, code)
        h = residual(w["middle2"], c.groups, attend(w["attention2"], c, h), time)
        h = residual(w["up1"], c.groups, jnp.concatenate([h, wide], axis=-1), time)
        h = residual(w["up2"], c.groups, jnp.concatenate([h, narrow], axis=-1), time)
        return dense(w["out"], taps(attend(w["attention3"], c, h)))


class PathConvNet(Denoiser):
    """v1: 546,402 parameters with one map channel. The documents give two map convolutions of 16 and 32
    channels, three convolutions over the path, no attention, about 500k parameters, and no more.

    Our reading of the rest (W = 64): kernels of 3 everywhere; the map convolutions halve the map, and a
    linear layer makes 64 numbers of the 8192 that remain; the ends' code is as wide; the code is
    concatenated to every point; the path convolutions have 32, 32 and 2 channels with SiLU between them;
    the time enters after the first of them, through a linear layer of 32, SiLU, and another.
    """

    config: PathConvNetConfig

    @nn.compact
    def _weights(self) -> dict[str, Weights]:
        c, w = self.config, self.config.width
        hidden, first = w // 2, layers.uniform_fan_in(3 * (c.inputs + 2 * w))
        stages = ((3, c.map_channels, w // 4), (3, w // 4, w // 2))
        return {
            "map": declare_map(self, stages, (c.size // 4) ** 2 * (w // 2), w),
            "ends": layers.declare(self, "ends", **affine(4, w)),
            "time": declare_time(self, (1, hidden, hidden)),
            "path": layers.declare(
                self,
                "path",
                conv1_kernel=(first, (3 * c.inputs, hidden)),
                conv1_bias=(first, (hidden,)),
                code_kernel=(first, (3, 2 * w, hidden)),
                **affine(3 * hidden, hidden, "conv2_"),
                **affine(3 * hidden, 2, "conv3_"),
            ),
        }

    def _denoise(self, w: dict[str, Weights], x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
        path, time = w["path"], embed_time(w["time"], t)[:, None]
        h = dense(path, taps(x), "conv1_") + along_path(path["code_kernel"], code, x.shape[1])
        h = dense(path, taps(jax.nn.silu(h + time)), "conv2_")
        return dense(path, taps(jax.nn.silu(h)), "conv3_")


DENOISERS: dict[str, tuple[type[Denoiser], type[DenoiserConfig]]] = {
    "path_unet": (PathUNet, DenoiserConfig),
    "path_convnet": (PathConvNet, PathConvNetConfig),
}


def build(fields: Mapping[str, Any]) -> Denoiser:
    """The denoiser that a config's `model` group describes: `name`, and fields of `DenoiserConfig`."""
    return layers.build_named(DENOISERS, fields)


def describe(model: Denoiser) -> dict[str, Any]:
    """The inverse of `build`: the `model` group as plain JSON data."""
    return {**layers.describe_named(DENOISERS, model), "channels": list(model.config.channels)}


def initial(model: Denoiser, key: jax.Array) -> dict[str, Weights]:
    """Fresh parameters: torch's default initial values, as the originals have."""
    c = model.config
    empty = jnp.zeros((1, c.size, c.size, c.map_channels))
    return model.init(key, empty, jnp.zeros((1, 4)), method="encode")["params"]


def affine(inputs: int, outputs: int, prefix: str = "") -> dict[str, tuple]:
    """Leaves `kernel` and `bias` for `layers.declare`, with torch's initial values."""
    draw = layers.uniform_fan_in(inputs)
    return {f"{prefix}kernel": (draw, (inputs, outputs)), f"{prefix}bias": (draw, (outputs,))}


def norm(width: int, name: str) -> dict[str, tuple]:
    """Leaves for `layers.declare`: the gain and the bias of a group norm."""
    return {name: (nn.initializers.ones, (width,)), f"{name}_bias": (nn.initializers.zeros, (width,))}


def declare_map(module: nn.Module, stages: tuple, inputs: int, outputs: int) -> Weights:
    """Parameters of `encode_map`; `stages` are (kernel size, channels in, channels out)."""
    leaves = {}
    for i, (size, channels, wider) in enumerate(stages):
        draw = layers.uniform_fan_in(size * size * channels)
        leaves[f"conv{i}_kernel"] = (draw, (size, size, channels, wider))
        leaves[f"conv{i}_bias"] = (draw, (wider,))
    return layers.declare(module, "map", **leaves, **affine(inputs, outputs))


def declare_time(module: nn.Module, widths: tuple[int, ...]) -> Weights:
    """Parameters of `embed_time`: linear layers between successive `widths`."""
    leaves = {}
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        leaves |= affine(inputs, outputs, f"linear{i}_")
    return layers.declare(module, "time", **leaves)


def dense(w: Weights, x: jax.Array, prefix: str = "") -> jax.Array:
    """x [..., D_in] through the kernel and the bias that `prefix` names: [..., D_out]."""
    return layers.linear(x, w[f"{prefix}kernel"], w[f"{prefix}bias"], jnp.float32)


def encode_map(w: Weights, x: jax.Array) -> jax.Array:
    """Maps [B, R, R, C] through the halving convolutions, SiLU after each, and a linear layer: [B, D]."""
    i = 0
    while f"conv{i}_kernel" in w:
        x = jax.nn.silu(halve(x, w[f"conv{i}_kernel"]) + w[f"conv{i}_bias"])
        i += 1
    return dense(w, x.reshape(len(x), -1))


def halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of stride 2: x [B, R, R, C], kernel [K, K, C, D] (K odd) to [B, R/2, R/2, D].

    As one matmul for each row of the kernel, over its K columns side by side. XLA's own convolution is
    slightly faster on a CPU, but 50 times slower inside a scan (gradient accumulation).
    """
    k, half = kernel.shape[0], x.shape[1] // 2
    pad = (k // 2, k // 2)
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + 2 * half - 1 : 2] for j in range(k)], axis=-1)
    x = x.reshape(len(x), -1, 2, half, x.shape[-1])  # rows in pairs: even ones and odd ones
    rows = kernel.reshape(k, -1, kernel.shape[-1])
    return sum(x[:, i // 2 : i // 2 + half, i % 2] @ rows[i] for i in range(k))


def embed_time(w: Weights, t: jax.Array) -> jax.Array:
    """t [B] to [B, D]: linear layers with SiLU between them."""
    x, i = dense(w, t[:, None], "linear0_"), 1
    while f"linear{i}_kernel" in w:
        x = dense(w, jax.nn.silu(x), f"linear{i}_")
        i += 1
    return x


def taps(x: jax.Array) -> jax.Array:
    """x [B, P, C] to [B, P, 3 C]: the point before (zero before the first), the point, the point after.

    A convolution of three taps is then one matmul, which XLA runs faster on a CPU than a convolution.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    return jnp.concatenate([padded[:, :-2], x, padded[:, 2:]], axis=-1)


def along_path(kernel: jax.Array, code: jax.Array, points: int) -> jax.Array:
    """What kernel [3, C, D] makes of channels that are code [B, C] at every point: [B, P, D].

    The same at every point but the first and the last, where one tap sees the padding.
    """
    before, here, after = (code @ tap for tap in kernel)
    index = jnp.arange(points)[:, None]
    padding = jnp.where(index == 0, before[:, None], 0) + jnp.where(index == points - 1, after[:, None], 0)
    return (before + here + after)[:, None] - padding


def group_norm(w: Weights, name: str, groups: int, x: jax.Array) -> jax.Array:
    """Normalise x [B, P, C] over the points and the channels of each of `groups` groups."""
    split = x.reshape(*x.shape[:2], groups, -1)
    centred = split - jnp.mean(split, axis=(1, 3), keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred * centred, axis=(1, 3), keepdims=True) + EPS)
    return (centred * scale).reshape(x.shape) * w[name] + w[f"{name}_bias"]


def residual(
    w: Weights, groups: int, x: jax.Array, time: jax.Array, code: jax.Array | None = None
) -> jax.Array:
    """A residual block: x [B, P, C_in] and perhaps code [B, C] at every point to [B, P, C_out]."""
    h = dense(w, taps(x), "conv1_")
    if code is not None:
        h = h + along_path(w["code_kernel"], code, x.shape[1])
    h = jax.nn.silu(group_norm(w, "norm1", groups, h)) + dense(w, time, "time_")[:, None]
    h = jax.nn.silu(group_norm(w, "norm2", groups, dense(w, taps(h), "conv2_")))
    if "skip_kernel" in w:
        skip = dense(w, x, "skip_")
        return h + skip + (code @ w["code_skip"])[:, None] if "code_skip" in w else h + skip
    if code is not None:
        code = jnp.broadcast_to(code[:, None], (*x.shape[:2], code.shape[-1]))
        x = jnp.concatenate([x, code], axis=-1)
    return h + x


def attend(w: Weights, config: DenoiserConfig, x: jax.Array) -> jax.Array:
    """x [B, P, C] plus attention over its points, which have no position code."""
    packed = dense(w, group_norm(w, "norm", config.groups, x), "qkv_")
    mixed = layers.attention(*layers.split_heads(packed, 3, config.heads))
    return x + dense(w, mixed.reshape(x.shape), "out_")
