"""Distances between points that move in straight lines, for the arrays of NumPy and of jax alike."""

from hrm_jax.worlds.arrays import Array, rounded


def dot(a: Array, b: Array) -> Array:
    """Inner values [...] of vectors [..., 2]."""
    return rounded(a[..., 0] * b[..., 0]) + rounded(a[..., 1] * b[..., 1])


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
