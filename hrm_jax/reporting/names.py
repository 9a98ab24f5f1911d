"""What a model's name says about it, and how it looks in every chart."""

from collections.abc import Iterable
from dataclasses import dataclass

from hrm_jax.planning.baselines import BASELINES
from hrm_jax.planning.episode import BOUNDS

KINDS = ("learned", "baseline", "bound")
HEADINGS = {
    "learned": "Learned models",
    "baseline": "Baselines: no training",
    "bound": "Bounds: not predictors",
}

# After Okabe and Ito, to be told apart with any kind of colour vision. page.css has the same ones for
# the page's charts, and lighter ones for the dark page.
COLOURS = ("#0072b2", "#d55e00", "#007d5b", "#b0508a", "#3a93c9", "#b17d00")
GREYS = {"baseline": "#5f6672", "bound": "#1d2129"}
DASHES = 6  # kinds of lines: solid and five dashed ones


@dataclass(frozen=True)
class Style:
    """How one model is drawn."""

    kind: str  # of KINDS
    colour: int  # index into COLOURS of a learned model; -1: the grey of its kind
    dash: int  # below DASHES; 0 is solid

    @property
    def css(self) -> str:
        """Classes of page.css."""
        colour = f"colour-{self.colour}" if self.colour >= 0 else self.kind
        return f"series {self.kind} {colour} dash-{self.dash}"

    @property
    def hex(self) -> str:
        """The colour on paper."""
        return COLOURS[self.colour] if self.colour >= 0 else GREYS[self.kind]


def kind(name: str) -> str:
    """Of KINDS: what is not built into the evaluation was learned."""
    return "baseline" if name in BASELINES else "bound" if name in BOUNDS else "learned"


def styles(models: Iterable[tuple[str, str | None]]) -> dict[str, Style]:
    """A style for every (name, group): one colour a group, in order of appearance."""
    out, groups = {}, {}
    for name, group in models:
        if name in out:
            continue
        sort = kind(name)
        if sort == "learned":
            index = groups.setdefault(group or name, len(groups))
            out[name] = Style(sort, index % len(COLOURS), index // len(COLOURS) % DASHES)
        else:
            order = list(BASELINES) if sort == "baseline" else list(BOUNDS)
            out[name] = Style(sort, -1, (order.index(name) + (sort == "baseline")) % DASHES)
    return out
