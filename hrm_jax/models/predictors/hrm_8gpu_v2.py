"""The predictor of the published hrm_cloud_8gpu_v2 script: not a recurrence over time at all.

docs/models.md#hrm_8gpu_v2. Two stacks of bidirectional blocks without position code read the history, so
the output does not depend on the order of all but the last step, and the L gates never get a gradient
(docs/faults.md#f21). It is here to reproduce that run, not to be used.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.fields import Positive
from hrm_jax.models import layers
from hrm_jax.models.predictors.base import Weights, roll_out
from hrm_jax.models.predictors.hrm import MIX
from hrm_jax.worlds.features import Context


@dataclasses.dataclass(frozen=True)
class HRM8GPUV2Config:
    """Widths of the published script."""

    width: Positive = 512
    heads: Positive = 8
    blocks: Positive = 4  # in each of the two stacks
    k_step: Positive = 2  # passes through the H stack
    norm_eps: float = 1e-6
    init_std: float = 0.01
    size: int = 20  # cells; the world that the positions are scaled by
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        fields.check("model", self)
        layers.check_heads(self.width, self.heads)

    @property
    def features(self) -> str:
        """The published input, the only one this architecture takes."""
        return "positions"


class HRM8GPUV2(nn.Module):
    """history [..., N, T, 2] (positions over size) -> next displacement [..., N, 2] (over size)."""

    config: HRM8GPUV2Config

    def __call__(
        self, history: jax.Array, key: jax.Array | None = None, context: Context | None = None
    ) -> jax.Array:
        """Deterministic, and blind to the context."""
        return next_displacement(self.config, self._weights(), history)

    def forecast(
        self,
        history: jax.Array,
        horizon: int,
        key: jax.Array | None = None,
        context: Context | None = None,
    ) -> jax.Array:
        """The published free run: positions [horizon, ..., N, 2] over size."""
        weights = self._weights()
        return roll_out(lambda window: next_displacement(self.config, weights, window), history, horizon)

    @nn.compact
    def _weights(self) -> Weights:
        d, normal, zeros = (
            self.config.width,
            nn.initializers.normal(self.config.init_std),
            nn.initializers.zeros,
        )
        embed = layers.declare(self, "embed", kernel=(normal, (2, d)), bias=(zeros, (d,)))
        low, high = (layers.declare(self, name, **self._shapes()) for name in ("low", "high"))
        head = layers.declare(self, "head", kernel=(normal, (d, 2)), bias=(zeros, (2,)))
        return {"embed": embed, "low": low, "high": high, "head": head}

    def _shapes(self) -> dict:
        c, d, n = self.config, self.config.width, self.config.blocks
        normal, zeros, ones = nn.initializers.normal(c.init_std), nn.initializers.zeros, nn.initializers.ones
        return {
            "norm1": (ones, (n, d)),
            "qkv_kernel": (layers.packed_xavier(d), (n, d, 3 * d)),
            "qkv_bias": (zeros, (n, 3 * d)),
            "out_kernel": (normal, (n, d, d)),
            "out_bias": (zeros, (n, d)),
            "norm2": (ones, (n, d)),
            "up_kernel": (normal, (n, d, 4 * d)),
            "up_bias": (zeros, (n, 4 * d)),
            "down_kernel": (normal, (n, 4 * d, d)),
            "down_bias": (zeros, (n, d)),
            "gate_kernel": (normal, (n, 2 * d, d)),
            "gate_bias": (zeros, (n, d)),
        }


def next_displacement(config: HRM8GPUV2Config, weights: Weights, history: jax.Array) -> jax.Array:
    """[..., T, 2] to [..., 2]."""
    embed, head = weights["embed"], weights["head"]
    message = layers.linear(history, embed["kernel"], embed["bias"], jnp.float32)  # [..., T, D]
    state = jnp.zeros((config.blocks, *message.shape))
    message, _ = run_stack(config, weights["low"], message, state)
    for _ in range(config.k_step):
        message, state = run_stack(config, weights["high"], message, state)
    return layers.linear(message[..., -1, :], head["kernel"], head["bias"], jnp.float32)


def run_stack(
    config: HRM8GPUV2Config, stack: Weights, message: jax.Array, state: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """message [..., T, D] through the blocks with state [blocks, ..., T, D]; both come back."""

    def body(message, block):
        weights, state = block
        return apply_block(config, weights, message, state)

    return jax.lax.scan(body, message, (stack, state))


def apply_block(
    config: HRM8GPUV2Config, w: Weights, message: jax.Array, state: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One block: the message passes ungated, the state is gated by what came in."""
    dtype = jnp.dtype(config.dtype)
    gate_input = jnp.concatenate([message, state], axis=-1)
    z = jax.nn.sigmoid(layers.linear(gate_input, w["gate_kernel"], w["gate_bias"], dtype))
    h = MIX * (message + state)
    n = layers.normalize(h, w["norm1"], "rms", config.norm_eps)
    qkv = layers.linear(n, w["qkv_kernel"], w["qkv_bias"], dtype)
    mixed = layers.attention(*layers.split_heads(qkv, 3, config.heads)).reshape(n.shape)
    h = h + layers.linear(mixed, w["out_kernel"], w["out_bias"], dtype)
    n = layers.normalize(h, w["norm2"], "rms", config.norm_eps)
    up = jax.nn.gelu(layers.linear(n, w["up_kernel"], w["up_bias"], dtype), approximate=False)
    h = h + layers.linear(up, w["down_kernel"], w["down_bias"], dtype)
    return h, z * h + (1 - z) * state
