"""What a predictor sees of the scene, as numbers (docs/models.md#inputs), for the arrays of NumPy and of jax.

Shapes: G groups (worlds), N obstacles of a group, T time, R rows, C columns, F features. Positions are over
size, displacements too; what enters a network is in cells. Every function computes one time step and keeps
the axes before G, so the whole history is the same function with T in front.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from hrm_jax.worlds.arrays import Array

NEAR_WALL = 3.0  # cells; a wall further away than this is not seen
BEYOND = 0.01  # cells; positions stay this far under size
FAR = 10.0  # cells an axis; a neighbour further away than this counts as this far
CONSTANTS = {"near_wall": NEAR_WALL, "beyond": BEYOND, "far": FAR}


class Observation(NamedTuple):
    """The scene so far. Positions are in cells; A episodes, H steps (the current one last), N obstacles.

    The referee's are float64 arrays of NumPy, the jitted loop's are jax's.
    """

    history: Array  # [A, H, N, 2], oldest first; gaps filled by `motion.fill`
    observed: Array  # bool [A, H, N]; False: filled in
    agent: Array  # [A, H, 2]
    static: Array  # bool [A, R, C]


Predict = Callable[[Observation, int], Array]  # (seen, T) -> positions [A, T, N, 2] in cells


class Context(NamedTuple):
    """What a predictor sees in addition to the positions [..., N, T, 2] of a group's obstacles."""

    observed: Array  # [..., N, T] float32: 1 observed, 0 filled in
    agent: Array  # [..., T, 2] the agent's positions over size
    static: Array  # [..., R, C] float32: 1 at static cells


class Seen(NamedTuple):
    """A `Context` as the features read it: at one time step, or at all with T in front."""

    observed: Array  # [(T), G, N] float32
    agent: Array  # [(T), G, 2] over size
    occupied: Array  # [G, R + 2, C + 2] float32: 1 at static cells and on a ring around the grid


class Inputs(NamedTuple):
    """The fields of a predictor's config that its features depend on."""

    features: str  # positions | motion | scene
    size: int  # cells
    patch: int = 0  # side of the map patch
    agent: bool = False  # whether the agent's position is seen

    @classmethod
    def of(cls, model: dict[str, Any]) -> "Inputs":
        """Of a model file's group `model`."""
        return cls(*(model[name] for name in cls._fields))


def recent(seen: Observation, steps: int, size: int) -> tuple[Array, Context]:
    """The last `steps` steps as predictors get them: positions [A, N, T, 2] over size, and the context."""
    xp, last = seen.history.__array_namespace__(), slice(-steps, None)
    positions = xp.moveaxis(seen.history[:, last], 1, 2).astype("float32") / size
    return positions, Context(
        observed=xp.moveaxis(seen.observed[:, last], 1, 2).astype("float32"),
        agent=seen.agent[:, last].astype("float32") / size,
        static=seen.static.astype("float32"),
    )


def arrange(context: Context | None) -> Seen | None:
    """The context of groups [G], if there is one, as the features read it."""
    if context is None:
        return None
    xp = context.static.__array_namespace__()
    occupied = xp.pad(context.static, ((0, 0), (1, 1), (1, 1)), constant_values=1)
    return Seen(xp.moveaxis(context.observed, -1, 0), xp.moveaxis(context.agent, 1, 0), occupied)


def afterwards(seen: Seen | None) -> Seen | None:
    """The scene of a step after the history: nothing observed, the agent where it last was."""
    if seen is None:
        return None
    return Seen(0 * seen.observed[-1], seen.agent[-1], seen.occupied)


def moves(positions: Array) -> Array:
    """Displacements [T, ..., 2] since the step before; the oldest step repeats the one that follows."""
    moved = positions[1:] - positions[:-1]
    return positions.__array_namespace__().concatenate([moved[:1], moved]) if len(moved) else 0 * positions


def features(inputs: Inputs, now: Array, moved: Array, seen: Seen | None) -> Array:
    """Positions [..., 2] and displacements since the step before [..., 2], over size, to [..., F].

    positions: p. motion: 2 p - 1; displacement in cells. scene: these; the observed flag; nearness of the
    four walls; and as asked the agent's relative position, the place within the cell and the map patch.
    """
    if inputs.features == "positions":
        return now
    xp = now.__array_namespace__()
    parts = [2 * now - 1, moved * inputs.size]
    if inputs.features == "scene":
        assert seen is not None, "a context"
        cells = now * inputs.size
        walls = (cells, inputs.size - BEYOND - cells)
        parts += [seen.observed[..., None], *(xp.clip(d, 0, NEAR_WALL) / NEAR_WALL for d in walls)]
        if inputs.agent:
            parts.append(2 * (seen.agent[..., None, :] - now))
        if inputs.patch:
            parts += [cells - xp.round(cells), _patch(xp, cells, seen.occupied, inputs.patch)]
    return xp.concatenate(parts, axis=-1)


def _patch(xp: Any, cells: Array, occupied: Array, side: int) -> Array:
    """Occupancy around the nearest cell, row-major: [..., G, N, 2] to [..., G, N, side²]."""
    groups, rows, columns = occupied.shape
    around = xp.arange(side) - side // 2 + 1  # + 1: the ring
    # Far outside is as good as just outside, and keeps the integers in range.
    limit = xp.asarray([rows - 2, columns - 2]) + side
    centre = xp.clip(xp.nan_to_num(xp.round(cells)), -side, limit).astype(int)
    row = xp.clip(centre[..., 0, None] + around, 0, rows - 1)
    column = xp.clip(centre[..., 1, None] + around, 0, columns - 1)
    row = row + xp.arange(groups)[:, None, None] * rows
    index = row[..., :, None] * columns + column[..., None, :]
    found = occupied.reshape(-1)[index.reshape(-1)]
    return found.reshape(*index.shape[:-2], side * side)


def relative(a: Array) -> Array:
    """[..., N, 2] in cells to [..., 2, N, N]: of j as seen from i, an absurdly far one cut to FAR."""
    xp = a.__array_namespace__()
    a = xp.swapaxes(a, -1, -2)
    return xp.clip(a[..., None, :] - a[..., :, None], -FAR, FAR)
