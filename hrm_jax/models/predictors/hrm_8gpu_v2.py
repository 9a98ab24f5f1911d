"""The predictor of the published hrm_cloud_8gpu_v2 script: not a recurrence over time at all.

docs/models.md#hrm_8gpu_v2. Two stacks of bidirectional blocks without position code read the history, so
the output does not depend on the order of all but the last step, and the L gates never get a gradient
(docs/faults.md#f21). It is here to reproduce that run, not to be used.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from hrm_jax.artefacts.networks.predictors import HRM8GPUV2Config
from hrm_jax.models import layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors.base import Weights, roll_out
from hrm_jax.models.predictors.hrm_block import MIX
from hrm_jax.worlds.features import Context


class HRM8GPUV2(nn.Module):
    """history [..., N, T, 2] (positions over size) -> next displacement [..., N, 2] (over size)."""

    config: HRM8GPUV2Config

    def __call__(
        self, history: jax.Array, keys: Keys | None = None, context: Context | None = None
    ) -> jax.Array:
        """Deterministic, and blind to the context."""
        return next_displacement(self.config, self._weights(), history)

    def forecast(
        self,
        history: jax.Array,
        horizon: int,
        keys: Keys | None = None,
        context: Context | None = None,
    ) -> jax.Array:
        """The published free run: positions [horizon, ..., N, 2] over size."""
        weights = self._weights()
        return roll_out(lambda window: next_displacement(self.config, weights, window), history, horizon)

    def watch(
        self, history: jax.Array, tracks: jax.Array, context: Context | None = None
    ) -> dict[str, jax.Array]:
        """Nothing: it is no recurrence, and no state grows (see `base.Predictor.watch`)."""
        return {}

    @nn.compact
    def _weights(self) -> Weights:
        d = self.config.width
        draw = nn.initializers.normal(self.config.init_std), nn.initializers.zeros
        embed = layers.declare(self, "embed", **layers.affine(2, d, "", *draw))
        low, high = (self._stack(name, *draw) for name in ("low", "high"))
        head = layers.declare(self, "head", **layers.affine(d, 2, "", *draw))
        return {"embed": embed, "low": low, "high": high, "head": head}

    def _stack(self, name: str, normal: Initializer, zeros: Initializer) -> Weights:
        d, ones = self.config.width, nn.initializers.ones
        return layers.declare(
            self,
            name,
            self.config.blocks,
            norm1=(ones, (d,)),
            **layers.affine(d, 3 * d, "qkv_", layers.packed_xavier(d), zeros),
            **layers.affine(d, d, "out_", normal, zeros),
            norm2=(ones, (d,)),
            **layers.affine(d, 4 * d, "up_", normal, zeros),
            **layers.affine(4 * d, d, "down_", normal, zeros),
            **layers.affine(2 * d, d, "gate_", normal, zeros),
        )


def next_displacement(config: HRM8GPUV2Config, weights: Weights, history: jax.Array) -> jax.Array:
    """[..., T, 2] to [..., 2]."""
    message = layers.linear(weights["embed"], history)  # [..., T, D]
    state = jnp.zeros((config.blocks, *message.shape))
    message, _ = run_stack(config, weights["low"], message, state)
    for _ in range(config.k_step):
        message, state = run_stack(config, weights["high"], message, state)
    return layers.linear(weights["head"], message[..., -1, :])


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
    z = jax.nn.sigmoid(layers.linear(w, gate_input, "gate_", dtype))
    h = MIX * (message + state)
    n = layers.normalize(h, w["norm1"], "rms", config.norm_eps)
    h = h + layers.self_attention(w, n, config.heads, dtype)
    n = layers.normalize(h, w["norm2"], "rms", config.norm_eps)
    up = jax.nn.gelu(layers.linear(w, n, "up_", dtype), approximate=False)
    h = h + layers.linear(w, up, "down_", dtype)
    return h, z * h + (1 - z) * state
