"""All solutions of a sudoku of 9x9 (boxes 3x3), 6x6 (2 rows and 3 columns) or 4x4 (2x2), and its rating."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # size: rows and columns of a box


@dataclass(frozen=True)
class Rules:
    """Candidates (digit, cell) as bits of one integer: bit digit * cells + cell, digits from 0.

    `keep[c]`: what candidate c leaves standing. `units`: for each of the four kinds of constraint (a digit in
    a row, in a column, in a box; a cell has a digit) the first candidate of every constraint, as bits, and by
    how much to shift to the others.
    """

    size: int
    full: int
    keep: tuple[int, ...]
    units: tuple[tuple[int, tuple[int, ...]], ...]


@cache
def rules(size: int) -> Rules:
    """The rules of one size of sudoku."""
    high, wide = BOXES[size]
    cells = size * size
    planes = range(0, size * cells, cells)  # the first candidate of each digit
    boxes = [r * size + c for r in range(0, size, high) for c in range(0, size, wide)]
    in_box = [r * size + c for r in range(high) for c in range(wide)]
    units: list[tuple[Sequence[int], Sequence[int]]] = [
        ([plane + row for plane in planes for row in range(0, cells, size)], range(size)),
        ([plane + column for plane in planes for column in range(size)], range(0, cells, size)),
        ([plane + box for plane in planes for box in boxes], in_box),
        (range(cells), planes),
    ]

    def bits(chosen: Iterable[int]) -> int:
        return sum(1 << bit for bit in chosen)

    full = (1 << size * cells) - 1
    keep = [full] * (size * cells)
    for firsts, shifts in units:
        for first in firsts:
            unit = [first + shift for shift in shifts]
            for candidate in unit:
                keep[candidate] &= ~bits(unit) | 1 << candidate
    return Rules(size, full, tuple(keep), tuple((bits(firsts), tuple(shifts)) for firsts, shifts in units))


def _settle(rule: Rules, alive: int) -> int:
    """What naked and hidden singles leave standing of the candidates; 0 where a constraint cannot be met."""
    settled = 0
    while True:
        singles = 0
        for first, shifts in rule.units:
            once = twice = 0
            for shift in shifts:
                here = alive >> shift & first
                twice |= once & here
                once |= here
            if once != first:
                return 0
            alone = once & ~twice
            for shift in shifts:
                singles |= (alive >> shift & alone) << shift
        singles &= ~settled
        if not singles:
            return alive
        settled |= singles
        while singles:
            lowest = singles & -singles
            if not alive & lowest:
                return 0  # two singles of this round contradict one another
            alive &= rule.keep[lowest.bit_length() - 1]
            singles ^= lowest


def _branch(rule: Rules, alive: int) -> list[int]:
    """Candidates of the first cell among those with the fewest, by rising digit; one when all is decided."""
    cells = rule.size**2
    first, shifts = rule.units[3]
    exactly = [first] + [0] * rule.size  # cells with exactly k candidates so far
    for shift in shifts:
        here = alive >> shift & first
        for k in range(rule.size, 0, -1):
            exactly[k] = exactly[k] & ~here | exactly[k - 1] & here
        exactly[0] &= ~here
    fewest = next((cells_with for cells_with in exactly[2:] if cells_with), 0)
    if not fewest:
        return []
    cell = (fewest & -fewest).bit_length() - 1
    return [d * cells + cell for d in range(rule.size) if alive >> d * cells + cell & 1]


def solutions(rule: Rules, alive: int, backtracks: list[int], order=None) -> Iterator[int]:
    """Every solution below `alive`, depth first; `backtracks[0]` counts the guesses that led to none."""
    alive = _settle(rule, alive)
    if not alive:
        return
    choices = _branch(rule, alive)
    if not choices:
        yield alive
        return
    if order is not None:
        order.shuffle(choices)
    for choice in choices:
        found = False
        for solution in solutions(rule, alive & rule.keep[choice], backtracks, order):
            found = True
            yield solution
        backtracks[0] += not found


def candidates(rule: Rules, puzzle: np.ndarray) -> int:
    """What clues (digits 1 to size, 0 blank; [S]) leave standing."""
    alive = rule.full
    for cell, digit in enumerate(puzzle.tolist()):
        if digit:
            alive &= rule.keep[(digit - 1) * rule.size**2 + cell]
    return alive


def grid(rule: Rules, solution: int) -> np.ndarray:
    """Digits 1 to size, uint8 [S], of a decided set of candidates."""
    cells = rule.size**2
    ones = [solution >> bit & 1 for bit in range(rule.size * cells)]
    return np.array(ones, np.uint8).reshape(rule.size, cells).argmax(axis=0).astype(np.uint8) + np.uint8(1)


def solve(puzzle: np.ndarray, size: int) -> tuple[np.ndarray | None, int, bool]:
    """(solution [S] or None, rating, whether it is the only one) of a puzzle [S], digits from 1, 0 blank.

    The rating is the number of backtracks before the solution is found: after all naked and hidden singles
    the solver guesses in the first of the cells with the fewest candidates, lowest digit first; a guess below
    which there is no solution is one backtrack.
    """
    rule = rules(size)
    backtracks = [0]
    found = solutions(rule, candidates(rule, puzzle), backtracks)
    first = next(found, None)
    rating = backtracks[0]
    if first is None:
        return None, rating, False
    return grid(rule, first), rating, next(found, None) is None
