"""Distances in space and time, and paths that descend along them; at the end, the published repair.

A path is pushed out of what it would touch: static cells, by their signed distance; obstacles, by where
they are believed to be when the path passes. `descend` is written for the arrays of NumPy and of jax alike,
so that the same function refines samples here and guides the denoiser under jit.

The published repair (docs/models.md#planning) pushes paths away from what the map shows now, and smooths
them. Obstacles stay where they were (docs/faults.md#f30), and nothing limits the distance between two points.

Shapes: A episodes, S samples, P points, N obstacles, R rows, C columns. Positions in cells, a point a step.
"""

from typing import Any, NamedTuple

import numpy as np

from hrm_jax.referee.geometry import crosses, step_toward
from hrm_jax.referee.protocols import PathProtocol
from hrm_jax.worlds import raster
from hrm_jax.worlds.geometry import swept_distance

Array = Any  # of NumPy or of jax

OBSTACLE_REACH = 3.2  # cells; a point is pushed until it is so far from an obstacle's centre
STATIC_REACH = 1.2  # cells, from the nearest static cell's centre
PUSH = 0.6  # of what is missing, a descent
SMOOTH = 0.25  # of the way to the middle of both neighbours
PACE = 0.5  # of what a step is longer than the speed limit
PACE_EVERY = 8  # descents between two times that the limit is kept exactly
COLLISION = 1000.0  # costs of paths from here on: a collision is expected

# Of the published repair.
REPAIR_REACH = 3.0  # cells; a point nearer than this to an obstacle is pushed, and costs
REPAIR_PUSH = 0.5  # of the slope of the distance, a push
REPAIR_RADIUS = 2  # cells, of the discs that moving obstacles are drawn as
REPAIRS = 40


class Field(NamedTuple):
    """What a path is held against."""

    distance: Array  # [A, R, C] to the nearest static cell's centre, negative inside
    slope: Array  # [A, R, C, 2], its gradient
    tracks: Array  # [A, P, N, 2], where obstacles are believed to be at the times of the points


def make(static: np.ndarray, tracks: np.ndarray) -> Field:
    """The field of static cells [A, R, C] and obstacles' tracks [A, P, N, 2]."""
    distance = np.stack([_signed_distance(cells) for cells in static]).astype(np.float32)
    slope = np.stack(list(np.gradient(distance, axis=(1, 2))), axis=-1)
    return Field(distance, slope, tracks.astype(np.float32))


def _signed_distance(static: np.ndarray) -> np.ndarray:
    """[R, C]: to the nearest static cell, or inside to the nearest free one, less one, negative.

    What is beyond the map counts as static.
    """
    from scipy import ndimage  # here alone: it takes longer to import than all of planning

    walled = np.pad(static, 1, constant_values=True)
    outside = ndimage.distance_transform_edt(~walled)
    inside = ndimage.distance_transform_edt(walled)
    return (outside - np.maximum(inside - 1, 0))[1:-1, 1:-1]


def descend(field: Field, paths: Array, speed: float) -> Array:
    """Paths [A, S, P, 2] a step further out of harm's way, smoother, and nearer the speed limit.

    First and last points stay where they are.
    """
    xp = paths.__array_namespace__()
    inner = paths[:, :, 1:-1]
    moved = inner + PUSH * (_off_obstacles(xp, field, inner) + _off_static(xp, field, inner))
    paths = xp.concatenate([paths[:, :, :1], moved, paths[:, :, -1:]], axis=2)
    middle = 0.5 * (paths[:, :, :-2] + paths[:, :, 2:])
    moved = moved + SMOOTH * (middle - moved)
    paths = xp.concatenate([paths[:, :, :1], moved, paths[:, :, -1:]], axis=2)
    return _paced(xp, paths, speed)


def refine(field: Field, paths: np.ndarray, iterations: int, speed: float) -> np.ndarray:
    """Paths [A, S, P, 2] after so many descents, at no point faster than `speed`."""
    for i in range(iterations):
        if i % PACE_EVERY == 0:
            paths = keep_pace(paths, speed)
        paths = descend(field, paths, speed)
    return keep_pace(paths, speed)


def keep_pace(paths: np.ndarray, speed: float) -> np.ndarray:
    """Paths [A, S, P, 2] whose points are drawn to their neighbours, from the start on, then from the goal.

    Where the goal is within reach, no step is then longer than `speed`.
    """
    paths = paths.copy()
    inner = range(1, paths.shape[2] - 1)
    for k, neighbour in [(k, k - 1) for k in inner] + [(k, k + 1) for k in reversed(inner)]:
        paths[:, :, k] = step_toward(paths[:, :, neighbour], paths[:, :, k], speed)
    return paths


def _off_obstacles(xp, field: Field, points: Array) -> Array:
    """What points [A, S, P - 2, 2] lack in distance from the obstacles of their time, as displacements."""
    # Rows and columns apart: sums over an axis of two are slow. Each gap is [A, S, P - 2, N].
    gaps = [points[..., i, None] - field.tracks[:, None, 1:-1, :, i] for i in (0, 1)]
    far = xp.sqrt(gaps[0] * gaps[0] + gaps[1] * gaps[1]) + 1e-6
    share = xp.maximum(OBSTACLE_REACH - far, 0.0) / far
    return xp.stack([xp.sum(share * gap, axis=-1) for gap in gaps], axis=-1)


