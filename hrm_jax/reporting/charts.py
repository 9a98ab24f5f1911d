"""Charts as SVG: lines with direct labels, and the interval bars of tables. Sizes in pixels.

Colours and dashes come from charts.css through the classes of `names.Style`, so that one drawing serves the
light page, the dark one, paper and the figures.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from markupsafe import Markup

from hrm_jax.artefacts.report_file import group_of
from hrm_jax.console.tables import percent
from hrm_jax.reporting.curves import Curve, Panel
from hrm_jax.reporting.markup import number, part
from hrm_jax.reporting.names import Style

LABEL_STEP = 13  # between two direct labels, at least
LONGEST_LABEL = 18  # characters; the rest is cut, and the curve's points have the whole name
MOST_DOTS = 12  # a curve of more points is drawn without dots
FEW = 6  # so many places along x are labelled one by one
BAR_WIDTH, BAR_HEIGHT = 190, 18


class Box(NamedTuple):
    """Where the curves of a chart are, and how high it is."""

    left: float
    right: float
    top: float
    bottom: float
    height: float


BOX = Box(left=50, right=275, top=12, bottom=198, height=240)
ROOM = 1 + int((BOX.bottom - BOX.top + 10) // LABEL_STEP)  # direct labels beside a chart
Measure = Callable[[str], float]  # the width of a label


def wide(text: str) -> float:
    """The width of a label in the widest of usual fonts: page.js measures it in the reader's."""
    return 7.8 * len(text)


