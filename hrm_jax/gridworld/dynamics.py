"""How obstacles move and what is seen of them, under jit: the twin of `hrm_jax.referee.dynamics`.

Written for one world of N obstacles (or for one obstacle, where they do not interact); `vmap` at the edge.
The arithmetic runs in the dtype of the positions. Every random event is a hash of (the obstacle's seed,
time): the same whatever the agent does, and whoever computes it.
"""

import jax
import jax.numpy as jnp

from hrm_jax.gridworld.geometry import dot, rounded
from hrm_jax.gridworld.types import CIRCULAR, OSCILLATING, PATROL, PURSUIT, TURNING, Obstacles, WorldConfig

EDGE = 0.01  # the world ends at size - EDGE
TURN_CHANCE = 0.1  # a step, of a turning obstacle's new direction
PURSUIT_RADIUS = 6.0  # cells; from here on a pursuer heads for the agent
PURSUIT_SPEED = 0.5  # of the world's speed, so that the agent can get away
CONTACT = 1.0  # cells; interacting obstacles nearer than this turn away from each other
TURN, HEADING, DROP, NOISE, NOISE_ANGLE = range(5)  # what a hashed number decides


def step(
    config: WorldConfig,
    obstacles: Obstacles,
    agent: jax.Array | None = None,
    time: jax.Array | int = 0,
    static: jax.Array | None = None,
) -> Obstacles:
    """The state at `time` + 1, given that at `time`, the agent's cell [2] then and the map [R, C] bool.

    Per axis, who would leave the world, or with `interacting` enter a static cell, is turned back. At
    the wall the step is cut short, and the next one is a full one (docs/worlds.md). A simple world
    needs neither agent, time nor map.
    """
    position, velocity, motion = obstacles
    if config.kinds != ("bounce",):
        velocity, waypoint = _steer(config, obstacles, agent, time)
        motion = motion._replace(waypoint=waypoint)
    advance, blocked = velocity, False
    if config.interacting:
        velocity = _turned_by_neighbour(position, velocity)
        blocked = _into_static(static, position, velocity)
        advance = jnp.where(blocked, 0.0, velocity)
    position, velocity = _move(position, velocity, advance, blocked, config.size)
    if "circular" in config.kinds:
        velocity = jnp.where((motion.kind == CIRCULAR)[..., None], _rotate(velocity, motion.turn), velocity)
    return Obstacles(position, velocity, motion)


