"""Maps of a world as a denoiser of paths sees them: images of the static cells and of moving obstacles.

Written for one world of N obstacles; `vmap` at the edge. Cells are unit squares centred at integers.
`hrm_jax.referee.conditions` is the twin in NumPy.
"""

import jax
import jax.numpy as jnp

from hrm_jax.worlds.geometry import dot

OFFSETS = tuple(1.4 * (i - 8) for i in range(17))  # cells across a line at which its corridor is looked at


def slice_steps(slices: int, points: int) -> tuple[int, ...]:
    """The steps ahead that the forecast channels show: the middles of `slices` parts of `points` steps."""
    return tuple((2 * i + 1) * points // (2 * slices) for i in range(slices))


def draw(
    channels: tuple[str, ...],
    static: jax.Array,
    position: jax.Array,
    velocity: jax.Array,
    ahead: jax.Array,
    radius: float,
) -> jax.Array:
    """The image [R, C, channels] float32 of a map [R, C] bool, in the order of `channels`.

    `position` and `velocity` [N, 2] are in cells and cells a step; `ahead` [slices, N, 2] is where the
    obstacles will be at `slice_steps` (unused without "forecast"). Obstacles are discs of `radius` cells.
    """
    size = static.shape[0]
    drawn = {
        "occupancy": lambda: (static | discs(jnp.floor(position), size, radius))[..., None],
        "static": lambda: static[..., None],
        "obstacles": lambda: discs(position, size, radius)[..., None],
        "velocity": lambda: velocities(position, velocity, size, radius),
        "forecast": lambda: jnp.moveaxis(jax.vmap(lambda p: discs(p, size, radius))(ahead), 0, -1),
    }
    return jnp.concatenate([drawn[name]().astype(jnp.float32) for name in channels], axis=-1)


def axes(line: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Unit vectors [2] along and across the line [P, 2] from its first to its last point."""
    travel = line[-1] - line[0]
    length = jnp.sqrt(dot(travel, travel))
    along = jnp.where(length > 0, travel / jnp.where(length > 0, length, 1), jnp.array([0.0, 1.0]))
    return along, jnp.stack([-along[1], along[0]])


def corridor(
    channels: tuple[str, ...],
    static: jax.Array,
    tracks: jax.Array,
    velocity: jax.Array,
    line: jax.Array,
    radius: float,
) -> jax.Array:
    """What stands beside each point of a line [P, 2] when it is passed: [P, features] float32.

    At each of OFFSETS across the line: 1 at static cells and beyond the map [R, C]; how much of an
    obstacle of `tracks` [P, N, 2] is there at the point's time; with "velocity", times its `velocity`
    [N, 2] along and across.
    """
    along, across = axes(line)
    place = line[:, None] + jnp.array(OFFSETS)[:, None] * across  # [P, K, 2]
    cell = jnp.round(place).astype(jnp.int32)
    outside = jnp.any((cell < 0) | (cell >= static.shape[0]), axis=-1)
    inside = jnp.clip(cell, 0, static.shape[0] - 1)
    away = place[:, :, None] - tracks[:, None]
    square = dot(away, away)  # [P, K, N]
    there = jnp.clip(radius + 1 - jnp.sqrt(jnp.min(square, axis=-1)), 0, 1)
    seen = [outside | static[inside[..., 0], inside[..., 1]], there]
    if "velocity" in channels:
        nearest = velocity[jnp.argmin(square, axis=-1)]
        seen += [there * dot(nearest, along), there * dot(nearest, across)]
    return jnp.concatenate([part.astype(jnp.float32) for part in seen], axis=-1)


def discs(position: jax.Array, size: int, radius: float) -> jax.Array:
    """[size, size] bool: the cells whose centre is within `radius` of a position [N, 2]."""
    return jnp.any(_squares(position, size) <= radius**2, axis=0)


def velocities(position: jax.Array, velocity: jax.Array, size: int, radius: float) -> jax.Array:
    """[size, size, 2]: the velocity of the nearest obstacle, the first of equals; 0 beyond `radius`."""
    square = _squares(position, size)
    nearest = velocity[jnp.argmin(square, axis=0)]
    return jnp.where(jnp.min(square, axis=0)[..., None] <= radius**2, nearest, 0.0)


def _squares(position: jax.Array, size: int) -> jax.Array:
    """Squared distances [N, size, size] of all cells from the positions [N, 2]."""
    axis = jnp.arange(size, dtype=position.dtype)
    cells = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1)
    away = cells - position[:, None, None]
    return dot(away, away)
