"""Path denoisers: a map, two end points and a noisy path in, what was mixed into the path out.

The map is encoded once a plan (`encode`), the path is denoised many times. Ho et al. 2020 (2006.11239) in one
dimension; sizes as the originals have them (docs/models.md). Parameters are float32. Axes: B paths, P points
of a path, W width, C channels; channels are last.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.networks.denoisers import PUBLISHED as PUBLISHED
from hrm_jax.artefacts.networks.denoisers import DenoiserConfig, PathConvNetConfig
from hrm_jax.models import layers
from hrm_jax.models.denoisers import operations as ops
from hrm_jax.models.layers import Weights


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
        return jnp.concatenate([ops.encode_map(w["map"], grid), layers.linear(w["ends"], ends)], axis=-1)

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
            "map": ops.declare_map(self, stages, (c.size // 8) ** 2 * 2 * w, 4 * w),
            "ends": layers.declare(self, "ends", **layers.affine(4, 4 * w)),
            "time": ops.declare_time(self, (1, 4 * w, 4 * w, 4 * w)),
            "down1": self._block("down1", c.inputs, w),
            "down2": self._block("down2", w, 2 * w),
            "attention1": self._attention("attention1", 2 * w),
            "middle1": self._block("middle1", 2 * w, 4 * w, code),
            "attention2": self._attention("attention2", 4 * w),
            "middle2": self._block("middle2", 4 * w, 4 * w),
            "up1": self._block("up1", 6 * w, 2 * w),
            "up2": self._block("up2", 3 * w, w),
            "attention3": self._attention("attention3", w),
            "out": layers.declare(self, "out", **layers.affine(3 * w, 2)),
        }

    def _block(self, name: str, inputs: int, outputs: int, code: int = 0) -> Weights:
        """A residual block; `code` is how many channels of its input are constant along the path.

        They have kernels of their own, `code_kernel` by the three taps and `code_skip`.
        """
        first = layers.uniform_fan_in(3 * (inputs + code))
        leaves = {
            **layers.affine(3 * inputs, outputs, "conv1_", first, first),
            **layers.affine(4 * self.config.width, outputs, "time_"),
            **layers.affine(3 * outputs, outputs, "conv2_"),
            **ops.norm(outputs, "norm1"),
            **ops.norm(outputs, "norm2"),
        }
        if code:
            leaves["code_kernel"] = (first, (3, code, outputs))
        if inputs + code != outputs:
            skip = layers.uniform_fan_in(inputs + code)
            leaves |= layers.affine(inputs, outputs, "skip_", skip, skip)
            if code:
                leaves["code_skip"] = (skip, (code, outputs))
        return layers.declare(self, name, **leaves)

    def _attention(self, name: str, width: int) -> Weights:
        packed, out = layers.affine(width, 3 * width, "qkv_"), layers.affine(width, width, "out_")
        return layers.declare(self, name, **ops.norm(width, "norm"), **packed, **out)

    def _denoise(self, w: dict[str, Weights], x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
        c = self.config
        if c.condition == "published":
            code = code[:, : 2 * c.width]
        time, sizes = ops.embed_time(w["time"], t), (c.groups, c.heads)
        narrow = ops.residual(w["down1"], c.groups, x, time)
        wide = ops.attend(w["attention1"], *sizes, ops.residual(w["down2"], c.groups, narrow, time))
        h = ops.residual(w["middle1"], c.groups, wide, time, code)
        h = ops.residual(w["middle2"], c.groups, ops.attend(w["attention2"], *sizes, h), time)
        h = ops.residual(w["up1"], c.groups, jnp.concatenate([h, wide], axis=-1), time)
        h = ops.residual(w["up2"], c.groups, jnp.concatenate([h, narrow], axis=-1), time)
        return layers.linear(w["out"], ops.taps(ops.attend(w["attention3"], *sizes, h)))


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
            "map": ops.declare_map(self, stages, (c.size // 4) ** 2 * (w // 2), w),
            "ends": layers.declare(self, "ends", **layers.affine(4, w)),
            "time": ops.declare_time(self, (1, hidden, hidden)),
            "path": layers.declare(
                self,
                "path",
                **layers.affine(3 * c.inputs, hidden, "conv1_", first, first),
                code_kernel=(first, (3, 2 * w, hidden)),
                **layers.affine(3 * hidden, hidden, "conv2_"),
                **layers.affine(3 * hidden, 2, "conv3_"),
            ),
        }

    def _denoise(self, w: dict[str, Weights], x: jax.Array, t: jax.Array, code: jax.Array) -> jax.Array:
        path, time = w["path"], ops.embed_time(w["time"], t)[:, None]
        h = layers.linear(path, ops.taps(x), "conv1_") + ops.along_path(path["code_kernel"], code, x.shape[1])
        h = layers.linear(path, ops.taps(jax.nn.silu(h + time)), "conv2_")
        return layers.linear(path, ops.taps(jax.nn.silu(h)), "conv3_")


DENOISERS: dict[str, type[Denoiser]] = {"path_unet": PathUNet, "path_convnet": PathConvNet}
build = functools.partial(layers.build_named, DENOISERS)
describe = functools.partial(layers.describe_named, DENOISERS)


def initial_params(model: Denoiser, key: jax.Array) -> dict[str, Weights]:
    """Fresh parameters: torch's default initial values, as the originals have."""
    c = model.config
    empty = jnp.zeros((1, c.size, c.size, c.map_channels))
    return model.init(key, empty, jnp.zeros((1, 4)), method="encode")["params"]
