"""Distances between points that move in straight lines, for the arrays of NumPy and of jax alike."""

from hrm_jax.worlds.arrays import Array, rounded

FAR_AWAY = 1e6  # cells: nothing is planned or hit there


def dot(a: Array, b: Array) -> Array:
    """Inner values [...] of vectors [..., 2]."""
    return rounded(a[..., 0] * b[..., 0]) + rounded(a[..., 1] * b[..., 1])


def known_ends(start: Array, end: Array) -> tuple[Array, Array]:
    """Segments `start` to `end` [..., 2] of which an end may be NaN: the other one then, or far away of both.

    An obstacle of a recorded world that appears within a step is met only where it appears, one that leaves
    only where it was.
    """
    xp = start.__array_namespace__()
    missing = xp.isnan(start), xp.isnan(end)
    start, end = xp.where(missing[0], end, start), xp.where(missing[1], start, end)
    nowhere = missing[0] & missing[1]
    return xp.where(nowhere, -FAR_AWAY, start), xp.where(nowhere, -FAR_AWAY, end)


def nearest_moment(start: Array, end: Array) -> Array:
    """How far along the segments `start` to `end` [..., 2] the origin is nearest, from 0 to 1: [...]."""
    xp = start.__array_namespace__()
    travel = end - start
    along = dot(travel, travel)
    return xp.clip(-dot(start, travel) / xp.where(along > 0, along, 1), 0, 1)


def swept_distance(start: Array, end: Array) -> Array:
    """Smallest distance [...], in cells, of the origin from the segments `start` to `end` [..., 2].

    Given the difference of two points before and after both moved straight on, it is the smallest distance
    between them on the way.
    """
    nearest = start + rounded(nearest_moment(start, end)[..., None] * (end - start))
    return start.__array_namespace__().sqrt(dot(nearest, nearest))
