"""What a model's name says about it, and how it looks in every chart."""

from collections.abc import Iterable
from dataclasses import dataclass

from hrm_jax.puzzles.kinds import baseline_names
from hrm_jax.referee.paths import planners
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.rules import BOUNDS

# Families of names that are built in: predictors, planners of whole paths, solvers of puzzles.
BUILT_IN = {
    "baseline": (
        tuple(BASELINES),
        tuple(name for name in planners.PLANNERS if name not in planners.BOUNDS),
        baseline_names(),
    ),
    "bound": (BOUNDS, planners.BOUNDS),
}

# What learned models are measured against: the first of these that was evaluated.
REFERENCES = ("reflection", "guided_line_replanned", "straight_line_refined", *reversed(baseline_names()))

KINDS = ("learned", "baseline", "bound")
HEADINGS = {
    "learned": "Learned models",
    "baseline": "Baselines: no training",
    "bound": "Bounds: not predictors",
}
PATH_HEADINGS = {**HEADINGS, "bound": "Bounds: they know how obstacles will move"}

COLOURS = 6  # of learned models; page.css has them
DASHES = 6  # kinds of lines: solid and five dashed ones


@dataclass(frozen=True)
class Style:
    """How one model is drawn."""

    kind: str  # of KINDS
    colour: int  # of a learned model, below COLOURS; -1: the grey of its kind
    dash: int  # below DASHES; 0 is solid

    @property
    def css(self) -> str:
        """Classes of page.css."""
        colour = f"colour-{self.colour}" if self.colour >= 0 else self.kind
        return f"series {self.kind} {colour} dash-{self.dash}"


def kind(name: str) -> str:
    """Of KINDS: what is not built into the evaluation was learned."""
    known = (sort for sort, families in BUILT_IN.items() if any(name in family for family in families))
    return next(known, "learned")


def reference(models: Iterable[str]) -> str | None:
    """Which of `models` is of REFERENCES."""
    names = set(models)
    return next((name for name in REFERENCES if name in names), None)


def styles(models: Iterable[tuple[str, str | None]]) -> dict[str, Style]:
    """A style for every (name, group): one colour a group, in order of appearance."""
    out: dict[str, Style] = {}
    groups: dict[str, int] = {}
    for name, group in models:
        if name in out:
            continue
        sort = kind(name)
        if sort == "learned":
            index = groups.setdefault(group or name, len(groups))
            out[name] = Style(sort, index % COLOURS, index // COLOURS % DASHES)
        else:
            order = next(family for family in BUILT_IN[sort] if name in family)
            out[name] = Style(sort, -1, (order.index(name) + (sort == "baseline")) % DASHES)
    return out
