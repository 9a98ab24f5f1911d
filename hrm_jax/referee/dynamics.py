"""How obstacles move and what is seen of them, for all scenarios at once; float64.

Shapes: E scenarios, N obstacles. Time counts from the drawing of a scenario; the agent waits for the
first `history` steps. Every random event of an episode (a turn, a noisy or missing observation) is a
hash of (the obstacle's seed, time): the same whatever the agent does, and whoever computes it.
`hrm_jax.gridworld.dynamics` is this file's twin under jit.
"""

from typing import NamedTuple

import numpy as np

from hrm_jax.referee.world import KINDS, Scenarios

WALL_GAP = 0.01  # cells; an obstacle that would leave is put this far inside the upper wall
TURN_CHANCE = 0.1  # a step, of a turning obstacle's new direction
PURSUIT_RADIUS = 6.0  # cells; from here on a pursuer heads for the agent
PURSUIT_SPEED = 0.5  # of the world's speed, so that the agent can get away
CONTACT = 1.0  # cells; interacting obstacles nearer than this turn away from each other
TURN, HEADING, DROP, NOISE, NOISE_ANGLE = range(5)  # what a hashed number decides
BOUNCE, CIRCULAR, OSCILLATING, PATROL, TURNING, PURSUIT = range(len(KINDS))


class State(NamedTuple):
    """The part of an obstacle that changes."""

    position: np.ndarray  # float64 [E, N, 2], cells
    velocity: np.ndarray  # float64 [E, N, 2], cells a step
    waypoint: np.ndarray  # int64 [E, N], which one a patrol is going to


def begin(scenarios: Scenarios) -> State:
    """The state as drawn, at time 0."""
    return State(scenarios.positions, scenarios.velocities, np.ones(scenarios.kind.shape, np.int64))


def step(scenarios: Scenarios, state: State, agent: np.ndarray, time: int) -> State:
    """The state at `time` + 1, given that at `time` and the agent's cells [E, 2] at `time`.

    Per axis, who would leave the world, or with `interacting` enter a static cell, is turned back. At
    the wall the step is cut short; the first step after it is a full one.
    """
    world, (position, velocity, waypoint) = scenarios.world, state
    if world.kinds != ("bounce",):
        velocity, waypoint = _steer(scenarios, state, agent, time)
    advance, blocked = velocity, False
    if world.interacting:
        velocity = _turned_by_neighbour(position, velocity)
        blocked = _into_static(scenarios.static, position, velocity)
        advance = np.where(blocked, 0.0, velocity)
    position, velocity = _move(position, velocity, advance, blocked, world.size)
    if "circular" in world.kinds:
        velocity = np.where(
            scenarios.kind[..., None] == CIRCULAR, _rotate(velocity, scenarios.turn), velocity
        )
    return State(position, velocity, waypoint)


