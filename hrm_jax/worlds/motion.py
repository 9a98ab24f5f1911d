"""How obstacles move and what is observed of them: one piece of code for the arrays of NumPy and of jax.

Axes before the last named ones are free: NumPy has scenarios there, the simulator maps over them.
Arithmetic is in the dtype of the positions, rounded in jax as in NumPy. Time counts from the drawing of a
scenario; the agent waits for the first `history` steps. Every random event (a turn, a noisy or missing
observation) is a hash of (the obstacle's seed, time): the same whatever the agent does, in NumPy and in jax.
"""

import math
from typing import NamedTuple

import numpy as np

from hrm_jax.worlds.arrays import Array, Scan, rounded, scan
from hrm_jax.worlds.geometry import dot, swept_distance
from hrm_jax.worlds.world import (
    CIRCULAR,
    OSCILLATING,
    PATROL,
    PURSUIT,
    SAFE_STEPS,
    SWITCHING,
    TURNING,
    WALL_GAP,
    World,
)

TURN_CHANCE = 0.1  # a step, of a turning obstacle's new direction
PURSUIT_RADIUS = 6.0  # cells; from here on a pursuer heads for the agent
PURSUIT_SPEED = 0.5  # of the world's speed, so that the agent can escape
CONTACT = 1.0  # cells; interacting obstacles nearer than this turn away from each other
SAFE_START = 2.0  # cells kept clear around the start while the agent begins to move, for SAFE_STEPS
CLOCK = (15, 40)  # steps, both included: how long a switching obstacle goes straight on, and then round
TURN, HEADING, DROP, NOISE, NOISE_ANGLE, PERIOD, PHASE = range(7)  # what a hashed number decides


class Motion(NamedTuple):
    """What makes an obstacle of a world that is not simple move as it does."""

    kind: Array  # [..., N] int, index into world.KINDS
    anchors: Array  # [..., N, WAYPOINTS, 2] cells: a patrol's way-points, a centre
    turn: Array  # [..., N, 2] cosine and sine of a circle's or a swing's angle a step
    seed: Array  # [..., N] uint32, decides turns and observations (`uniform`)
    waypoint: Array  # [..., N] int, which one a patrol is going to


class Record(NamedTuple):
    """Where the obstacles of a recorded world are, whatever the agent does."""

    track: Array  # [..., N, T, 2] cells, one position a step from time 0 on; NaN: not there


class Obstacles(NamedTuple):
    """Moving obstacles: N, or where they do not interact a single one without that axis."""

    position: Array  # [..., N, 2] cells, in [0, size - WALL_GAP]; as drawn among discs: in [0, size)
    velocity: Array  # [..., N, 2] cells a step
    # A `Record` in a recorded world; None in a simple one, which never reads it.
    motion: Motion = None  # type: ignore[assignment]


def step(
    world: World,
    obstacles: Obstacles,
    agent: Array | None = None,
    time: Array | int = 0,
    static: Array | None = None,
) -> Obstacles:
    """The obstacles at `time` + 1, given those at `time`.

    Per axis, an obstacle that would leave the world, or with `interacting` enter a static cell, is turned
    back. At the wall the step is cut short; the first step after it is a full one. A simple world needs
    neither agent, time nor map.

    Args:
        agent: the agent's cell at `time`, [2], or of a shape that fits the positions, [..., 1, 2].
        static: the map [..., R, C] bool.
    """
    if world.recorded:
        return _replayed(obstacles, time + 1)
    (position, velocity, motion), blocked = obstacles, False
    if world.kinds != ("bounce",):
        velocity, waypoint = _steer(world, obstacles, agent, time)
        motion = motion._replace(waypoint=waypoint)
    if world.interacting:
        velocity = _turned_by_neighbour(position, velocity)
        blocked = _into_static(static, position, velocity)
    position, velocity = bounce(position, velocity, world.size, blocked)
    if "circular" in world.kinds or "switching" in world.kinds:
        turning = motion.kind == CIRCULAR
        if "switching" in world.kinds:
            turning = turning | ((motion.kind == SWITCHING) & goes_round(motion.seed, time))
        velocity = velocity.__array_namespace__().where(
            turning[..., None], _rotate(velocity, motion.turn), velocity
        )
    return Obstacles(position, velocity, motion)


def bounce(
    position: Array, velocity: Array, size: int | Array, blocked: Array | bool = False
) -> tuple[Array, Array]:
    """One step of motion [..., 2] among walls: positions and velocities after it.

    `size` is the world's, or its rows and columns [2]. An obstacle stays along the axes on which it is
    `blocked` [..., 2], and turns back.
    """
    xp = position.__array_namespace__()
    moved = position + (velocity if blocked is False else xp.where(blocked, 0.0, velocity))
    turned = (moved < 0) | (moved >= size) | blocked
    return xp.clip(moved, 0, size - WALL_GAP), xp.where(turned, -velocity, velocity)


