"""Static layouts: which cells are blocked. Written for one world; `vmap` at the edge.

A layout is kept as what was drawn: flat indices of cells `row * size + col`, [n_static] int32, ascending;
or, in the layout "discs", the row, column and radius of each disc, [n_static, 3] int32. Only `occupancy`
knows both.
"""

import jax
import jax.numpy as jnp

from hrm_jax.worlds.world import DISC_RADII, World


def draw_static(world: World, key: jax.Array) -> jax.Array:
    """The static cells [n_static], or discs [n_static, 3], of one world; consumes `key`."""
    if world.layout == "discs":
        return _discs(world, key)
    draw = _distinct_cells if world.distinct_static else _cells_with_replacement
    if not world.connected:
        return draw(world, key)

    def attempt(state):
        count, _ = state
        return count + 1, draw(world, jax.random.fold_in(key, count))

    def walled_off(state):
        return ~is_connected(world, state[1])

    return jax.lax.while_loop(walled_off, attempt, attempt((0, None)))[1]


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
        return _draw_discs(world, static)
    flat = jnp.zeros((world.size**2,), bool).at[static].set(static > 0)
    return flat.reshape(world.size, world.size)


def _draw_discs(world: World, discs: jax.Array) -> jax.Array:
    line = jnp.arange(world.size)
    row, col, radius = (part[:, None, None] for part in discs.T)
    square = (line[:, None] - row) ** 2 + (line - col) ** 2  # [n, size, size]
    return jnp.any(square <= radius**2, axis=0)


def draw_ends(world: World, occupancy: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Start and goal [2] int32: two different cells that are free in `occupancy` [R, C]; consumes `key`."""
    start_key, goal_key = jax.random.split(key)
    rank = jnp.cumsum(~occupancy.reshape(-1))  # of a free cell among the free ones, from 1
    start = jax.random.randint(start_key, (), 1, rank[-1] + 1)
    goal = jax.random.randint(goal_key, (), 1, rank[-1])
    goal += goal >= start
    cells = jnp.searchsorted(rank, jnp.stack([start, goal])).astype(jnp.int32)
    start, goal = jnp.stack([cells // world.size, cells % world.size], axis=-1)
    return start, goal
