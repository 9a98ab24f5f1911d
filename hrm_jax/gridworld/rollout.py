"""Episodes and the training windows cut from them, all on the device that trains on them.

An episode is a function of its key, which is the data set's (or stream's) with the episode's id folded in:
a data set of 60,000 episodes is regenerated, never stored.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import drawing
from hrm_jax.worlds import motion
from hrm_jax.worlds.features import Context
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import World

WALK = (0.45, 0.9)  # a training agent goes right below the first, down below the second, else it waits


class Windows(NamedTuple):
    """Training windows in the published unit: positions and displacements over the world's size.

    A group is the set of obstacles that one example may look at: one, or a world's N.
    """

    history: jax.Array  # [G, N, T, 2] positions, oldest first
    target: jax.Array  # [G, N, 2] displacement of the step that follows
    weight: jax.Array  # [G] mean 1; 0 pads the last batch of an epoch


class Scenes(NamedTuple):
    """Training examples of whole worlds: what was seen, and what came after. Positions over size."""

    history: jax.Array  # [G, N, T, 2] observed, gaps filled, oldest first
    context: Context  # of the groups G
    future: jax.Array  # [G, N, horizon, 2], the truth


def episode(world: World, key: jax.Array, steps: int) -> jax.Array:
    """Positions after each of `steps` steps of one simple world: [steps, N, 2] cells."""
    return motion.roll(world, drawing.reset(world, key)[1], steps, scan=jax.lax.scan)[1]


def track(world: World, key: jax.Array, obstacle: jax.Array, steps: int) -> jax.Array:
    """Column `obstacle` of `episode`, [steps, 2], without drawing the others."""
    static_key, obstacle_key = jax.random.split(key)
    static = drawing.draw_static(world, static_key)
    state = drawing.draw_obstacle(world, static, jax.random.fold_in(obstacle_key, obstacle))
    return motion.roll(world, state, steps, scan=jax.lax.scan)[1]


def window(positions: jax.Array, offset: jax.Array, history: int, size: int) -> tuple[jax.Array, jax.Array]:
    """The window at `offset` of an episode [steps, N, 2] over `size`: history [N, T, 2] and target [N, 2]."""
    cut = jax.lax.dynamic_slice_in_dim(positions, offset, history + 1) / size
    return jnp.moveaxis(cut[:-1], 0, 1), cut[-1] - cut[-2]


def episodes(key: jax.Array, count: int, draw: Callable[[jax.Array], Any]) -> Any:
    """`draw` of the keys of the first `count` episodes that `key` names, stacked."""
    return jax.vmap(lambda index: draw(jax.random.fold_in(key, index)))(jnp.arange(count))


def fresh(key: jax.Array, count: int, per_episode: int, draw: Callable[[jax.Array], Any]) -> Any:
    """`count` examples of fresh episodes, of each of which `draw` makes `per_episode`."""
    examples = episodes(key, -(-count // per_episode), draw)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], examples)


def fresh_windows(
    world: World,
    key: jax.Array,
    count: int,
    per_episode: int,
    history: int,
    steps: int,
    together: bool,
) -> Windows:
    """`count` windows of fresh episodes: `per_episode` random offsets each, of every obstacle.

    A group is one obstacle, or with `together` a world's N; `count` counts groups.
    """
    members = world.n_obstacles if together else 1

    def draw(key):
        world_key, offset_key = jax.random.split(key)
        positions = episode(world, world_key, steps)
        offsets = jax.random.randint(offset_key, (per_episode,), 0, steps - history)
        histories, targets = jax.vmap(lambda offset: window(positions, offset, history, world.size))(offsets)
        return histories.reshape(-1, members, history, 2), targets.reshape(-1, members, 2)

    groups = per_episode * world.n_obstacles // members
    histories, targets = fresh(key, count, groups, draw)
    return Windows(histories, targets, jnp.ones((count,)))


def fixed_windows(
    world: World, key: jax.Array, ids: jax.Array, history: int, steps: int, together: bool
) -> tuple[jax.Array, jax.Array]:
    """The windows `ids` [G] of a fixed data set: histories [G, N, T, 2] and targets [G, N, 2].

    Id = (episode * windows + offset) * obstacles + obstacle; with `together` the last factor is absent.
    """
    offsets = steps - history

    def one(index):
        if together:
            positions = episode(world, jax.random.fold_in(key, index // offsets), steps)
        else:
            index, obstacle = index // world.n_obstacles, index % world.n_obstacles
            positions = track(world, jax.random.fold_in(key, index // offsets), obstacle, steps)[:, None]
        return window(positions, index % offsets, history, world.size)

    return jax.vmap(one)(ids)


def fresh_scenes(
    world: World, key: jax.Array, count: int, per_episode: int, history: int, horizon: int
) -> Scenes:
    """`count` examples of whole worlds, `per_episode` moments each of fresh episodes.

    The moments lie in the time in which an agent would cross the world; here it walks to the goal at random.
    """
    first = max(history, world.history)
    steps = first + 2 * world.size + horizon

    def draw(key):
        world_key, walk_key, moment_key = jax.random.split(key, 3)
        static, obstacles = drawing.reset(world, world_key)
        agent = stroll(world, walk_key, steps)
        record = (static, agent, *watch(world, obstacles, agent, static))
        moments = jax.random.randint(moment_key, (per_episode,), first, steps - horizon)
        return jax.vmap(lambda now: _scene(world, record, now, history, horizon))(moments)

    return fresh(key, count, per_episode, draw)


def stroll(world: World, key: jax.Array, steps: int) -> jax.Array:
    """Cells [steps, 2] at times 0, 1, … of an agent that waits, then drifts from start to goal."""
    u = jax.random.uniform(key, (steps,))
    moves = jnp.stack([(u >= WALK[0]) & (u < WALK[1]), u < WALK[0]], axis=-1)
    moves &= jnp.arange(steps)[:, None] >= world.history
    walked = jnp.cumsum(moves, axis=0) - moves
    return jnp.minimum(walked, world.size - 1).astype(jnp.float32)


def watch(
    world: World, obstacles: Obstacles, agent: jax.Array, static: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Positions and noisy positions [S, N, 2] and whether seen [S, N], at times 1 to S, the agent on its way.

    `agent` [S, 2] are its cells at times 0 to S - 1, `static` the map [R, C] bool.
    """

    def body(state, inputs):
        time, at = inputs
        state = motion.step(world, state, at, time, static)
        return state, (state.position, *motion.observe(world, state, time + 1))

    return jax.lax.scan(body, obstacles, (jnp.arange(len(agent)), agent))[1]


def _scene(world: World, record: tuple, now: jax.Array, history: int, horizon: int) -> Scenes:
    """The scene at time `now` of a map, of an agent's cells, and of what `watch` returned of both."""
    static, agent, truth, noted, seen = record

    def back(a):  # the entries of times now - history + 1 to now, of an array that begins with time 1
        return jax.lax.dynamic_slice_in_dim(a, now - history, history)

    past, observed = back(noted), back(seen)
    if world.drop:
        past = motion.fill(past, observed, jax.lax.scan)
    future = jax.lax.dynamic_slice_in_dim(truth, now, horizon)
    context = Context(
        observed=observed.T.astype(jnp.float32),
        agent=jax.lax.dynamic_slice_in_dim(agent, now - history + 1, history) / world.size,
        static=static.astype(jnp.float32),
    )
    return Scenes(jnp.moveaxis(past, 0, 1) / world.size, context, jnp.moveaxis(future, 0, 1) / world.size)
