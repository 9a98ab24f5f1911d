"""How obstacles start, drawn by jax. Written for one obstacle, or for one world where obstacles interact."""

import functools

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import dynamics, maps
from hrm_jax.worlds import motion, shapes
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import World


def draw_obstacles(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """The N obstacles of one world; `static` as `maps.draw_static` has it; consumes `key`."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(world.n_obstacles))
    if not (world.interacting and world.safe_start):
        return jax.vmap(functools.partial(draw_obstacle, world, static))(keys)
    draw = jax.vmap(functools.partial(_draw, world, static))
    cells = maps.occupancy(world, static)

    def redraw(state):
        count, obstacles, unsafe = state
        fresh = draw(jax.vmap(functools.partial(jax.random.fold_in, data=count))(keys))
        obstacles = jax.tree.map(
            lambda new, old: jnp.where(unsafe.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh, obstacles
        )
        return count + 1, obstacles, dynamics.threatens_start(world, obstacles, cells)

    begin = (0, draw(keys), jnp.ones((world.n_obstacles,), bool))
    return jax.lax.while_loop(lambda s: jnp.any(s[2]), redraw, begin)[1]


def draw_obstacle(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """One obstacle that does not interact; `static` as `maps.draw_static` has it; consumes `key`.

    With `safe_start` an obstacle that threatens the waiting agent is drawn again. Obstacles do not
    interact, so redrawing the offender alone gives the same worlds as redrawing all of them.
    """
    if world.interacting or not world.safe_start:
        return _draw(world, static, key)

    def attempt(state):
        count, _ = state
        return count + 1, _draw(world, static, jax.random.fold_in(key, count))

    def unsafe(state):
        return dynamics.threatens_start(world, state[1])

    return jax.lax.while_loop(unsafe, attempt, attempt((0, None)))[1]


def _draw(world: World, static: jax.Array, key: jax.Array) -> Obstacles:
    """On a free cell with a uniform direction, or as its motion or the layout requires."""
    cell_key, angle_key = jax.random.split(key)
    if world.layout == "discs":  # anywhere, and through everything
        position = jax.random.uniform(cell_key, (2,), maxval=world.size)
        velocity = jax.random.uniform(angle_key, (2,), minval=-world.speed, maxval=world.speed)
        return Obstacles(position, velocity)
    rank = jax.random.randint(cell_key, (), 0, maps.count_free(world, static))
    cell = maps.free_cell(static, rank)
    position = jnp.stack([cell // world.size, cell % world.size]).astype(jnp.float32)
    if world.simple:
        angle = jax.random.uniform(angle_key, maxval=2 * jnp.pi)
        return Obstacles(position, world.speed * motion.direction(angle))
    shape_key, seed_key = jax.random.split(angle_key)
    seed = jax.random.bits(seed_key, (), jnp.uint32)
    return shapes.draw(world, jax.random.uniform(shape_key, (shapes.UNIFORMS,)), position, seed)
