"""What the predictors see of the scene: features of one time step, and attention to the neighbours.

Shapes: G groups (worlds), N obstacles of a group, T time, R rows, C columns, F features, D width. Positions
are over size, displacements too; what enters a network is in cells. Every function computes one time step
and keeps the axes before G, so the whole history is the same function with T in front.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import layers

NEAR_WALL = 3.0  # cells; a wall further away than this is not seen
BEYOND = 0.01  # cells; positions stay this far under size
FAR = 10.0  # cells an axis; a neighbour further away than this counts as this far


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputsConfig:
    """What every predictor sees of the scene and how it runs free; the architectures inherit it."""

    width: int = 256  # D
    features: str = "positions"  # positions (published) | motion | scene
    patch: int = 0  # side of the map patch around an obstacle, odd; 0: none; only with scene
    neighbours: int = 0  # heads of attention across a world's obstacles, in the input; only with scene
    agent: bool = False  # whether the agent's position is seen; only with scene
    rollout: str = "sliding"  # sliding window (published) | carry the state on | direct: all steps at once
    horizon: int = 20  # displacements that the head of "direct" emits
    size: int = 20  # cells; the world that the positions are scaled by
    dtype: str = "float32"  # of matmuls: float32 | bfloat16

    def __post_init__(self):
        layers.check_choice("model.features", self.features, ("positions", "motion", "scene"))
        layers.check_choice("model.rollout", self.rollout, ("sliding", "carry", "direct"))
        layers.check_choice("model.dtype", self.dtype, ("float32", "bfloat16"))
        layers.check_positive(width=self.width, horizon=self.horizon)
        if self.patch < 0 or (self.patch and self.patch % 2 == 0):
            raise RequestError(f"model.patch = {self.patch}: 0 or an odd number")
        if self.neighbours < 0:
            raise RequestError(f"model.neighbours = {self.neighbours}: 0 or more heads")
        if self.neighbours:
            layers.check_heads(self.width, self.neighbours, "neighbours")
        for name in ("patch", "neighbours", "agent"):
            value = getattr(self, name)
            if value and self.features != "scene":
                raise RequestError(f'model.{name} = {value} needs model.features = "scene"')

    @property
    def inputs(self) -> int:
        """F, the numbers an obstacle brings a time step."""
        if self.features != "scene":
            return {"positions": 2, "motion": 4}[self.features]
        return 9 + 2 * self.agent + (2 + self.patch**2 if self.patch else 0)

    @property
    def across(self) -> bool:
        """Whether the core itself, not only its input, looks across the obstacles of a world."""
        return False

    @property
    def together(self) -> bool:
        """Whether a group must be a whole world."""
        return self.across or self.features == "scene"


class Seen(NamedTuple):
    """A `layers.Context` as the features read it: at one time step, or at all with T in front."""

    observed: jax.Array  # [(T), G, N] float32
    agent: jax.Array  # [(T), G, 2] over size
    occupied: jax.Array  # [G, R + 2, C + 2] float32: 1 at static cells and on a ring around the grid


def arrange(
    config: InputsConfig, history: jax.Array, context: layers.Context | None
) -> tuple[jax.Array, Seen | None]:
    """History [..., N, T, 2] as [T, G, N, 2], or [T, rows, 2] where obstacles are rows; and what is seen.

    Rows, not groups of one: XLA is slow with an axis of size 1 between.
    """
    members, steps = history.shape[-3], history.shape[-2]
    lead = (-1, members) if config.together else (-1,)
    positions = jnp.moveaxis(history.reshape(*lead, steps, 2), -2, 0)
    if config.features != "scene":
        return positions, None
    if context is None:
        raise ValueError('features = "scene" needs a context beside the history')
    static = context.static.reshape(-1, *context.static.shape[-2:]).astype(jnp.float32)
    observed = context.observed.reshape(-1, members, steps).astype(jnp.float32)
    return positions, Seen(
        jnp.moveaxis(observed, -1, 0),
        jnp.moveaxis(context.agent.reshape(-1, steps, 2), 1, 0),
        jnp.pad(static, ((0, 0), (1, 1), (1, 1)), constant_values=1.0),
    )


def afterwards(seen: Seen | None) -> Seen | None:
    """The scene of a step after the history: nothing observed, the agent where it last was."""
    if seen is None:
        return None
    return Seen(jnp.zeros_like(seen.observed[-1]), seen.agent[-1], seen.occupied)


def moves(positions: jax.Array) -> jax.Array:
    """Displacements [T, ..., 2] since the step before; the oldest step repeats the one that follows."""
    moved = positions[1:] - positions[:-1]
    return jnp.concatenate([moved[:1], moved]) if len(moved) else jnp.zeros_like(positions)


def features(config: InputsConfig, now: jax.Array, moved: jax.Array, seen: Seen | None) -> jax.Array:
    """Positions [..., 2] and displacements since the step before [..., 2], over size, to [..., F].

    positions: p. motion: 2 p - 1; displacement in cells. scene: these; the observed flag; nearness of the
    four walls; and as asked the agent's relative position, the place within the cell and the map patch.
    """
    if config.features == "positions":
        return now
    motion = [2 * now - 1, moved * config.size]
    if config.features == "motion":
        return jnp.concatenate(motion, axis=-1)
    cells = now * config.size
    walls = [jnp.clip(d, 0, NEAR_WALL) / NEAR_WALL for d in (cells, config.size - BEYOND - cells)]
    parts = [*motion, seen.observed[..., None], *walls]
    if config.agent:
        parts.append(2 * (seen.agent[..., None, :] - now))
    if config.patch:
        parts += [cells - jnp.round(cells), _patch(cells, seen.occupied, config.patch)]
    return jnp.concatenate(parts, axis=-1)


def _patch(cells: jax.Array, occupied: jax.Array, side: int) -> jax.Array:
    """Occupancy around the nearest cell, row-major: [..., G, N, 2] to [..., G, N, side²]."""
    groups, rows, columns = occupied.shape
    around = jnp.arange(side) - side // 2 + 1  # + 1: the ring
    # Far outside is as good as just outside, and keeps the integers in range.
    limit = jnp.array([rows - 2, columns - 2]) + side
    centre = jnp.clip(jnp.round(jax.lax.stop_gradient(cells)), -side, limit).astype(jnp.int32)
    row = jnp.clip(centre[..., 0, None] + around, 0, rows - 1)
    column = jnp.clip(centre[..., 1, None] + around, 0, columns - 1)
    row += jnp.arange(groups)[:, None, None] * rows
    index = row[..., :, None] * columns + column[..., None, :]
    found = occupied.reshape(-1)[index.reshape(-1)]
    return found.reshape(*index.shape[:-2], side * side)


def declare_neighbours(module: nn.Module, config: InputsConfig) -> dict[str, jax.Array]:
    """Parameters of `attend_neighbours`."""
    d, heads, zeros = config.width, config.neighbours, nn.initializers.zeros
    read = d + 4 * heads
    return layers.declare(
        module,
        "neighbours",
        qkv_kernel=(layers.packed_xavier(d), (d, 3 * d)),
        qkv_bias=(zeros, (3 * d,)),
        sharpness=(nn.initializers.constant(math.log(math.e - 1)), (heads,)),  # its softplus is 1
        out_kernel=(layers.uniform_fan_in(read), (read, d)),
        out_bias=(zeros, (d,)),
    )


def attend_neighbours(
    config: InputsConfig, w: dict[str, jax.Array], x: jax.Array, now: jax.Array, moved: jax.Array
) -> jax.Array:
    """x [..., N, D] plus what every obstacle reads from the others of its world, the near ones first.

    now, moved [..., N, 2] over size. A head falls off with the square of the distance; it reads values,
    relative positions and relative displacements (cells).
    """
    members, heads, dtype = x.shape[-2], config.neighbours, jnp.dtype(config.dtype)
    if members == 1:
        return x
    qkv = layers.linear(x, w["qkv_kernel"], w["qkv_bias"], dtype)
    q, k, v = layers.split_heads(qkv, 3, heads)
    place, speed = (_relative(a * config.size) for a in (now, moved))  # [..., 2, N, N]
    scores = jnp.einsum("...ihd,...jhd->...hij", q, k) / q.shape[-1] ** 0.5
    square = jnp.sum(place**2, axis=-3)
    scores -= jax.nn.softplus(w["sharpness"])[:, None, None] * square[..., None, :, :]
    weights = jax.nn.softmax(jnp.where(jnp.eye(members, dtype=bool), -jnp.inf, scores))
    read = [jnp.einsum("...hij,...jhd->...ihd", weights, v)]
    read += [jnp.einsum("...hij,...cij->...ihc", weights, r) for r in (place, speed)]
    read = jnp.concatenate([a.reshape(*x.shape[:-1], -1) for a in read], axis=-1)
    return x + layers.linear(read, w["out_kernel"], w["out_bias"], dtype)


def _relative(a: jax.Array) -> jax.Array:
    """[..., N, 2] to [..., 2, N, N]: of j as seen from i, an absurdly far one cut to FAR."""
    a = jnp.swapaxes(a, -1, -2)
    return jnp.clip(a[..., None, :] - a[..., :, None], -FAR, FAR)
