"""What a city data set is worth: the original's 100 points, by its own rules, and gates that they leave open.

The points are counted on all training examples, where the original took a sample of 100. Where START and END
stand in the labels they are cells of the route, as PATH on them is in the original's. A data set passes with
READY points and every gate.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.puzzles import routes as open_grids
from hrm_jax.puzzles.city import answers, routes, statistics, tokens
from hrm_jax.puzzles.city.files import KEYS, Cities
from hrm_jax.puzzles.city.law import HOURS
from hrm_jax.puzzles.dataset import SPLITS

READY = 90
BANDS = ((90, "excellent"), (80, "good"), (70, "acceptable"), (0, "poor"))
RARE = 0.001  # chance of hours as uneven, below which they are not drawn evenly


class Check(NamedTuple):
    """A part of the score: all its points, or none."""

    part: str
    name: str
    points: int
    passed: bool
    found: str


class Gate(NamedTuple):
    """What must be so, whatever the score."""

    name: str
    passed: bool
    found: str


def report(splits: dict[str, Cities]) -> dict[str, Any]:
    """Score, checks, gates and figures, as JSON data."""
    checks, gates = list(score(splits)), list(gate(splits))
    points = sum(check.points for check in checks if check.passed)
    return {
        "score": points,
        "band": next(name for least, name in BANDS if points >= least),
        "passed": points >= READY and all(found.passed for found in gates),
        "checks": [check._asdict() for check in checks],
        "gates": [found._asdict() for found in gates],
        "figures": {split: figures(cities) for split, cities in splits.items()},
    }


# ---------------------------------------------------------------- the original's points


def score(splits: dict[str, Cities]) -> Iterator[Check]:
    """The eight checks of the original's analysis."""
    train, test = (splits[split] for split in SPLITS)
    counts = len(train.inputs), len(test.inputs)
    yield Check("method", "example counts", 10, counts == (960, 400), f"{counts[0]} and {counts[1]}")
    shared = len(np.intersect1d(train.scenarios, test.scenarios))
    yield Check("method", "scenario separation", 15, not shared, f"{shared} shared ids")
    whole = [_complete(cities) for cities in (train, test)]
    passed = whole[0] >= 200 and whole[1] >= 80
    yield Check(
        "method", "systematic augmentation", 15, passed, f"{whole[0]} and {whole[1]} with all vehicles"
    )
    highest = max(int(array.max()) for cities in (train, test) for array in (cities.inputs, cities.labels))
    yield Check("tokens", "alphabet", 10, highest <= tokens.PATH, f"tokens up to {highest}")
    starts = sum(int((cities.inputs == tokens.START).sum()) for cities in (train, test)) / sum(counts)
    yield Check("tokens", "start and end", 10, starts > 0.95, f"{starts:.2f} starts an example")
    joined, length = _joined(train), _lengths(train)
    valid = joined.mean()
    yield Check("paths", "validity", 15, bool(valid > 0.95), f"{valid:.1%} join their ends")
    fit = (joined & (length >= 1) & (length <= 3)).mean()
    yield Check("paths", "optimality", 10, bool(fit > 0.8), f"{fit:.1%} of 1 to 3 Manhattan lengths")
    alike, diverse = _variants((train, test))
    yield Check("augmentation", "consistent inputs", 8, alike > 0.8, f"{alike:.1%} of the scenarios")
    yield Check("augmentation", "path diversity", 7, diverse > 0.5, f"{diverse:.3f} labels a variant")


def _complete(cities: Cities) -> int:
    """Scenarios that have all vehicles."""
    pairs = set(zip(cities.scenarios.tolist(), cities.vehicles.tolist(), strict=True))
    return sum(n == len(KEYS) for n in Counter(scenario for scenario, vehicle in pairs if vehicle).values())


def _joined(cities: Cities) -> np.ndarray:
    """bool [N]: whether the marked cells join start and end."""
    start, goal = tokens.ends(cities.inputs)
    marked = _marked(cities).reshape(cities.grids.shape)
    price = np.where(marked, np.uint16(1), np.uint16(tokens.NOWHERE))
    return open_grids.at(routes.to_go(price, goal), start) < tokens.NOWHERE


def _marked(cities: Cities) -> np.ndarray:
    """bool [N, S]: the cells of the routes, start and end among them."""
    ends = (cities.inputs == tokens.START) | (cities.inputs == tokens.GOAL)
    return (cities.labels == tokens.PATH) | ends


def _lengths(cities: Cities) -> np.ndarray:
    """The cells that labels mark, over the Manhattan distance of the ends, [N]."""
    (top, left), (bottom, right) = (np.divmod(cell, cities.width) for cell in tokens.ends(cities.inputs))
    return statistics.cells_of(cities.labels) / np.maximum(abs(top - bottom) + abs(left - right), 1)


