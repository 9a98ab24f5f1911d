"""How obstacles start. Written for one obstacle, or for one world where obstacles interact."""

import functools

import jax
import jax.numpy as jnp

from hrm_jax.gridworld import dynamics, maps
from hrm_jax.gridworld.geometry import swept_distance
from hrm_jax.gridworld.types import (
    CIRCULAR,
    KINDS,
    OSCILLATING,
    PATROL,
    WAYPOINTS,
    Motion,
    Obstacles,
    WorldConfig,
)

SAFE_DISTANCE = 2.0  # cells kept free around the waiting agent (standard protocol)
SAFE_STEPS = 2  # steps after the history during which they are kept free
MARGIN = 0.05  # cells that circles, swings and patrols keep from the walls
CIRCLE_RADIUS = (1.5, 4.0)  # cells
SWING = (2.0, 5.0)  # cells, to either side of the centre
UNIFORMS = 8 + 2 * WAYPOINTS  # numbers in [0, 1) that make one obstacle of a mixed world


def draw_obstacles(config: WorldConfig, static: jax.Array, key: jax.Array) -> Obstacles:
    """The N obstacles of one world; `static` as `maps.draw_static` has it; consumes `key`."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(config.n_obstacles))
    if not (config.interacting and config.safe_start):
        return jax.vmap(functools.partial(draw_obstacle, config, static))(keys)
    draw = jax.vmap(functools.partial(_draw, config, static))
    cells = maps.occupancy(config, static)

    def redraw(state):
        count, obstacles, unsafe = state
        fresh = draw(jax.vmap(functools.partial(jax.random.fold_in, data=count))(keys))
        obstacles = jax.tree.map(
            lambda new, old: jnp.where(unsafe.reshape(-1, *[1] * (new.ndim - 1)), new, old), fresh, obstacles
        )
        return count + 1, obstacles, endangers_start(config, obstacles, cells)

    nobody = draw(keys)
    everybody = jnp.ones((config.n_obstacles,), bool)
    return jax.lax.while_loop(lambda s: jnp.any(s[2]), redraw, (0, nobody, everybody))[1]


def draw_obstacle(config: WorldConfig, static: jax.Array, key: jax.Array) -> Obstacles:
    """One obstacle that does not interact; `static` as `maps.draw_static` has it; consumes `key`.

    With `safe_start` an obstacle that endangers the waiting agent is drawn again. Obstacles do not
    interact, so redrawing the offender alone gives the same worlds as redrawing all of them.
    """
    if config.interacting or not config.safe_start:
        return _draw(config, static, key)

    def attempt(state):
        count, _ = state
        return count + 1, _draw(config, static, jax.random.fold_in(key, count))

    def unsafe(state):
        return endangers_start(config, state[1])

    return jax.lax.while_loop(unsafe, attempt, attempt((0, None)))[1]


def _draw(config: WorldConfig, static: jax.Array, key: jax.Array) -> Obstacles:
    """On a free cell with a uniform direction, or as its kind of motion or the layout wants it."""
    cell_key, angle_key = jax.random.split(key)
    if config.layout == "discs":  # anywhere, and through everything
        position = jax.random.uniform(cell_key, (2,), maxval=config.size)
        velocity = jax.random.uniform(angle_key, (2,), minval=-config.speed, maxval=config.speed)
        return Obstacles(position, velocity)
    rank = jax.random.randint(cell_key, (), 0, maps.count_free(config, static))
    cell = maps.free_cell(static, rank)
    position = jnp.stack([cell // config.size, cell % config.size]).astype(jnp.float32)
    if config.simple:
        angle = jax.random.uniform(angle_key, maxval=2 * jnp.pi)
        return Obstacles(position, config.speed * dynamics.direction(angle))
    shape_key, seed_key = jax.random.split(angle_key)
    seed = jax.random.bits(seed_key, (), jnp.uint32)
    return _shape(config, jax.random.uniform(shape_key, (UNIFORMS,)), position, seed)


def _shape(config: WorldConfig, u: jax.Array, cell: jax.Array, seed: jax.Array) -> Obstacles:
    """An obstacle of one of the world's kinds, each as likely, out of `u` [UNIFORMS] in [0, 1)."""
    codes = jnp.array([KINDS.index(name) for name in config.kinds])
    kind = codes[(u[0] * len(config.kinds)).astype(jnp.int32)]
    angle, phase = 2 * jnp.pi * u[2], 2 * jnp.pi * u[3]
    position, velocity = cell, config.speed * dynamics.direction(angle)
    anchors, turn = _inside(config, u[8:].reshape(WAYPOINTS, 2), 0.0), jnp.zeros(2)
    for code, place in ((CIRCULAR, _circle), (OSCILLATING, _swing)):
        chosen = kind == code
        at, moving, centre, rate = place(config, u, angle, phase)
        position, velocity = jnp.where(chosen, at, position), jnp.where(chosen, moving, velocity)
        anchors = jnp.where(chosen, centre, anchors)
        turn = jnp.where(chosen, jnp.stack([jnp.cos(rate), jnp.sin(rate)]), turn)
    position = jnp.where(kind == PATROL, anchors[0], position)
    return Obstacles(position, velocity, Motion(kind, anchors, turn, seed, jnp.ones((), jnp.int32)))


def _inside(config: WorldConfig, u: jax.Array, reach: jax.Array | float) -> jax.Array:
    """Points from which one may go `reach` cells any way without leaving the world."""
    keep = MARGIN + reach
    return keep + u * (config.size - dynamics.EDGE - 2 * keep)


def _circle(config: WorldConfig, u: jax.Array, angle: jax.Array, phase: jax.Array) -> tuple[jax.Array, ...]:
    """Position, velocity, centre [2] and angle a step of one that circles."""
    radius = CIRCLE_RADIUS[0] + (CIRCLE_RADIUS[1] - CIRCLE_RADIUS[0]) * u[4]
    centre = _inside(config, u[5:7], radius)
    turn = jnp.where(u[7] < 0.5, 1, -1) * config.speed / radius
    now, then = (radius * dynamics.direction(phase + at) for at in (0, turn))
    return centre + now, then - now, centre, turn


def _swing(config: WorldConfig, u: jax.Array, angle: jax.Array, phase: jax.Array) -> tuple[jax.Array, ...]:
    """The same of one that swings to and fro; the angle is the phase's step."""
    reach = SWING[0] + (SWING[1] - SWING[0]) * u[4]
    centre = _inside(config, u[5:7], reach)
    turn = config.speed / reach  # the speed through the centre
    before, now = (reach * jnp.sin(phase - back) for back in (turn, 0))
    along = dynamics.direction(angle)
    return centre + now * along, (now - before) * along, centre, turn


def endangers_start(config: WorldConfig, obstacles: Obstacles, static: jax.Array | None = None) -> jax.Array:
    """Whether the last history step or the two after it lead within 2 cells of the start, per obstacle."""
    start = jnp.zeros((2,))
    waited = max(config.history - 1, 0)
    before, _ = dynamics.roll(config, obstacles, waited, start, 0, static)
    _, after = dynamics.roll(config, before, 1 + SAFE_STEPS, start, waited, static)
    ends = jnp.concatenate([before.position[None], after])  # [4, ..., 2]
    return jnp.any(swept_distance(ends[:-1], ends[1:]) < SAFE_DISTANCE, axis=0)