def _off_static(xp, field: Field, points: Array) -> Array:
    """The same for static cells."""
    size = field.distance.shape[1]
    cell = xp.clip(xp.round(points), 0, size - 1).astype(int)
    world = np.arange(len(points))[:, None, None]
    slope = field.slope[world, cell[..., 0], cell[..., 1]]
    far = field.distance[world, cell[..., 0], cell[..., 1]] + xp.sum(slope * (points - cell), axis=-1)
    return xp.maximum(STATIC_REACH - far, 0.0)[..., None] * slope


def _paced(xp, paths: Array, speed: float) -> Array:
    """Points drawn toward their neighbours where a step is longer than `speed`."""
    step = paths[:, :, 1:] - paths[:, :, :-1]
    length = xp.sqrt(xp.sum(step * step, axis=-1, keepdims=True)) + 1e-6
    excess = PACE * 0.5 * xp.maximum(length - speed, 0.0) * step / length
    none = xp.zeros_like(paths[:, :, :1])
    forth = xp.concatenate([excess, none], axis=2)  # the first point of each step moves on
    back = xp.concatenate([none, excess], axis=2)  # its second one holds back
    moved = (paths + forth - back)[:, :, 1:-1]
    return xp.concatenate([paths[:, :, :1], moved, paths[:, :, -1:]], axis=2)


# ---------------------------------------------------------------- choosing among paths


def costs(
    field: Field, static: np.ndarray, goal: np.ndarray, paths: np.ndarray, rules: PathProtocol, left: int
) -> np.ndarray:
    """What following each of the paths [A, S, P, 2] is expected to cost, [A, S]: lower is better.

    Followed by an agent that has `left` steps: the time of arrival, what it lacks in distance, and most of
    all a collision, the sooner the worse.
    """
    walked = walk(paths, rules.speed)
    here, there = walked[:, :, :-1], walked[:, :, 1:]
    tracks = field.tracks[:, None]
    gap = swept_distance(here[..., None, :] - tracks[:, :, :-1], there[..., None, :] - tracks[:, :, 1:])
    gap = gap.min(axis=-1, initial=np.inf)  # [A, S, P - 1]
    hit = (gap < rules.collision_radius) | crosses(static, here, there)
    last = rules.points - 1
    arrived = np.linalg.norm(there - goal[:, None, None], axis=-1) < rules.goal_tolerance
    arrived &= np.arange(last) < left
    arrival = np.where(arrived.any(axis=-1), arrived.argmax(axis=-1), last)
    collision = np.where(hit.any(axis=-1), hit.argmax(axis=-1), last + 1)
    before = np.arange(last) <= arrival[..., None]
    lacking = (np.maximum(OBSTACLE_REACH - gap, 0.0) * before).sum(axis=-1)
    distance = np.linalg.norm(there[:, :, left - 1] - goal[:, None], axis=-1)
    penalty = np.where(collision <= arrival, COLLISION * (2.0 - collision / last), 0.0)
    return penalty + 2.0 * lacking + arrival + 10.0 * np.where(arrived.any(axis=-1), 0.0, distance)


def walk(paths: np.ndarray, speed: float) -> np.ndarray:
    """Where an agent gets that follows paths [A, S, P, 2] at no more than `speed`."""
    walked = paths.copy()
    for k in range(1, paths.shape[2]):
        walked[:, :, k] = step_toward(walked[:, :, k - 1], paths[:, :, k], speed)
    return walked


# ---------------------------------------------------------------- the published repair


def distance_map(static: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
    """Distances [A, R, C] from the occupied cells of now: static ones [A, R, C], and discs around obstacles.

    `obstacles` [A, N, 2] are truncated to their cells first.
    """
    from scipy import ndimage

    occupied = static | raster.discs(np.trunc(obstacles), static.shape[1], REPAIR_RADIUS)
    return np.stack([ndimage.distance_transform_edt(free) for free in ~occupied])


def repair(distance: np.ndarray, paths: np.ndarray, iterations: int) -> np.ndarray:
    """Paths [A, S, P, 2] after so many pushes and smoothings of their inner points."""
    slope = _slopes(distance)
    paths = paths.copy()
    for _ in range(iterations):
        inner = paths[:, :, 1:-1]
        cell = _cells(inner, distance.shape[1:])
        near = distance[cell] < REPAIR_REACH
        inner += REPAIR_PUSH * np.where(near[..., None], slope[cell], 0.0)
        paths[:, :, 1:-1] = 0.5 * inner + 0.25 * (paths[:, :, :-2] + paths[:, :, 2:])
    return paths


def nearness(distance: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """How near paths [A, S, P, 2] come to what the map of now shows, [A, S]: lower is better, 0 is common."""
    far = distance[_cells(paths, distance.shape[1:])]
    return (np.maximum(REPAIR_REACH - far, 0.0) ** 2).sum(axis=-1)


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