def _variants(splits: tuple[Cities, ...]) -> tuple[float, float]:
    """Share of the scenarios whose inputs are alike, and the mean share of labels that differ."""
    alike, diverse = [], []
    for cities in splits:
        plain = np.where(np.isin(cities.inputs, (tokens.START, tokens.GOAL)), tokens.SMALL, cities.inputs)
        for scenario in dict.fromkeys(cities.scenarios.tolist()):
            rows = np.flatnonzero(cities.scenarios == scenario)
            alike.append((plain[rows] == plain[rows[0]]).all())
            diverse.append(len({cities.labels[row].tobytes() for row in rows}) / len(rows))
    return float(np.mean(alike)), float(np.mean(diverse))


# ---------------------------------------------------------------- gates


def gate(splits: dict[str, Cities]) -> Iterator[Gate]:
    """What the points do not see."""
    train, test = (splits[split] for split in SPLITS)
    for what, kinds in (("inputs", _rows(test)), ("street plans", _plans(test))):
        own = set(_rows(train) if what == "inputs" else _plans(train))
        shared = sum(row in own for row in set(kinds))
        yield Gate(f"no {what} shared by train and test", not shared, f"{shared} shared")
    for split, cities in splits.items():
        plans, scenarios = len(set(_plans(cities))), len(np.unique(cities.scenarios))
        yield Gate(f"{split}: a street plan a scenario", plans == scenarios, f"{plans} of {scenarios}")
        yield from _of_labels(split, cities)
        closed = float((cities.inputs == tokens.CLOSURE).mean())
        yield Gate(f"{split}: closures occur", closed > 0, f"{closed:.2%} of the cells")
        yield _of_hours(split, cities)
        for name, answer in (
            ("a copy", cities.inputs),
            ("path everywhere", np.full_like(cities.inputs, tokens.PATH)),
        ):
            exact = float(_exact(cities, answer).mean())
            yield Gate(f"{split}: {name} is never right", exact == 0, f"{exact:.1%} exact")


def _of_labels(split: str, cities: Cities) -> Iterator[Gate]:
    several, most = statistics.contradictions(cities)
    found = f"{several} questions with several labels: at most {most / len(cities.inputs):.1%} exact"
    yield Gate(f"{split}: one label a question", several == 0, found)
    rows = zip(cities.puzzle_of_example.tolist(), cities.inputs, cities.labels, strict=True)
    twice = len(cities.inputs) - len({(number, a.tobytes(), b.tobytes()) for number, a, b in rows})
    yield Gate(f"{split}: no example twice", not twice, f"{twice} repeated")
    verdict = _verdict(cities)
    yield Gate(
        f"{split}: routes keep to their vehicle's roads",
        bool(verdict.valid.all()),
        f"{verdict.valid.mean():.1%}",
    )
    least = answers.least_cost(cities.grids, cities.vehicles)
    best = verdict.valid & (verdict.cost == least)
    yield Gate(f"{split}: routes are the cheapest", bool(best.all()), f"{best.mean():.1%}")


def _verdict(cities: Cities) -> answers.Verdict:
    labels = cities.labels.reshape(cities.grids.shape)
    return answers.judge(cities.grids, labels, cities.vehicles, labels)


def _exact(cities: Cities, answer: np.ndarray) -> np.ndarray:
    """bool [N]: whether all labels that count are met."""
    counts = np.ones(cities.labels.shape, bool) if cities.ignored is None else cities.labels != cities.ignored
    return ((answer == cities.labels) | ~counts).all(axis=1)


def _of_hours(split: str, cities: Cities) -> Gate:
    name = f"{split}: all hours, evenly"
    first = np.unique(cities.scenarios, return_index=True)[1]
    hours = cities.hours[first]
    if (hours < 0).any():
        return Gate(name, False, "the files do not say them")
    from scipy.stats import chisquare  # slow to import

    counts = [int((hours == hour).sum()) for hour in sorted({*HOURS, *hours.tolist()})]
    chance = float(chisquare(counts).pvalue)
    return Gate(name, min(counts) > 0 and chance > RARE, f"{min(counts)} to {max(counts)}, p = {chance:.2g}")


def _rows(cities: Cities) -> list[bytes]:
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in cities.inputs]


def _plans(cities: Cities) -> list[bytes]:
    """The buildings of every example."""
    return [row.tobytes() for row in np.packbits(cities.inputs == tokens.BUILDING, axis=1)]


def figures(cities: Cities) -> dict[str, float]:
    """What is neither good nor bad."""
    entering = tokens.entering(cities.grids, cities.vehicles)
    ways = routes.number(entering, *tokens.ends(cities.inputs))
    return {
        "examples": len(cities.inputs),
        "street plans": len(set(_plans(cities))),
        "route cells, mean": float(statistics.cells_of(cities.labels).mean()),
        "one cheapest route, share": float((ways == 1).mean()),
        "tokens right by a copy, share": float((cities.inputs == cities.labels).mean()),
        "closed cells, share": float((cities.inputs == tokens.CLOSURE).mean()),
    }