class Axis:
    """Values to pixels along one direction."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False):
        self.log = log
        self.low, self.high = low, high if high > low else low + 1.0
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        low, high = (math.log10(v) if self.log else v for v in (self.low, self.high))
        at = math.log10(max(value, self.low)) if self.log else value
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the axis."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], some `about` of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, every second or third of them over a wide range, and 2 and 5 over a narrow one."""
    first, last = math.floor(math.log10(low) - 1e-9), math.ceil(math.log10(high) + 1e-9)
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    stride = max(1, (last - first) // 5)
    values = [m * 10.0**k for k in range(first, last + 1, stride) for m in factors]
    return [v for v in values if low * 0.999 <= v <= high * 1.001]


def padded(low: float, high: float, log: bool) -> tuple[float, float]:
    """Ends of an axis with room around [low, high]."""
    if log:
        return low / 1.15, high * 1.15
    ticks = linear_ticks(low, high if high > low else low + 1)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    return low, max(math.ceil(high / step - 1e-9) * step, low + step)


# ---------------------------------------------------------------- lines


class Drawn(NamedTuple):
    """A chart, and what stands above it."""

    title: str
    width: float
    height: float
    svg: Markup


def draw(panels: Sequence[Panel], measure: Measure = wide) -> list[Drawn]:
    """Panels of curves, each named at its right end in a column that is as wide in all of them."""
    shown = [_shown(panel) for panel in panels]
    labels = [_named_ends(curves) for curves in shown]
    longest = max((measure(_cut(name)) for one in labels for *_, name in one), default=0)
    width = math.ceil(BOX.right + 14 + longest)
    more = LABEL_STEP * max([len(one) - ROOM for one in labels if len(one) > ROOM], default=0)
    box = BOX._replace(bottom=BOX.bottom + more, height=BOX.height + more)
    return [
        Drawn(panel.title, width, box.height, _chart(panel, curves, box, width))
        for panel, curves in zip(panels, shown, strict=True)
    ]


def _shown(panel: Panel) -> list[Curve]:
    """The curves of which something can be drawn."""
    curves = [_positive(curve) if panel.log else curve for curve in panel.curves]
    return [curve for curve in curves if curve.points]


def _chart(panel: Panel, curves: Sequence[Curve], box: Box, width: float) -> Markup:
    low, high = panel.y_range or _range(curves, panel.log)
    xs = sorted({x for curve in curves for x, _ in curve.points})
    x = Axis(min(xs), max(xs), box.left + 8, box.right - 8)
    y = Axis(low, high, box.bottom, box.top, panel.log)
    middle = (len(curves) - 1) / 2
    value, what = panel.mark or (0.0, "")
    return part(
        "charts.chart",
        panel,
        box,
        width,
        x_ticks=[(x(at), _short(at)) for at in (xs if len(xs) <= FEW else x.ticks())],
        y_ticks=[(y(at), _height(at, panel)) for at in y.ticks()],
        mark={"x": x(value), "text": f"{what}: {number(value)}"} if panel.mark else None,
        curves=[_curve(curve, x, y, panel.shares, index - middle) for index, curve in enumerate(curves)],
        labels=_labels(curves, y, box),
    )


def _positive(curve: Curve) -> Curve:
    kept = [(x, y) for x, y in curve.points if y > 0]
    return replace(curve, x=[x for x, _ in kept], y=[y for _, y in kept])


def _range(curves: Sequence[Curve], log: bool) -> tuple[float, float]:
    ys = [y for curve in curves for _, y in curve.points]
    return padded(min(ys) if log else min(0.0, *ys), max(ys), log)


def _height(value: float, panel: Panel) -> str:
    """A tick of the y axis: per cent, or 0.02 and 5e-6 where it is logarithmic."""
    if panel.shares:
        return f"{100 * value:.0f}"
    if not panel.log:
        return number(value)
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{number(value / size)}{letter}"
    return number(value)


def _curve(curve: Curve, x: Axis, y: Axis, shares: bool, place: float) -> dict[str, Any]:
    """The line, its intervals side by side with those of the others, and points that name their values.

    The points of a long curve are there to be pointed at, and not seen.
    """
    shift = 2.5 * place if curve.intervals else 0.0
    dots = []
    for at, height in curve.points:
        value = f"{percent(height)} %" if shares else number(height)
        dots.append((x(at) + shift, y(height), f"{curve.name}: {value} at {number(at)}"))
    intervals = zip(curve.x, curve.intervals, strict=False)
    return {
        "name": curve.name,
        "css": curve.style.css,
        "dots": dots,
        "intervals": [(x(at) + shift, y(low), y(high)) for at, (low, high) in intervals],
        "seen": len(dots) <= MOST_DOTS,
    }


def _named_ends(curves: Sequence[Curve]) -> list[tuple[float, str, str]]:
    """Last value, class and name of what is labelled.

    Where there is no room for all, the training seeds of a group, which look alike, share a name.
    """
    ends = [(curve.points[-1][1], curve.style.css, curve.name) for curve in curves]
    if len(ends) <= ROOM:
        return ends
    alike: dict[tuple[str, str], list[float]] = {}
    for end, css, name in ends:
        alike.setdefault((css, group_of(name) or name), []).append(end)
    return [(statistics.median(them), css, name) for (css, name), them in alike.items()]


def _labels(curves: Sequence[Curve], y: Axis, box: Box) -> list[tuple[str, float, float, str]]:
    """Names of the curves, the heights where these end, and heights moved apart where they would overlap."""
    ends = sorted((y(value), css, name) for value, css, name in _named_ends(curves))
    places = spread([end for end, *_ in ends], LABEL_STEP, box.top - 4, box.bottom + 6)
    return [(css, end, place, _cut(name)) for (end, css, name), place in zip(ends, places, strict=True)]


def _cut(name: str) -> str:
    return f"{name[: LONGEST_LABEL - 1]}…" if len(name) > LONGEST_LABEL else name


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions at least `gap` apart and near those wanted (ascending), within [low, high]."""
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    placed = list(wanted)
    for i in range(len(placed)):
        placed[i] = max(placed[i], low if i == 0 else placed[i - 1] + gap)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], high if i == len(placed) - 1 else placed[i + 1] - gap)
    return placed


# ---------------------------------------------------------------- interval bars of tables


def bar_range(results: Iterable[dict]) -> tuple[float, float]:
    """The shares that a column of interval bars spans: all intervals, and 100 %."""
    low = min(result["interval"][0] for result in results)
    return min(math.floor(10 * low) / 10, 0.9), 1.0


def _bar_axis(span: tuple[float, float]) -> tuple[Axis, list[float]]:
    return Axis(*span, 10, BAR_WIDTH - 10), linear_ticks(*span, about=6)


def interval_bar(result: dict, span: tuple[float, float], style: Style, reference: float | None) -> Markup:
    """A rate and its interval on an axis of `span`; `reference` is a dashed line to compare with.

    A full disc is a learned model, an open one a baseline, a lozenge a bound.
    """
    x, ticks = _bar_axis(span)
    level = None if reference is None else x(reference)
    interval, rate = list(map(x, result["interval"])), x(result["rate"])
    ticks = list(map(x, ticks))
    return part("charts.bar", BAR_WIDTH, BAR_HEIGHT, ticks, interval, rate, style.css, style.kind, level)


def bar_axis(span: tuple[float, float]) -> Markup:
    """The axis above a column of interval bars."""
    x, ticks = _bar_axis(span)
    return part("charts.bar_axis", BAR_WIDTH, [(x(v), f"{100 * v:.0f}") for v in ticks])
