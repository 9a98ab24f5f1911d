"""The law of our cities: a street plan, traffic and two ends a scenario (docs/puzzles.md#city-routing).

A scenario is a function of the seed, its split and its number: all it draws are numbers of one Philox stream,
uniform in [0, 1), one after the other, so that other languages can draw the same. A hash of its buildings
says to which split a street plan belongs.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles.city import tokens
from hrm_jax.puzzles.city.original import HOURS, OFFSET, jam_chance
from hrm_jax.puzzles.dataset import SPLITS

CLOSING = (6, 23)  # hours at which roads are closed
CLOSED = 0.05  # share of the large and diagonal cells that are, then
OF_SMALL = 0.3  # chance of a jam on a small road, of that on a large one
PLANS, TRIES = 200, 10  # street plans that are drawn for a scenario, and traffic for each
SMALL, LARGE, DIAGONAL = 1, 2, 3


class Law(NamedTuple):
    """What the scenarios of a data set have in common."""

    size: int = 40
    seed: int = 0
    hours: Sequence[int] = HOURS
    jam: float | None = None  # chance of a jam on a large cell; None: that of the hour
    vocabulary: int = tokens.VOCABULARY  # of 10 tokens, jams are on large roads alone
    apart: tuple[int, int] | None = None  # Manhattan distances of start and goal; None: by the size


class Measures(NamedTuple):
    """A city's measures in cells; of pairs, the least and the most."""

    margin: int  # of start and goal from the edge
    first: tuple[int, int]  # avenue and street
    avenue: int  # how wide
    avenues: tuple[int, int]  # from one to the next
    offset: int  # of the diagonal from the corner, up and down
    diagonal: tuple[int, int]  # how long
    park_wide: tuple[int, int]
    park_high: tuple[int, int]
    park_margin: int
    apart: tuple[int, int]  # start and goal, Manhattan


def measures(size: int) -> Measures:
    """Those of 40 cells a side in proportion; below 20, avenues are one cell wide."""

    def part(least: int, most: int) -> tuple[int, int]:
        return (least * size + 20) // 40, (most * size + 20) // 40

    wide = size >= 20
    return Measures(
        margin=size // 20,
        first=(1, 3) if wide else (0, 2),
        avenue=2 if wide else 1,
        avenues=(4, 6) if wide else (3, 5),
        offset=size // 5,
        diagonal=part(28, 40),
        park_wide=part(7, 11),
        park_high=part(8, 13),
        park_margin=max(1, part(3, 3)[0]),
        apart=part(15, 50),
    )


def draw(law: Law, split: str, number: int) -> tuple[np.ndarray, int]:
    """(input uint8 [H, W], hour) of a scenario. Large roads join its ends, so every vehicle can serve it."""
    rng = np.random.Generator(np.random.Philox(key=np.array([OFFSET[split] + number, law.seed], np.uint64)))
    hour = law.hours[_between(rng, 0, len(law.hours) - 1)]
    for _ in range(PLANS):
        plan = roads(law.size, rng)
        if split_of(plan) != split:
            continue
        for _ in range(TRIES):
            grid = traffic(plan, hour, law, rng)
            if ends := _ends(plan, grid, law.apart, rng):
                grid.flat[ends[0]], grid.flat[ends[1]] = tokens.START, tokens.GOAL
                return grid, hour
    raise RequestError(f"no start and goal found in {PLANS} cities: give a lower --jam, a wider --apart")


def _between(rng: np.random.Generator, least: int, most: int) -> int:
    return least + int(rng.random() * (most - least + 1))


