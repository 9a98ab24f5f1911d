"""A picture of a state, painted with NumPy: map, obstacles as discs, agent and trail, goal."""

import numpy as np

from hrm_jax.env.episode import RULES, State

CELL = 24  # pixels a side; half in worlds of more than 32 cells
RADIUS = RULES.collision_radius / 2  # cells: discs of agent and obstacle touch where they collide
PAPER, LINE, WALL = (255, 255, 255), (236, 238, 241), (74, 80, 91)
AGENT, OBSTACLE, GOAL, COLLISION = (0, 114, 178), (198, 84, 0), (0, 133, 95), (196, 0, 26)


def frame(state: State, struck: bool = False) -> np.ndarray:
    """The picture, uint8 [(R + 2) * CELL, (C + 2) * CELL, 3]; `struck`: the agent has collided.

    Around the map is a margin of a cell, for obstacles go up to half a cell beyond its last row and column.
    """
    cell = CELL if max(state.static.shape) <= 32 else CELL // 2
    rows, cols = (cell * (side + 2) for side in state.static.shape)
    canvas = np.full((rows, cols, 3), LINE, np.float64)
    ground = canvas[cell:-cell, cell:-cell]
    ground[:] = PAPER
    ground[::cell] = ground[:, ::cell] = LINE
    ground[np.kron(state.static, np.ones((cell, cell), bool))] = WALL
    _disc(canvas, cell, state.goal, 0.45, GOAL)
    _disc(canvas, cell, state.goal, 0.3, PAPER)
    for before in state.agents[:-1]:
        _disc(canvas, cell, before, 0.12, AGENT, 0.5)
    for age, (before, seen) in enumerate(zip(state.noted[-5:-1], state.observed[-5:-1], strict=True), 1):
        for position in before[seen]:
            _disc(canvas, cell, position, 0.12, OBSTACLE, 0.12 * age)
    for position in state.obstacles.position[~np.isnan(state.obstacles.position).any(axis=1)]:
        _disc(canvas, cell, position, RADIUS, OBSTACLE, 0.75)
    _disc(canvas, cell, state.agent, RADIUS, COLLISION if struck else AGENT)
    return canvas.round().astype(np.uint8)


def _disc(
    canvas: np.ndarray,
    cell: int,
    centre: np.ndarray,
    radius: float,
    colour: tuple[int, int, int],
    opacity: float = 1.0,
) -> None:
    """Paint a disc on the canvas [H, W, 3], whose margin is a cell; centre and radius are in cells."""
    middle, reach = (np.asarray(centre) + 1.5) * cell, radius * cell + 1
    first, last = (np.maximum(edge, 0).astype(int) for edge in (middle - reach, middle + reach + 1))
    part = canvas[first[0] : last[0], first[1] : last[1]]
    row, col = (np.arange(side) + start + 0.5 for side, start in zip(part.shape, first, strict=False))
    distance = np.hypot(row[:, None] - middle[0], col - middle[1])
    share = opacity * np.clip(radius * cell - distance + 0.5, 0, 1)[..., None]  # smooth edges
    part += share * (np.array(colour) - part)
