"""The motion of `hrm_jax.worlds` for E scenarios of N obstacles: time is the second axis here; float64."""

from typing import Any

import numpy as np

from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.worlds import motion
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import WALL_GAP


def step(scenarios: Scenarios, obstacles: Obstacles, agent: np.ndarray, time: int) -> Obstacles:
    """The obstacles at `time` + 1, given those at `time` and the agent's cells [E, 2] then."""
    return motion.step(scenarios.world, obstacles, agent[:, None], time, scenarios.static)


def course(
    scenarios: Scenarios, obstacles: Obstacles, agent: np.ndarray, time: int, steps: int
) -> np.ndarray:
    """Positions [E, steps + 1, N, 2] at `time` and after, should the agent [E, 2] stay where it is."""
    _, later = motion.roll(scenarios.world, obstacles, steps, agent[:, None], time, scenarios.static)
    return np.concatenate([obstacles.position[:, None], later.swapaxes(0, 1)], axis=1)


def tracks(scenarios: Scenarios, steps: int) -> np.ndarray:
    """Positions [E, steps + 1, N, 2] from time 0, as drawn, should the agent wait at the start."""
    return course(scenarios, scenarios.obstacles, scenarios.start, 0, steps)


def wait(scenarios: Scenarios) -> tuple[Obstacles, np.ndarray]:
    """The history steps, the agent at its start: the obstacles after, positions [E, history + 1, N, 2]."""
    obstacles = scenarios.obstacles
    positions = [obstacles.position]
    for now in range(scenarios.world.history):
        obstacles = step(scenarios, obstacles, scenarios.start, now)
        positions.append(obstacles.position)
    return obstacles, np.stack(positions, axis=1)


def select(parts: Any, kept: np.ndarray | slice) -> Any:
    """What is `kept` along the first axis of every array of a named tuple; what is no array stays."""
    if isinstance(parts, tuple):
        return type(parts)(*(select(part, kept) for part in parts))
    return parts[kept] if isinstance(parts, np.ndarray) else parts


def fill(history: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Positions [E, H, N, 2] with straight motion where `observed` [E, H, N] is False; see `motion.fill`."""
    if observed.all():
        return history
    return motion.fill(history.swapaxes(0, 1), observed.swapaxes(0, 1)).swapaxes(0, 1)


def last_moves(history: np.ndarray, size: int) -> np.ndarray:
    """How obstacles move [A, N, 2], cells a step, from their positions [A, H, N, 2]; 0 if there is but one.

    At a wall the last step was cut short and turns back: there it is the one before, reversed.
    """
    steps = np.diff(history, axis=1)[:, -2:]
    if not steps.shape[1]:
        return np.zeros_like(history[:, -1])
    turned = (history[:, -1] <= 0) | (history[:, -1] >= size - WALL_GAP)
    return np.where(turned, -steps[:, 0], steps[:, -1])