def _replayed(obstacles: Obstacles, time: Array | int) -> Obstacles:
    """The recorded obstacles at `time`; after the end of the record they stay."""
    track = obstacles.motion.track
    xp = track.__array_namespace__()
    now = xp.take(track, xp.minimum(time, track.shape[-2] - 1), axis=-2)
    return Obstacles(now, now - obstacles.position, obstacles.motion)


def roll(
    world: World,
    obstacles: Obstacles,
    steps: int,
    agent: Array | None = None,
    time: Array | int = 0,
    static: Array | None = None,
    scan: Scan = scan,
) -> tuple[Obstacles, Array]:
    """The obstacles after `steps` steps in which the agent stays, and their positions [steps, ..., N, 2]."""

    def body(state, now):
        state = step(world, state, agent, time + now[0], static)
        return state, state.position

    if not steps:
        return obstacles, obstacles.position[None][:0]
    return scan(body, obstacles, (obstacles.position.__array_namespace__().arange(steps),))


def observe(world: World, obstacles: Obstacles, time: Array | int) -> tuple[Array, Array]:
    """What is observed at `time`: noisy positions [..., N, 2], and whether at all, bool [..., N]."""
    position, motion = obstacles.position, obstacles.motion
    xp = position.__array_namespace__()
    if world.recorded:
        there = ~xp.isnan(position[..., 0])
        return xp.where(there[..., None], position, 0.0), there
    seen = xp.ones(position.shape[:-1], bool)
    if world.drop:
        seen = uniform(motion.seed, time, DROP, position.dtype) >= world.drop
    if world.noise:  # Box and Muller
        radius = xp.sqrt(-2 * xp.log1p(-uniform(motion.seed, time, NOISE, position.dtype)))
        angle = 2 * math.pi * uniform(motion.seed, time, NOISE_ANGLE, position.dtype)
        position = position + rounded(world.noise * radius[..., None] * direction(angle))
    return position, seen


def fill(history: Array, observed: Array, scan: Scan = scan) -> Array:
    """Positions [H, ..., 2], oldest first, with straight motion where `observed` [H, ...] is False.

    Before the first observation the obstacle is where it will first be observed.
    """
    xp = history.__array_namespace__()
    first = xp.argmax(observed, axis=0)  # 0 as well where nothing was observed
    start = xp.take_along_axis(history, first[None, ..., None], axis=0)[0]

    def body(state, now):
        (before, last), (index, seen, noted) = state, now
        guess = xp.where((index < first)[..., None], last, 2 * last - before)
        found = xp.where(seen[..., None], noted, guess)
        return (last, found), found

    return scan(body, (start, start), (xp.arange(len(history)), observed, history))[1]


def threatens_start(
    world: World,
    obstacles: Obstacles,
    static: Array | None = None,
    scan: Scan = scan,
) -> Array:
    """Obstacles [..., N] that come near (0, 0) in the last history step or the SAFE_STEPS after it.

    Near: within SAFE_START. The obstacles are as drawn, at time 0; the agent waits at (0, 0).
    """
    xp = obstacles.position.__array_namespace__()
    start = xp.zeros(2, obstacles.position.dtype)
    waited = max(world.history - 1, 0)
    before, _ = roll(world, obstacles, waited, start, 0, static, scan)
    _, after = roll(world, before, world.history + SAFE_STEPS - waited, start, waited, static, scan)
    path = xp.concatenate([before.position[None], after])
    return xp.any(swept_distance(path[:-1], path[1:]) < SAFE_START, axis=0)


def uniform(seed: Array, time: Array | int, channel: int, dtype) -> Array:
    """Numbers in [0, 1) that (seed, time, channel) decide, shaped as `seed`: 24 bits, exact in float32."""
    return _bits(seed, 8 * time + channel).astype(dtype) * 2.0**-24


def goes_round(seed: Array, time: Array | int) -> Array:
    """Which switching obstacles [...] turn at `time`: the seed of each decides its clock, and the phase."""
    period = CLOCK[0] + _below(seed, PERIOD, CLOCK[1] - CLOCK[0] + 1)
    return (time + _below(seed, PHASE, 2 * period)) // period % 2 == 1


def _below(seed: Array, channel: int, limit: Array | int) -> Array:
    """Whole numbers from 0 to `limit` - 1 that (seed, channel) decide, int32 [...]; `limit` is under 128."""
    limit = seed.__array_namespace__().asarray(limit).astype(np.uint32)
    return (_bits(seed, channel) * limit >> 24).astype(np.int32)  # 24 bits times 7


def _bits(seed: Array, counter: Array | int) -> Array:
    """24 bits that (seed, counter) decide: uint32, shaped as `seed`."""
    return mix(seed ^ mix(seed.__array_namespace__().full_like(seed, counter))) >> 8


def mix(x: Array) -> Array:
    """An invertible mixer of uint32: every input bit reaches every output bit."""
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


