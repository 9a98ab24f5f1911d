"""Maps of a world as a denoiser of paths sees them: an image, and the corridor along a line.

Written once, for the arrays of NumPy (the referee) and of jax (training, under jit).

Shapes: A worlds, N obstacles, P points, K places across a line, R = C cells a side. Cells are unit squares
centred at integers; obstacles are discs of `radius` cells.
"""

from collections.abc import Sequence

from hrm_jax.worlds.arrays import Array, rounded
from hrm_jax.worlds.geometry import dot
from hrm_jax.worlds.path_frame import OFFSET, PathFrame, axes

CHANNELS = ("occupancy", "static", "obstacles", "velocity", "forecast")
# What `corridor` looks at: so many places across the line, so many cells apart, the line in the middle.
PLACES, SPACING = 17, 1.4
# What the meaning of a trained denoiser hangs on; its file has them.
CONSTANTS = {"path_offset": OFFSET, "corridor_places": PLACES, "corridor_spacing": SPACING}


def channel_count(channels: Sequence[str], slices: int) -> int:
    """Channels of an image: two for "velocity", `slices` for "forecast", one for any other."""
    return sum({"velocity": 2, "forecast": slices}.get(name, 1) for name in channels)


def slice_steps(slices: int, points: int) -> list[int]:
    """The steps ahead that the forecast channels show: the middles of `slices` parts of `points` steps."""
    return [(2 * i + 1) * points // (2 * slices) for i in range(slices)]


def draw(
    channels: Sequence[str], static: Array, tracks: Array, velocities: Array, radius: float, slices: int
) -> Array:
    """Images [A, R, C, channels] float32 of maps [A, R, C] bool, in the order of `channels`.

    `tracks` [A, P, N, 2]: where obstacles are, and are expected to be at the steps ahead (with "forecast");
    `velocities` [A, N, 2] in cells a step.
    """
    xp, size, now = tracks.__array_namespace__(), static.shape[1], tracks[:, 0]

    def ahead() -> Array:
        steps = slice_steps(slices, tracks.shape[1])
        return xp.stack([discs(tracks[:, step], size, radius) for step in steps], axis=-1)

    drawn = {
        "occupancy": lambda: (static | discs(xp.floor(now), size, radius))[..., None],
        "static": lambda: static[..., None],
        "obstacles": lambda: discs(now, size, radius)[..., None],
        "velocity": lambda: _velocities(now, velocities, size, radius),
        "forecast": ahead,
    }
    return xp.concatenate([drawn[name]().astype("float32") for name in channels], axis=-1)


def sight(
    frame: PathFrame,
    channels: Sequence[str],
    static: Array,
    tracks: Array,
    velocities: Array,
    line: Array,
    radius: float,
) -> Array:
    """What the network is shown with each point of a noisy path: [A, P, features] float32.

    The timed straight line and its corridor; nothing where paths are not offsets from a line.
    """
    if frame.coordinates == "unit":
        return line[:, :, :0].astype("float32")
    if "forecast" not in channels:
        tracks = tracks[:, :1]
    corridors = corridor(channels, static, tracks, velocities, line, radius)
    return line.__array_namespace__().concatenate([frame.place(line).astype("float32"), corridors], axis=-1)


def path_features(frame: PathFrame, channels: Sequence[str]) -> int:
    """Features of a point of a noisy path, `sight` included."""
    return 2 if frame.coordinates == "unit" else 4 + PLACES * (4 if "velocity" in channels else 2)


def corridor(
    channels: Sequence[str], static: Array, tracks: Array, velocities: Array, line: Array, radius: float
) -> Array:
    """What stands near each point of lines [A, P, 2] when it is passed: [A, P, features] float32.

    At each of the K places across the line: 1 at static cells and outside the maps [A, R, C]; how much of an
    obstacle of `tracks` ([A, P, N, 2], or [A, 1, N, 2] at rest) is there at the point's time; with
    "velocity", times its velocity ([A, N, 2]) along and across.
    """
    xp, last = line.__array_namespace__(), static.shape[1] - 1
    along, across = (axis[:, None, None] for axis in axes(line))  # each [A, 1, 1, 2]
    offsets = xp.asarray([SPACING * (i - PLACES // 2) for i in range(PLACES)], dtype=line.dtype)
    place = line[:, :, None] + offsets[:, None] * across  # [A, P, K, 2]
    cell = xp.round(place).astype(int)
    outside = xp.any((cell < 0) | (cell > last), axis=-1)
    inside = xp.clip(cell, 0, last)
    world = xp.arange(len(line))[:, None, None]
    away = place[:, :, :, None] - tracks[:, :, None]
    square = dot(away, away)  # [A, P, K, N]
    there = xp.clip(radius + 1 - xp.sqrt(xp.min(square, axis=-1)), 0, 1)
    seen = [outside | static[world, inside[..., 0], inside[..., 1]], there]
    if "velocity" in channels:
        nearest = velocities[world, xp.argmin(square, axis=-1)]
        seen += [there * dot(nearest, axis) for axis in (along, across)]
    return xp.concatenate([part.astype("float32") for part in seen], axis=-1)


def discs(positions: Array, size: int, radius: Array | float) -> Array:
    """Cells [A, size, size] bool whose centre is within `radius` (or [N, 1, 1]) of a position [A, N, 2]."""
    xp = positions.__array_namespace__()
    return xp.any(_squares(positions, size) <= radius**2, axis=1)


def _velocities(positions: Array, velocities: Array, size: int, radius: float) -> Array:
    """The velocity [A, size, size, 2] of the nearest obstacle, the first of equals; 0 beyond `radius`."""
    xp, square = positions.__array_namespace__(), _squares(positions, size)
    nearest = velocities[xp.arange(len(square))[:, None, None], xp.argmin(square, axis=1)]
    return xp.where(xp.min(square, axis=1)[..., None] <= radius**2, nearest, 0.0)


def _squares(positions: Array, size: int) -> Array:
    """Squared distances [A, N, size, size] of all cells from the positions [A, N, 2]."""
    xp = positions.__array_namespace__()
    square = rounded((xp.arange(size) - positions[..., None]) ** 2)  # [A, N, 2, size]
    return square[:, :, 0, :, None] + square[:, :, 1, None, :]
