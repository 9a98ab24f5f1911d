"""Marks of predictors whose training ended badly, and what is said of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hrm_jax.artefacts import health

UNTRAINED, WARNED = " \N{DAGGER}", " \N{DOUBLE DAGGER}"  # marks of models, for what `ill` says of them
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def ill(result: Any) -> list[str]:
    """What was wrong with a predictor when its training ended; empty of one that is well, or not known."""
    return health.faults(result.get("health"))


def mark(result: Any) -> str:
    """What stands beside a model that is `ill`, or nothing."""
    if not ill(result):
        return ""
    return UNTRAINED if health.untrained(result["health"]) else WARNED


def counted_marks(results: Sequence[Any]) -> list[str]:
    """How many of the models have each mark: "3 of them †"."""
    marks = [mark(result) for result in results]
    return [f"{marks.count(one)} of them{one}" for one in (UNTRAINED, WARNED) if one in marks]


def sentences(models: Mapping[str, Any]) -> list[str]:
    """Why models are marked: a sentence for all of which the same is said but for its numbers."""
    alike: dict[tuple[str, str], dict[str, str]] = {}  # by mark and words: what is said of each model
    for name, result in models.items():
        if faults := "; ".join(ill(result)):
            alike.setdefault((mark(result).strip(), NUMBER.sub("#", faults)), {})[name] = faults
    return [f"{sign} {_names(said)}: {_together(list(said.values()))}." for (sign, _), said in alike.items()]


def _names(models: Sequence[str] | Mapping[str, str]) -> str:
    """Names, of training seeds of one model the seeds alone: "hrm/1, 2 and 4; lstm"."""
    seeds: dict[str, list[str]] = {}
    for name in models:
        group, slash, seed = name.rpartition("/")
        seeds.setdefault(group + slash, []).append(seed)
    return "; ".join(prefix + listed(them) for prefix, them in seeds.items())


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _together(said: Sequence[str]) -> str:
    """One sentence of several that differ in numbers: from the least to the greatest."""
    if len(said) == 1:
        return said[0]
    numbers = zip(*(NUMBER.findall(one) for one in said), strict=True)
    spans = iter([sorted(found, key=float) for found in numbers])

    def span(_: re.Match[str]) -> str:
        least, *_, most = next(spans)
        return least if float(least) == float(most) else f"{least} to {most}"

    return "each " + NUMBER.sub(span, said[0])