def direction(angle: Array) -> Array:
    """Unit vectors [..., 2]."""
    xp = angle.__array_namespace__()
    return xp.stack([xp.sin(angle), xp.cos(angle)], axis=-1)


# ---------------------------------------------------------------- the kinds of motion


def _steer(world: World, obstacles: Obstacles, agent: Array, time: Array | int) -> tuple[Array, Array]:
    """Velocities [..., N, 2] with which the obstacles leave, and way-points [..., N] after the step.

    Circular obstacles move along the chords of their circle: the velocity is turned after each step. An
    oscillation is the recurrence of a sine, p(t+1) = 2 cos(w) p(t) - p(t-1) about its centre.
    """
    (position, velocity, motion), speed = obstacles, world.speed
    xp, kind = position.__array_namespace__(), motion.kind[..., None]
    pull = rounded((2 - 2 * motion.turn[..., :1]) * (position - motion.anchors[..., 0, :]))
    velocity = xp.where(kind == OSCILLATING, velocity - pull, velocity)
    target = xp.take_along_axis(motion.anchors, motion.waypoint[..., None, None], axis=-2)[..., 0, :]
    patrolling, arrives = _towards(target, position, speed)
    velocity = xp.where(kind == PATROL, patrolling, velocity)
    following = (motion.waypoint + 1) % motion.anchors.shape[-2]
    waypoint = xp.where(arrives, following, motion.waypoint)
    turns = uniform(motion.seed, time, TURN, position.dtype)[..., None] < TURN_CHANCE
    angle = 2 * math.pi * uniform(motion.seed, time, HEADING, position.dtype)
    velocity = xp.where(turns & (kind == TURNING), speed * direction(angle), velocity)
    agent = agent.astype(position.dtype)
    chasing, _ = _towards(agent, position, PURSUIT_SPEED * speed)
    way = agent - position
    near = dot(way, way)[..., None] < PURSUIT_RADIUS**2
    return xp.where(near & (kind == PURSUIT), chasing, velocity), waypoint


def _towards(target: Array, position: Array, speed: float) -> tuple[Array, Array]:
    """Velocities [..., 2] straight to `target`, ending there; and which obstacles arrive [...]."""
    xp = position.__array_namespace__()
    way = target - position
    distance = xp.sqrt(dot(way, way))
    arrives = distance <= speed
    share = xp.where(arrives, 1.0, speed / xp.where(arrives, 1.0, distance))
    return rounded(share[..., None] * way), arrives


def _rotate(velocity: Array, turn: Array) -> Array:
    """`velocity` turned by the angle whose (cosine, sine) is `turn`, both [..., 2]."""
    row, col = velocity[..., 0], velocity[..., 1]
    cos, sin = turn[..., 0], turn[..., 1]
    turned = (rounded(row * cos) + rounded(col * sin), rounded(col * cos) - rounded(row * sin))
    return velocity.__array_namespace__().stack(turned, axis=-1)


# ---------------------------------------------------------------- interaction


def _turned_by_neighbour(position: Array, velocity: Array) -> Array:
    """Velocities [..., N, 2], reflected where an obstacle touches and approaches its nearest neighbour."""
    xp, count = position.__array_namespace__(), position.shape[-2]
    gap = position[..., :, None, :] - position[..., None, :, :]  # [..., N, N, 2]
    square = xp.where(xp.eye(count, dtype=bool), math.inf, dot(gap, gap))
    nearest = xp.argmin(square, axis=-1)[..., None]
    gap = xp.take_along_axis(gap, nearest[..., None], axis=-2)[..., 0, :]
    square = xp.take_along_axis(square, nearest, axis=-1)
    approach = dot(velocity, gap)[..., None]  # below 0: they come nearer
    touching = (square < CONTACT**2) & (square > 0) & (approach < 0)
    along = xp.where(touching, 2 * approach / xp.where(touching, square, 1.0), 0.0)
    return velocity - rounded(along * gap)


def _into_static(static: Array, position: Array, velocity: Array) -> Array:
    """Per axis, whether the step [..., N, 2] leads into a static cell, a unit square here."""
    moved = position + velocity
    row = _occupied(static, moved[..., 0], position[..., 1])
    col = _occupied(static, position[..., 0], moved[..., 1])
    corner = _occupied(static, moved[..., 0], moved[..., 1]) & ~row & ~col
    return static.__array_namespace__().stack([row | corner, col | corner], axis=-1)


def _occupied(static: Array, row: Array, col: Array) -> Array:
    """Whether the cells around (row, col) [..., N] are static; the outermost ones extend beyond the world."""
    xp, size = static.__array_namespace__(), static.shape[-1]
    row, col = (xp.clip(xp.floor(x + 0.5), 0, size - 1).astype(int) for x in (row, col))
    return xp.take_along_axis(static.reshape(*static.shape[:-2], -1), row * size + col, axis=-1)