def bounce(position: jax.Array, velocity: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """One step of motion [..., 2] among walls alone: position and velocity after it."""
    return _move(position, velocity, velocity, False, size)


def roll(
    config: WorldConfig,
    obstacles: Obstacles,
    steps: int,
    agent: jax.Array | None = None,
    time: jax.Array | int = 0,
    static: jax.Array | None = None,
) -> tuple[Obstacles, jax.Array]:
    """The state after `steps` steps, and the position after each: [steps, ..., 2].

    `agent` [2] stays where it is, or [steps, 2] is where it is at `time` and on.
    """

    def body(state, inputs):
        elapsed, at = inputs
        state = step(config, state, agent if at is None else at, time + elapsed, static)
        return state, state.position

    path = agent if agent is not None and agent.ndim == 2 else None
    return jax.lax.scan(body, obstacles, (jnp.arange(steps), path), length=steps)


def observe(config: WorldConfig, obstacles: Obstacles, time: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """What is seen at `time`: noisy positions [..., 2], and whether seen at all [...] bool."""
    position, seen = obstacles.position, jnp.ones(obstacles.position.shape[:-1], bool)
    if config.drop:
        seen = uniform(obstacles.motion.seed, time, DROP, position.dtype) >= config.drop
    if config.noise:
        seed = obstacles.motion.seed
        radius = jnp.sqrt(-2 * jnp.log1p(-uniform(seed, time, NOISE, position.dtype)))  # Box and Muller
        angle = 2 * jnp.pi * uniform(seed, time, NOISE_ANGLE, position.dtype)
        position = position + rounded(config.noise * radius[..., None] * direction(angle))
    return position, seen


def fill(history: jax.Array, observed: jax.Array) -> jax.Array:
    """Gaps of a history [H, ..., 2], oldest first, filled where `observed` [H, ...] is False.

    Filled by going straight on; before the first sight, by that first sight.
    """
    first = jnp.argmax(observed, axis=0)
    start = jnp.take_along_axis(history, first[None, ..., None], axis=0)[0]

    def body(state, inputs):
        before, last = state
        step, seen, now = inputs
        guess = jnp.where((step < first)[..., None], last, 2 * last - before)
        found = jnp.where(seen[..., None], now, guess)
        return (last, found), found

    return jax.lax.scan(body, (start, start), (jnp.arange(len(history)), observed, history))[1]


def uniform(seed: jax.Array, time: jax.Array | int, channel: int, dtype: jnp.dtype) -> jax.Array:
    """A number in [0, 1) that (seed, time, channel) decide: 24 bits, exact in float32 too."""
    counter = jnp.asarray(8 * time + channel).astype(jnp.uint32)
    return (_mix(seed ^ _mix(counter)) >> 8).astype(dtype) * 2.0**-24


def _mix(x: jax.Array) -> jax.Array:
    """An invertible 32-bit mixer: every input bit reaches every output bit."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def direction(angle: jax.Array) -> jax.Array:
    """Unit vectors [..., 2]."""
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def _move(
    position: jax.Array, velocity: jax.Array, advance: jax.Array, blocked: jax.Array | bool, size: int
) -> tuple[jax.Array, jax.Array]:
    moved = position + advance
    turned = (moved < 0) | (moved >= size) | blocked
    return jnp.clip(moved, 0, size - EDGE), jnp.where(turned, -velocity, velocity)


# ---------------------------------------------------------------- the kinds of motion


def _steer(
    config: WorldConfig, obstacles: Obstacles, agent: jax.Array, time: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """Velocities with which the obstacles set off, and way-points after the step.

    Circular obstacles fly the chords of their circle: the velocity is turned after each step. An
    oscillation is the recurrence of a sine, p(t+1) = 2 cos(w) p(t) - p(t-1) about its centre.
    """
    (position, velocity, motion), speed = obstacles, config.speed
    kind = motion.kind[..., None]
    pull = 2 - 2 * motion.turn[..., :1]
    velocity = jnp.where(
        kind == OSCILLATING, velocity - rounded(pull * (position - motion.anchors[..., 0, :])), velocity
    )
    target = jnp.take_along_axis(motion.anchors, motion.waypoint[..., None, None], axis=-2)[..., 0, :]
    patrolling, arrives = _towards(target, position, speed)
    velocity = jnp.where(kind == PATROL, patrolling, velocity)
    following = (motion.waypoint + 1) % motion.anchors.shape[-2]
    waypoint = jnp.where(arrives, following, motion.waypoint)
    turns = uniform(motion.seed, time, TURN, position.dtype)[..., None] < TURN_CHANCE
    angle = 2 * jnp.pi * uniform(motion.seed, time, HEADING, position.dtype)
    velocity = jnp.where(turns & (kind == TURNING), speed * direction(angle), velocity)
    agent = agent.astype(position.dtype)
    chasing, _ = _towards(agent, position, PURSUIT_SPEED * speed)
    way = agent - position
    near = dot(way, way)[..., None] < PURSUIT_RADIUS**2
    return jnp.where(near & (kind == PURSUIT), chasing, velocity), waypoint


def _towards(target: jax.Array, position: jax.Array, speed: float) -> tuple[jax.Array, jax.Array]:
    """Velocities [..., 2] straight to `target`, ending there; and who arrives [...]."""
    way = target - position
    distance = jnp.sqrt(dot(way, way))
    arrives = distance <= speed
    share = jnp.where(arrives, 1.0, speed / jnp.where(arrives, 1.0, distance))
    return rounded(share[..., None] * way), arrives


def _rotate(velocity: jax.Array, turn: jax.Array) -> jax.Array:
    """`velocity` turned by the angle whose (cosine, sine) is `turn`, both [..., 2]."""
    row, col = velocity[..., 0], velocity[..., 1]
    cos, sin = turn[..., 0], turn[..., 1]
    return jnp.stack(
        [rounded(row * cos) + rounded(col * sin), rounded(col * cos) - rounded(row * sin)], axis=-1
    )


# ---------------------------------------------------------------- interaction


def _turned_by_neighbour(position: jax.Array, velocity: jax.Array) -> jax.Array:
    """Who is in contact with its nearest neighbour, and heads for it, is reflected; speeds stay. [N, 2]"""
    gap = position[:, None] - position[None]  # [N, N, 2]
    square = dot(gap, gap)
    square = jnp.where(jnp.eye(len(position), dtype=bool), jnp.inf, square)
    nearest = jnp.argmin(square, axis=-1)[:, None]
    gap = jnp.take_along_axis(gap, nearest[..., None], axis=1)[:, 0]
    square = jnp.take_along_axis(square, nearest, axis=1)
    approach = dot(velocity, gap)[:, None]  # below 0: they come nearer
    touching = (square < CONTACT**2) & (square > 0) & (approach < 0)
    along = jnp.where(touching, 2 * approach / jnp.where(touching, square, 1.0), 0.0)
    return velocity - rounded(along * gap)


def _into_static(static: jax.Array, position: jax.Array, velocity: jax.Array) -> jax.Array:
    """Per axis, whether the step [N, 2] leads into a static cell, a unit square here."""
    moved = position + velocity
    row = _occupied(static, moved[..., 0], position[..., 1])
    col = _occupied(static, position[..., 0], moved[..., 1])
    corner = _occupied(static, moved[..., 0], moved[..., 1]) & ~row & ~col
    return jnp.stack([row | corner, col | corner], axis=-1)


def _occupied(static: jax.Array, row: jax.Array, col: jax.Array) -> jax.Array:
    """Whether the cells around (row, col) [N] are static; the outermost ones reach on outwards."""
    last = static.shape[0] - 1
    cells = (jnp.clip(jnp.floor(x + 0.5), 0, last).astype(jnp.int32) for x in (row, col))
    return static[tuple(cells)]
