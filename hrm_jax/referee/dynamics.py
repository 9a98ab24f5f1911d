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


def roll(
    scenarios: Scenarios,
    steps: int,
    obstacles: Obstacles | None = None,
    time: int = 0,
    agent: np.ndarray | None = None,
) -> tuple[Obstacles, np.ndarray]:
    """The obstacles `steps` steps after `time`, and positions [E, steps + 1, N, 2] from `time` on.

    By default the obstacles are those drawn, and the agent [E, 2], which stays where it is, at the start.
    """
    obstacles = scenarios.obstacles if obstacles is None else obstacles
    agent = scenarios.start if agent is None else agent
    after, later = motion.roll(scenarios.world, obstacles, steps, agent[:, None], time, scenarios.static)
    return after, np.concatenate([obstacles.position[:, None], later.swapaxes(0, 1)], axis=1)


def select(parts: Any, kept: np.ndarray | slice | int) -> Any:
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
