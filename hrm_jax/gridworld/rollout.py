"""Episodes and the training windows cut from them, all on the device that trains on them.

An episode is a function of (key, episode id): a data set of 60,000 episodes is regenerated, never stored.
"""

import functools

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import dynamics, maps
from hrm_jax.gridworld.types import Obstacles, Windows, WorldConfig


def reset(config: WorldConfig, key: jax.Array) -> tuple[jax.Array, Obstacles]:
    """One world before its history: static cells [n_static] (flat, ascending) and obstacles [N]."""
    static_key, obstacle_key = jax.random.split(key)
    static = maps.draw_static(config, static_key)
    keys = jax.vmap(functools.partial(jax.random.fold_in, obstacle_key))(jnp.arange(config.n_obstacles))
    draw = functools.partial(dynamics.draw_obstacle, config, static)
    return static, jax.vmap(draw)(keys)


def episode(config: WorldConfig, key: jax.Array, steps: int) -> jax.Array:
    """Positions after each of `steps` steps of one world: [steps, N, 2] cells."""
    return dynamics.roll(config, reset(config, key)[1], steps)[1]


def track(config: WorldConfig, key: jax.Array, obstacle: jax.Array, steps: int) -> jax.Array:
    """Column `obstacle` of `episode`, [steps, 2], without drawing the others."""
    static_key, obstacle_key = jax.random.split(key)
    static = maps.draw_static(config, static_key)
    state = dynamics.draw_obstacle(config, static, jax.random.fold_in(obstacle_key, obstacle))
    return dynamics.roll(config, state, steps)[1]


def window(positions: jax.Array, offset: jax.Array, history: int, size: int) -> tuple[jax.Array, jax.Array]:
    """The window at `offset` of one track [steps, 2]: history [T, 2] and target [2], over `size`."""
    cut = jax.lax.dynamic_slice_in_dim(positions, offset, history + 1) / size
    return cut[:-1], cut[-1] - cut[-2]


def all_windows(positions: jax.Array, history: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Every window of one episode [steps, N, 2]: history [W, N, T, 2] and target [W, N, 2], W = steps - T."""
    tracks = jnp.moveaxis(positions, 0, 1) / size  # [N, steps, 2]
    count = positions.shape[0] - history
    histories = jnp.stack([tracks[:, w : w + history] for w in range(count)])
    targets = tracks[:, history:] - tracks[:, history - 1 : -1]
    return histories, jnp.moveaxis(targets, 0, 1)


def episode_key(key: jax.Array, index: jax.Array) -> jax.Array:
    """The key of episode `index` of the data set (or stream) that `key` names."""
    return jax.random.fold_in(key, index)


def fresh_windows(
    config: WorldConfig,
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
    groups = per_episode * (1 if together else config.n_obstacles)
    n_episodes = -(-count // groups)

    def one(index):
        world_key, offset_key = jax.random.split(episode_key(key, index))
        tracks = jnp.moveaxis(episode(config, world_key, steps), 0, 1)  # [N, steps, 2]
        offsets = jax.random.randint(offset_key, (per_episode,), 0, steps - history)
        cut = functools.partial(window, history=history, size=config.size)
        return jax.vmap(jax.vmap(cut, (0, None)), (None, 0))(tracks, offsets)  # [W, N, ...]

    histories, targets = jax.vmap(one)(jnp.arange(n_episodes))
    members = config.n_obstacles if together else 1
    histories = histories.reshape(-1, members, history, 2)[:count]
    return Windows(histories, targets.reshape(-1, members, 2)[:count], jnp.ones((count,)))


def fixed_windows(
    config: WorldConfig, key: jax.Array, ids: jax.Array, history: int, steps: int, together: bool
) -> tuple[jax.Array, jax.Array]:
    """The windows `ids` [G] of a fixed data set: histories [G, N, T, 2] and targets [G, N, 2].

    Id = (episode * windows + offset) * obstacles + obstacle; with `together` the last factor is absent.
    """
    offsets = steps - history

    def alone(index):
        index, obstacle = index // config.n_obstacles, index % config.n_obstacles
        positions = track(config, episode_key(key, index // offsets), obstacle, steps)
        return jax.tree.map(lambda a: a[None], window(positions, index % offsets, history, config.size))

    def world(index):
        positions = episode(config, episode_key(key, index // offsets), steps)
        tracks = jnp.moveaxis(positions, 0, 1)
        return jax.vmap(lambda t: window(t, index % offsets, history, config.size))(tracks)

    return jax.vmap(world if together else alone)(ids)


def shuffled(key: jax.Array, position: jax.Array, n: int) -> jax.Array:
    """Element `position` of a pseudo-random permutation of 0..n-1 that `key` names, without storing it.

    A four-round Feistel network permutes the smallest even power of two above n; walking its cycle until
    it lands under n restricts it to 0..n-1 (Black and Rogaway, 2002). int32, elementwise in `position`.
    """
    half = max(1, -(-max(n - 1, 1).bit_length() // 2))
    mask = jnp.uint32((1 << half) - 1)
    round_keys = jax.random.bits(key, (4,), jnp.uint32)

    def permute(x):
        left, right = x >> half, x & mask
        for i in range(4):
            left, right = right, left ^ (_mix(right ^ round_keys[i]) & mask)
        return (left << half) | right

    def walk(x):
        return jnp.where(x >= n, permute(x), x)

    first = permute(position.astype(jnp.uint32))
    return jax.lax.while_loop(lambda x: jnp.any(x >= n), walk, first).astype(jnp.int32)


def _mix(x: jax.Array) -> jax.Array:
    """An invertible 32-bit mixer: every input bit reaches every output bit."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
