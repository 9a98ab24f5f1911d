"""The published repair of sampled paths: pushed away from what the map shows now, and smoothed.

docs/models.md#planning. Shapes: A episodes, S samples, P points, R rows, C columns; positions in cells.
Obstacles stay where they were (docs/faults.md#f30), and nothing limits the distance between two points.
"""

import numpy as np

REACH = 3.0  # cells; a point nearer than this to an obstacle is pushed, and costs
PUSH = 0.5  # of the slope of the distance, a push
RADIUS = 2  # cells, of the discs that moving obstacles are drawn as
ITERATIONS = 40


def distance_map(static: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """Distances [A, R, C] from the occupied cells of now: static ones [A, R, C], and discs around obstacles.

    `obstacles` [A, N, 2] are truncated to their cells first.
    """
    from scipy import ndimage  # here alone: it takes longer to import than all of planning

    return np.stack([ndimage.distance_transform_edt(free) for free in ~occupied(static, obstacles)])


def occupied(static: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """The published picture [A, R, C] of now: static cells and moving obstacles alike."""
    cells = np.stack(list(np.indices(static.shape[1:])), axis=-1)
    square = ((cells[None, :, :, None] - np.trunc(obstacles)[:, None, None]) ** 2).sum(axis=-1)
    return static | (square <= RADIUS**2).any(axis=-1)


def refine(distance: np.ndarray, paths: np.ndarray, iterations: int) -> np.ndarray:
    """Paths [A, S, P, 2] after so many pushes and smoothings of their inner points."""
    slope = _slopes(distance)
    paths = paths.copy()
    for _ in range(iterations):
        inner = paths[:, :, 1:-1]
        cell = _cells(inner, distance.shape[1:])
        near = distance[cell] < REACH
        inner += PUSH * np.where(near[..., None], slope[cell], 0.0)
        smooth = 0.5 * inner + 0.25 * (paths[:, :, :-2] + paths[:, :, 2:])
        paths[:, :, 1:-1] = smooth
    return paths


def scores(distance: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """How near paths [A, S, P, 2] come to what the map of now shows, [A, S]: lower is better, 0 is common."""
    far = distance[_cells(paths, distance.shape[1:])]
    return (np.maximum(REACH - far, 0.0) ** 2).sum(axis=-1)


def _slopes(distance: np.ndarray) -> np.ndarray:
    """Central differences [A, R, C, 2], the map repeated beyond its edges."""
    padded = np.pad(distance, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    cols = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    return np.stack([rows, cols], axis=-1)


def _cells(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Index of the cell that each of the points [A, ..., 2] is truncated to, the nearest one if outside."""
    cells = np.clip(points, 0, np.array(shape) - 1).astype(np.int64)
    world = np.arange(len(points)).reshape(-1, *[1] * (points.ndim - 2))
    return world, cells[..., 0], cells[..., 1]