def bounce(positions: np.ndarray, velocities: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One step of motion [..., 2] among walls alone: positions and velocities after it."""
    return _move(positions, velocities, velocities, False, size)


def last_moves(history: np.ndarray, size: int) -> np.ndarray:
    """How obstacles move [A, N, 2], cells a step, from where they were [A, H, N, 2]; 0 if seen but once.

    At a wall the last step was cut short and turns back: there it is the one before, reversed.
    """
    steps = np.diff(history, axis=1)[:, -2:]
    if not steps.shape[1]:
        return np.zeros_like(history[:, -1])
    turned = (history[:, -1] <= 0) | (history[:, -1] >= size - WALL_GAP)
    return np.where(turned, -steps[:, 0], steps[:, -1])


def roll(scenarios: Scenarios, state: State, agent: np.ndarray, time: int, steps: int) -> np.ndarray:
    """Positions [E, steps, N, 2] at `time` + 1 and on, should the agent [E, 2] stay where it is."""
    out = np.empty((len(scenarios), steps, *state.position.shape[1:]))
    for i in range(steps):
        state = step(scenarios, state, agent, time + i)
        out[:, i] = state.position
    return out


def tracks(scenarios: Scenarios, steps: int) -> np.ndarray:
    """Positions [E, steps + 1, N, 2] from time 0, as drawn, should the agent wait at the start."""
    return course(scenarios, begin(scenarios), scenarios.start, 0, steps)


def course(scenarios: Scenarios, state: State, agent: np.ndarray, time: int, steps: int) -> np.ndarray:
    """Positions [E, steps + 1, N, 2] at `time` and on: `roll` with the present before it."""
    later = roll(scenarios, state, agent, time, steps)
    return np.concatenate([state.position[:, None], later], axis=1)


def wait(scenarios: Scenarios) -> tuple[State, np.ndarray]:
    """The history steps, the agent at its start: the state after, and positions [E, history + 1, N, 2]."""
    state = begin(scenarios)
    seen = [state.position]
    for now in range(scenarios.world.history):
        state = step(scenarios, state, scenarios.start, now)
        seen.append(state.position)
    return state, np.stack(seen, axis=1)


def observe(scenarios: Scenarios, position: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of `position` [E, N, 2] at `time`: noisy positions, and whether seen at all [E, N]."""
    world, seed = scenarios.world, scenarios.seed
    seen = np.ones(seed.shape, bool)
    if world.drop:
        seen = uniform(seed, time, DROP) >= world.drop
    if world.noise:
        radius = np.sqrt(-2 * np.log1p(-uniform(seed, time, NOISE)))  # Box and Muller
        angle = 2 * np.pi * uniform(seed, time, NOISE_ANGLE)
        position = position + world.noise * radius[..., None] * np.stack([np.sin(angle), np.cos(angle)], -1)
    return position, seen


def uniform(seed: np.ndarray, time: int, channel: int) -> np.ndarray:
    """A number in [0, 1) that (seed, time, channel) decide: 24 bits, exact in float32 too."""
    counter = np.array([8 * time + channel], np.uint32)  # an array: scalars warn of the overflow meant
    return (_mix(seed ^ _mix(counter)) >> np.uint32(8)) * 2.0**-24


def _mix(x: np.ndarray) -> np.ndarray:
    """An invertible 32-bit mixer: every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _move(
    position: np.ndarray, velocity: np.ndarray, advance: np.ndarray, blocked: np.ndarray | bool, size: int
) -> tuple[np.ndarray, np.ndarray]:
    moved = position + advance
    turned = (moved < 0) | (moved >= size) | blocked
    return np.clip(moved, 0, size - WALL_GAP), np.where(turned, -velocity, velocity)


# ---------------------------------------------------------------- the kinds of motion


def _steer(scenarios: Scenarios, state: State, agent: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Velocities [E, N, 2] with which the obstacles set off, and way-points [E, N] after the step.

    Circular obstacles fly the chords of their circle: the velocity is turned after each step. An
    oscillation is the recurrence of a sine, p(t+1) = 2 cos(w) p(t) - p(t-1) about its centre.
    """
    kind, speed = scenarios.kind[..., None], scenarios.world.speed
    position, velocity, waypoint = state
    velocity = np.where(kind == OSCILLATING, _swing(scenarios, position, velocity), velocity)
    patrolling, arrives = _towards(_at(scenarios.anchors, waypoint), position, speed)
    velocity = np.where(kind == PATROL, patrolling, velocity)
    waypoint = np.where(arrives, (waypoint + 1) % scenarios.anchors.shape[2], waypoint)
    turns = (uniform(scenarios.seed, time, TURN) < TURN_CHANCE)[..., None] & (kind == TURNING)
    angle = 2 * np.pi * uniform(scenarios.seed, time, HEADING)
    velocity = np.where(turns, speed * np.stack([np.sin(angle), np.cos(angle)], -1), velocity)
    agent = np.broadcast_to(agent[:, None], position.shape)
    chasing, _ = _towards(agent, position, PURSUIT_SPEED * speed)
    near = np.sum((agent - position) ** 2, axis=-1, keepdims=True) < PURSUIT_RADIUS**2
    return np.where(near & (kind == PURSUIT), chasing, velocity), waypoint


def _swing(scenarios: Scenarios, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    pull = 2 - 2 * scenarios.turn[..., :1]
    return velocity - pull * (position - scenarios.anchors[:, :, 0])


def _at(anchors: np.ndarray, waypoint: np.ndarray) -> np.ndarray:
    """Anchors [E, N, W, 2] at `waypoint` [E, N]: [E, N, 2]."""
    return np.take_along_axis(anchors, waypoint[..., None, None], axis=2)[:, :, 0]


def _towards(target: np.ndarray, position: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Velocities [E, N, 2] straight to `target`, ending there; and who arrives [E, N]."""
    way = target - position
    distance = np.sqrt(np.sum(way**2, axis=-1))
    arrives = distance <= speed
    return np.where(arrives, 1.0, speed / np.where(arrives, 1.0, distance))[..., None] * way, arrives


def _rotate(velocity: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """`velocity` turned by the angle whose (cosine, sine) is `turn`, both [..., 2]."""
    row, col = velocity[..., 0], velocity[..., 1]
    cos, sin = turn[..., 0], turn[..., 1]
    return np.stack([row * cos + col * sin, col * cos - row * sin], axis=-1)


# ---------------------------------------------------------------- interaction


def _turned_by_neighbour(position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Who is in contact with its nearest neighbour, and heads for it, is reflected; speeds stay."""
    gap = position[:, :, None] - position[:, None]  # [E, N, N, 2]
    square = np.sum(gap**2, axis=-1)
    square = np.where(np.eye(position.shape[1], dtype=bool), np.inf, square)
    nearest = square.argmin(axis=-1)[..., None]
    gap = np.take_along_axis(gap, nearest[..., None], axis=2)[:, :, 0]
    square = np.take_along_axis(square, nearest, axis=2)
    approach = np.sum(velocity * gap, axis=-1, keepdims=True)  # below 0: they come nearer
    touching = (square < CONTACT**2) & (square > 0) & (approach < 0)
    return velocity - np.where(touching, 2 * approach / np.where(touching, square, 1.0), 0.0) * gap


def _into_static(static: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Per axis, whether the step [E, N, 2] leads into a static cell, a unit square here."""
    moved = position + velocity
    row = _occupied(static, moved[..., 0], position[..., 1])
    col = _occupied(static, position[..., 0], moved[..., 1])
    corner = _occupied(static, moved[..., 0], moved[..., 1]) & ~row & ~col
    return np.stack([row | corner, col | corner], axis=-1)


def _occupied(static: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Whether the cells around (row, col) [E, N] are static; the outermost ones reach on outwards."""
    last = static.shape[1] - 1
    cells = (np.clip(np.floor(x + 0.5), 0, last).astype(np.int64) for x in (row, col))
    return static[np.arange(len(static))[:, None], *cells]
