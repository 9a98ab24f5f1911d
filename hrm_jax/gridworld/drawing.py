"""How worlds are drawn by jax: static layouts, obstacles, ends. Written for one world; `vmap` at the edge.

A layout is kept as what was drawn: flat indices of cells `row * size + col`, [n_static] int32, ascending;
or, in the layout "discs", the row, column and radius of each disc, [n_static, 3] int32. Only `occupancy`
knows both.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hrm_jax.worlds import motion, raster, shapes
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import DISC_RADII, World

ENDS_STREAM = 2  # a fold_in number; `reset` makes two other keys of an episode's


def reset(world: World, key: jax.Array) -> tuple[jax.Array, Obstacles]:
    """One world before its history: its map [size, size] bool and obstacles [N]."""
    static_key, obstacle_key = jax.random.split(key)
    static = draw_static(world, static_key)
    return occupancy(world, static), _obstacles(world, static, obstacle_key)


def ends(world: World, occupancy: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Start and goal [2] int32 of the world that `reset` draws from `key`; `occupancy` [R, C] is its map.

    Corners; among discs two different cells that are free.
    """
    if world.layout != "discs":
        return jnp.zeros((2,), jnp.int32), jnp.full((2,), world.size - 1, jnp.int32)
    start_key, goal_key = jax.random.split(jax.random.fold_in(key, ENDS_STREAM))
    rank = jnp.cumsum(~occupancy.reshape(-1))  # of a free cell among the free ones, from 1
    start = jax.random.randint(start_key, (), 1, rank[-1] + 1)
    goal = jax.random.randint(goal_key, (), 1, rank[-1])
    goal += goal >= start
    cells = jnp.searchsorted(rank, jnp.stack([start, goal])).astype(jnp.int32)
    start, goal = jnp.stack([cells // world.size, cells % world.size], axis=-1)
    return start, goal


def _redraw(key: jax.Array, draw: Callable[[jax.Array], Any], refused: Callable[[Any], jax.Array]) -> Any:
    """`draw` of keys made of `key`, again while what was drawn is `refused`."""

    def attempt(state):
        count, _ = state
        return count + 1, draw(jax.random.fold_in(key, count))

    return jax.lax.while_loop(lambda state: refused(state[1]), attempt, attempt((0, None)))[1]


# ---------------------------------------------------------------- static layouts


def draw_static(world: World, key: jax.Array) -> jax.Array:
    """The static cells [n_static], or discs [n_static, 3], of one world; consumes `key`."""
    if world.layout == "discs":
        return _discs(world, key)
    draw = _distinct_cells if world.distinct_static else _cells_with_replacement
    if not world.connected:
        return draw(world, key)
    return _redraw(key, functools.partial(draw, world), lambda cells: ~is_connected(world, cells))


def _distinct_cells(world: World, key: jax.Array) -> jax.Array:
    """A uniform n-subset of the cells between start and goal (Floyd's algorithm: n draws, no shuffle)."""
    room, n = world.size**2 - 2, world.n_static
    if n == 0:  # an axis of length 0 cannot be indexed, not even in a loop that never runs
        return jnp.zeros((0,), jnp.int32)
    tops = jnp.arange(room - n, room, dtype=jnp.int32)
    draws = jax.random.randint(key, (n,), 0, tops + 1)

    def choose(i, chosen):
        taken = jnp.any(chosen == draws[i])
        return chosen.at[i].set(jnp.where(taken, tops[i], draws[i]))

    chosen = jax.lax.fori_loop(0, n, choose, jnp.full((n,), -1, jnp.int32), unroll=min(n, 16))
    return jnp.sort(chosen) + 1


def _cells_with_replacement(world: World, key: jax.Array) -> jax.Array:
    """The published draw. A draw on start or goal, or on a cell already taken, becomes the start: no wall."""
    cells = jnp.sort(jax.random.randint(key, (world.n_static,), 0, world.size**2))
    taken = jnp.concatenate([jnp.zeros((1,), bool), cells[1:] == cells[:-1]])
    return jnp.sort(jnp.where(taken | (cells == world.size**2 - 1), 0, cells))


def _discs(world: World, key: jax.Array) -> jax.Array:
    """Uniform centres, uniform radii; discs may overlap, and end where the world does."""
    centre_key, radius_key = jax.random.split(key)
    centres = jax.random.randint(centre_key, (world.n_static, 2), 0, world.size)
    radii = jax.random.randint(radius_key, (world.n_static, 1), DISC_RADII[0], DISC_RADII[1] + 1)
    return jnp.concatenate([centres, radii], axis=1)


def is_connected(world: World, cells: jax.Array) -> jax.Array:
    """Whether a 4-connected path joins start and goal around `cells` [n]; a scalar bool.

    The dual is far smaller than a flood fill: start and goal, at opposite corners, are separated exactly
    when an 8-connected chain of static cells joins the top or right border to the left or bottom one.
    """
    row, col = cells // world.size, cells % world.size
    wall = cells > 0  # index 0 is the start: a lost draw
    last = world.size - 1
    near = (jnp.abs(row[:, None] - row) <= 1) & (jnp.abs(col[:, None] - col) <= 1)
    near &= wall[:, None] & wall
    far_side = wall & ((col == 0) | (row == last))

    def spread(state):
        reached, _ = state
        wider = reached | jnp.any(near & reached, axis=1)
        return wider, jnp.any(wider != reached)

    start = wall & ((row == 0) | (col == last))
    reached, _ = jax.lax.while_loop(lambda s: s[1], spread, (start, jnp.any(start)))
    return ~jnp.any(reached & far_side)


def free_cell(cells: jax.Array, rank: jax.Array) -> jax.Array:
    """Flat index of the `rank`-th cell that is not in the ascending `cells` [n]; rank from 0."""
    if cells.shape[0] == 0:
        return rank
    # The start is no wall, so the repeated zeros of lost draws must not shift the rank.
    return jax.lax.fori_loop(0, cells.shape[0], lambda i, r: r + ((cells[i] > 0) & (cells[i] <= r)), rank)


def count_free(world: World, cells: jax.Array) -> jax.Array:
    """Number of cells that are not static; a scalar int32."""
    return world.size**2 - jnp.sum(cells > 0)


def occupancy(world: World, static: jax.Array) -> jax.Array:
    """The static cells [n], or discs [n, 3], as a map [size, size] bool."""
    if world.layout == "discs":
        centres, radii = static[:, :2].astype(jnp.float32), static[:, 2, None, None]
        return raster.discs(centres[None], world.size, radii)[0]
    flat = jnp.zeros((world.size**2,), bool).at[static].set(static > 0)
    return flat.reshape(world.size, world.size)


# ---------------------------------------------------------------- obstacles


def _obstacles(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """The N obstacles of one world; `static` as `draw_static` has it; consumes `key`."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(world.n_obstacles))
    if not (world.interacting and world.safe_start):
        return jax.vmap(functools.partial(draw_obstacle, world, static))(keys)
    draw = jax.vmap(functools.partial(_draw, world, static))
    cells = occupancy(world, static)

    def redraw(state):
        count, obstacles, unsafe = state
        fresh = draw(jax.vmap(functools.partial(jax.random.fold_in, data=count))(keys))
        obstacles = jax.tree.map(
            lambda new, old: jnp.where(unsafe.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh, obstacles
        )
        return count + 1, obstacles, motion.threatens_start(world, obstacles, cells, jax.lax.scan)

    begin = (0, draw(keys), jnp.ones((world.n_obstacles,), bool))
    return jax.lax.while_loop(lambda s: jnp.any(s[2]), redraw, begin)[1]


def draw_obstacle(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """One obstacle that does not interact; `static` as `draw_static` has it; consumes `key`.

    With `safe_start` an obstacle that threatens the waiting agent is drawn again. Obstacles do not
    interact, so redrawing the offender alone gives the same worlds as redrawing all of them.
    """
    draw = functools.partial(_draw, world, static)
    if world.interacting or not world.safe_start:
        return draw(key)
    return _redraw(key, draw, functools.partial(motion.threatens_start, world, scan=jax.lax.scan))


def _draw(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """On a free cell with a uniform direction, or as its motion or the layout requires."""
    cell_key, angle_key = jax.random.split(key)
    if world.layout == "discs":  # anywhere, and through everything
        position = jax.random.uniform(cell_key, (2,), maxval=world.size)
        velocity = jax.random.uniform(angle_key, (2,), minval=-world.speed, maxval=world.speed)
        return Obstacles(position, velocity)
    rank = jax.random.randint(cell_key, (), 0, count_free(world, static))
    cell = free_cell(static, rank)
    position = jnp.stack([cell // world.size, cell % world.size]).astype(jnp.float32)
    if world.simple:
        angle = jax.random.uniform(angle_key, maxval=2 * jnp.pi)
        return Obstacles(position, world.speed * motion.direction(angle))
    shape_key, seed_key = jax.random.split(angle_key)
    seed = jax.random.bits(seed_key, (), jnp.uint32)
    return shapes.draw(world, jax.random.uniform(shape_key, (shapes.UNIFORMS,)), position, seed)
