"""The original's cities, bit for bit (docs/faults.md#city-routing): one map, its generator, its fallbacks.

Every scenario is the same 40x40 street plan with other ends and traffic. A vehicle that finds no way is tried
with less traffic, then with none, then with the roads that are forbidden to it.
"""

import functools
import heapq
from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles.city import tokens

SIDE = 40
HOURS = (6, 8, 10, 12, 14, 17, 20, 23)
FIRST_ID = {"train": 0, "test": 10_000}
OFFSET = {"train": 1_000_000, "test": 2_000_000}  # added to a scenario's number, the seed of its stream
APART = (15, 50)  # Manhattan distances of start and goal
USES = ((1, 2, 3), (1, 2, 3), (2, 3), (2,))  # classes of roads, by vehicle
ENTERING = (0, 3, 1, 2)  # cost of a class; the same for all vehicles
IN_JAM = 8
TRIES = 5
NO_JAM, IS_JAM, IS_CLOSED = 0, 1, 2


class Lcg:
    """The linear congruential generator of a page's JavaScript: the product is rounded to a double."""

    def __init__(self, seed: int):
        self._state = seed

    def draw(self) -> float:
        """A number from 0 to 1, both included."""
        self._state = int(float(self._state) * 1103515245.0 + 12345.0) & 0x7FFFFFFF
        return self._state / 0x7FFFFFFF


class Scenario(NamedTuple):
    """Cells are row * 40 + column."""

    start: int
    goal: int
    hour: int
    traffic_seed: int


@functools.cache
def roads() -> np.ndarray:
    """The map, uint8 [40, 40] of classes."""
    small, large, diagonal = 1, 2, 3
    plan = np.zeros((SIDE, SIDE), np.uint8)
    for column in (3, 8, 13, 18, 23, 28, 33, 37):
        plan[:, column : column + 2] = large
    plan[[2, 6, 10, 14, 18, 22, 26, 30, 34, 37]] = large
    side_street = np.zeros(plan.shape, bool)
    side_street[4::4] = side_street[:, 5::6] = True
    plan[side_street & (plan == 0)] = small
    along = np.arange(SIDE - 5)
    plan[along, along] = plan[along + 1, along] = diagonal
    plan[6:18, 16:26] = 0
    plan.flags.writeable = False
    return plan


def scenario(split: str, number: int) -> Scenario:
    """The base scenario of an id of a split: train from 0 on, test from 10,000 on."""
    rng = Lcg(OFFSET[split] + number)
    inner = np.zeros((SIDE, SIDE), bool)
    inner[2:-2, 2:-2] = True
    cells = np.flatnonzero(inner & (roads() > 0))
    start = cells[int(rng.draw() * len(cells))]
    apart = abs(cells // SIDE - start // SIDE) + abs(cells % SIDE - start % SIDE)
    far = cells[(apart >= APART[0]) & (apart <= APART[1])]
    goal = far[int(rng.draw() * len(far))]
    hour = HOURS[int(rng.draw() * len(HOURS))]
    return Scenario(int(start), int(goal), hour, int(rng.draw() * 1_000_000))


def jam_chance(hour: int) -> float:
    """Of a large or diagonal cell; 0.3 times that of a small one."""
    rush = ((7, 9, 0.4), (12, 13, 0.25), (17, 19, 0.45))
    return next((chance for first, last, chance in rush if first <= hour <= last), 0.1)


def traffic(hour: int, seed: int, less: float = 0.0) -> np.ndarray:
    """uint8 [40, 40]: NO_JAM, IS_JAM or IS_CLOSED; `less` is taken from the chance of a jam."""
    rng, chance = Lcg(seed), max(0.0, jam_chance(hour) - less)
    closing = 2 <= hour <= 5 and less < 0.5
    state = np.zeros(SIDE * SIDE, np.uint8)
    for cell, road in enumerate(roads().ravel().tolist()):
        if not road:
            continue
        if closing and road != 1 and rng.draw() < 0.05:
            state[cell] = IS_CLOSED
        elif rng.draw() < (chance if road != 1 else 0.3 * chance):
            state[cell] = IS_JAM
    return state.reshape(SIDE, SIDE)


def inputs(of: Scenario, state: np.ndarray) -> np.ndarray:
    """uint8 [40, 40] tokens of a scenario under some traffic."""
    grid = roads() + np.uint8(1)
    grid[state == IS_JAM], grid[state == IS_CLOSED] = tokens.JAM, tokens.CLOSURE
    grid.flat[of.goal], grid.flat[of.start] = tokens.GOAL, tokens.START
    return grid


def cost(state: np.ndarray, uses: tuple[int, ...]) -> np.ndarray:
    """int [40, 40]: of entering a cell, 0 where that is not possible. A jam is open to everybody."""
    free = np.where(np.isin(roads(), uses), np.array(ENTERING)[roads()], 0)
    return np.select([state == IS_JAM, state == IS_CLOSED], [IN_JAM, 0], free)


def variant(of: Scenario, vehicle: int) -> tuple[np.ndarray, list[int], int, bool]:
    """(input [40, 40], cells of the route, its cost with that of the start, whether a rule was broken).

    Vehicles are numbered as in `tokens.VEHICLES`, from 0 on.
    """
    calm = np.zeros((SIDE, SIDE), np.uint8)
    for attempt in range(TRIES + 2):
        seed, less = of.traffic_seed + attempt, 0.2 * attempt
        state = traffic(of.hour, seed, less) if attempt < TRIES else calm
        relaxed = attempt > TRIES
        price = cost(state, USES[0] if relaxed else USES[vehicle]).ravel()
        if route := search(price.tolist(), of.start, of.goal):
            at_start = cost(state, USES[0]).flat[of.start]
            return inputs(of, state), route, int(price[route[1:]].sum() + at_start), relaxed
    raise AssertionError(f"no way even with all roads: {of}")


def search(price: list[int], start: int, goal: int) -> list[int]:
    """The route of the original's A*, empty where there is none: of equals it takes what it saw first."""
    row, column = divmod(goal, SIDE)
    best, parent, seen = {start: 0}, {start: start}, {start: 0}
    queue, done = [(0, 0, start)], set[int]()
    while queue:
        _, _, cell = heapq.heappop(queue)
        if cell == goal:
            break
        if cell in done:
            continue
        done.add(cell)
        y, x = divmod(cell, SIDE)
        for to, inside in (
            (cell + SIDE, y + 1 < SIDE), (cell - SIDE, y > 0), (cell + 1, x + 1 < SIDE), (cell - 1, x > 0)
        ):  # fmt: skip
            if not inside or not price[to] or best[cell] + price[to] >= best.get(to, 2**31):
                continue
            best[to], parent[to] = best[cell] + price[to], cell
            ahead = abs(to // SIDE - row) + abs(to % SIDE - column)
            heapq.heappush(queue, (best[to] + ahead, seen.setdefault(to, len(seen)), to))
    else:
        return []
    route = [goal]
    while route[-1] != start:
        route.append(parent[route[-1]])
    return route[::-1]


def examples(of: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """Inputs uint8 [4, 1600] of the four vehicles, and their routes, bool [4, 1600]."""
    found = [variant(of, vehicle) for vehicle in range(len(tokens.VEHICLES))]
    marked = np.zeros((len(found), SIDE * SIDE), bool)
    for vehicle, (_, route, *_) in enumerate(found):
        marked[vehicle, route] = True
    return np.stack([grid.ravel() for grid, *_ in found]), marked