def roads(size: int, rng: np.random.Generator) -> np.ndarray:
    """A street plan, uint8 [H, W] of classes: small roads, over them a diagonal, large roads, a park."""
    of, plan = measures(size), np.zeros((size, size), np.uint8)
    plan[_between(rng, 0, 3) :: 4] = SMALL
    plan[:, _between(rng, 0, 5) :: 6] = SMALL
    falling, offset = rng.random() < 0.5, _between(rng, -of.offset, of.offset)
    length = _between(rng, *of.diagonal)
    columns = _between(rng, 0, size - length) + np.arange(length)
    for row in (columns if falling else size - 1 - columns) + offset + np.array([[0], [1]]):
        inside = (row >= 0) & (row < size)
        plan[row[inside], columns[inside]] = DIAGONAL
    column = _between(rng, *of.first)
    while column < size:
        plan[:, column : column + of.avenue] = LARGE
        column += _between(rng, *of.avenues)
    row = _between(rng, *of.first)
    while row < size:
        plan[row] = LARGE
        row += _between(rng, 3, 5)
    high, wide = _between(rng, *of.park_high), _between(rng, *of.park_wide)
    top = _between(rng, of.park_margin, size - of.park_margin - high)
    left = _between(rng, of.park_margin, size - of.park_margin - wide)
    plan[top : top + high, left : left + wide] = 0
    return plan


def split_of(plan: np.ndarray) -> str:
    """The split that a street plan belongs to, by its buildings."""
    return SPLITS[zlib.crc32(np.packbits(plan > 0).tobytes()) % 2]


def traffic(plan: np.ndarray, hour: int, law: Law, rng: np.random.Generator) -> np.ndarray:
    """uint8 [H, W]: the tokens of a street plan under the traffic of an hour."""
    chance = jam_chance(hour) if law.jam is None else law.jam
    of_small = OF_SMALL * chance if law.vocabulary == tokens.VOCABULARY else 0
    of_diagonal = chance if law.vocabulary == tokens.VOCABULARY else 0
    grid = plan + np.uint8(1)
    jammed = rng.random(plan.shape) < np.array([0, of_small, chance, of_diagonal])[plan]
    grid[jammed] = tokens.JAMMED[grid[jammed]]
    if hour in CLOSING:
        grid[(rng.random(plan.shape) < CLOSED) & (plan >= LARGE)] = tokens.CLOSURE
    return grid


def _ends(
    plan: np.ndarray, grid: np.ndarray, apart: tuple[int, int] | None, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Start and goal: cells without a jam of the largest net of large roads; None: these have no pair."""
    of, size = measures(len(plan)), len(plan)
    net = _largest((plan == LARGE) & (grid != tokens.CLOSURE)) & (grid == tokens.LARGE)
    inner = slice(of.margin, size - of.margin)
    cells = np.flatnonzero(net[inner, inner])
    rows, columns = (where + of.margin for where in divmod(cells, size - 2 * of.margin))
    if not len(cells):
        return None
    start = _between(rng, 0, len(cells) - 1)
    least, most = apart or of.apart
    distance = abs(rows - rows[start]) + abs(columns - columns[start])
    far = np.flatnonzero((distance >= least) & (distance <= most))
    if not len(far):
        return None
    goal = far[_between(rng, 0, len(far) - 1)]
    return int(rows[start] * size + columns[start]), int(rows[goal] * size + columns[goal])


def _largest(cells: np.ndarray) -> np.ndarray:
    """bool [H, W]: of a set of cells the largest connected part (of equals, the one that ends last)."""
    number = np.where(cells, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    while True:
        before = number.copy()
        np.maximum(number[1:], number[:-1] * cells[1:], out=number[1:])
        np.maximum(number[:-1], number[1:] * cells[:-1], out=number[:-1])
        np.maximum(number[:, 1:], number[:, :-1] * cells[:, 1:], out=number[:, 1:])
        np.maximum(number[:, :-1], number[:, 1:] * cells[:, :-1], out=number[:, :-1])
        if np.array_equal(number, before):
            break
    sizes = np.bincount(number.ravel())
    sizes[0] = 0
    return number == len(sizes) - 1 - sizes[::-1].argmax()
