"""Charts as inline SVG: lines with direct labels, and the interval bars of tables. Sizes in pixels.

Colours and dashes come from page.css through the classes of `names.Style`, so that one drawing
serves the light page, the dark one and paper.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from markupsafe import Markup

from hrm_jax.console.tables import percent
from hrm_jax.reporting.curves import Curve, Panel
from hrm_jax.reporting.markup import element, number

HEIGHT, TOP, BOTTOM, LEFT = 240, 12, 42, 50
PLOT_WIDTH = 225
LABEL_STEP = 13  # between two direct labels, at least
CHARACTER = 6.2  # width of an average character in a label
LONGEST_LABEL = 18  # characters; the rest is cut, and the curve's points have the whole name
MOST_DOTS = 12  # a curve of more points is drawn without dots
FEW = 6  # so many places along x are labelled one by one
BAR_WIDTH, BAR_HEIGHT = 190, 18


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


def draw(panel: Panel, label_width: float) -> Markup:
    """A panel of curves, each named at its right end in a column of `label_width`."""
    curves = [_positive(curve) if panel.log else curve for curve in panel.curves]
    curves = [curve for curve in curves if curve.points]
    low, high = panel.y_range or _range(curves, panel.log)
    width = LEFT + PLOT_WIDTH + label_width
    xs = sorted({x for curve in curves for x, _ in curve.points})
    x = Axis(min(xs), max(xs), LEFT + 8, LEFT + PLOT_WIDTH - 8)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, panel.log)
    middle = (len(curves) - 1) / 2
    body = [
        _frame(panel, x, y, xs if len(xs) <= FEW else x.ticks()),
        _mark(x, *panel.mark) if panel.mark else None,
        [_curve(curve, x, y, panel.shares, index - middle) for index, curve in enumerate(curves)],
        _labels(curves, y),
    ]
    names = ", ".join(curve.name for curve in curves)
    svg = element(
        "svg", *body, class_="chart", viewBox=f"0 0 {width:.0f} {HEIGHT}", role="img",
        style=f"max-width:{width:.0f}px",
        aria_label=f"{panel.title}: {panel.y_label} against {panel.x_label} for {names}",
    )  # fmt: skip
    return element("div", element("h4", panel.title), svg, class_="panel")


def _positive(curve: Curve) -> Curve:
    kept = [(x, y) for x, y in curve.points if y > 0]
    return replace(curve, x=[x for x, _ in kept], y=[y for _, y in kept])


def _range(curves: Sequence[Curve], log: bool) -> tuple[float, float]:
    ys = [y for curve in curves for _, y in curve.points]
    return padded(min(ys) if log else min(0.0, *ys), max(ys), log)


def _frame(panel: Panel, x: Axis, y: Axis, x_ticks: Sequence[float]) -> list[Markup]:
    """Grid, ticks and the names of both axes."""
    bottom, out = HEIGHT - BOTTOM, []
    for value in y.ticks():
        at = y(value)
        text = f"{100 * value:.0f}" if panel.shares else _power(value) if y.log else number(value)
        out.append(_segment("grid", LEFT, at, LEFT + PLOT_WIDTH, at))
        out.append(_text(text, LEFT - 7, at + 3.5, "end"))
    for value in x_ticks:
        at = x(value)
        out.append(_segment("tick", at, bottom, at, bottom + 4))
        out.append(_text(_short(value), at, bottom + 16, "middle"))
    out.append(_segment("axis", LEFT, bottom, LEFT + PLOT_WIDTH, bottom))
    out.append(_text(panel.x_label, LEFT + PLOT_WIDTH / 2, HEIGHT - 8, "middle", class_="name"))
    turned = {"class_": "name", "transform": f"rotate(-90 12 {(TOP + bottom) / 2:.0f})"}
    out.append(_text(panel.y_label, 12, (TOP + bottom) / 2, "middle", **turned))
    return out


def _mark(x: Axis, value: float, name: str) -> list[Markup]:
    """A dashed line up the chart, named at its foot on the side where there is room."""
    at, bottom = x(value), HEIGHT - BOTTOM
    right = at > LEFT + PLOT_WIDTH / 2
    words = _text(
        f"{name}: {number(value)}", at + (-4 if right else 4), bottom - 5, "end" if right else "start"
    )
    return [_segment("reference", at, TOP, at, bottom), words]


def label_column(names: Iterable[str]) -> float:
    """Width of the column of direct labels."""
    return 14 + CHARACTER * max(min(len(name), LONGEST_LABEL) for name in names)


def _power(value: float) -> str:
    """A tick of a logarithmic axis: 0.02, 5e-6."""
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{number(value / size)}{letter}"
    return number(value)


def _curve(curve: Curve, x: Axis, y: Axis, shares: bool, place: float) -> Markup:
    """The line, its intervals side by side with those of the others, and points that name their values.

    The points of a long curve are there to be pointed at, and not seen.
    """
    shift = 2.5 * place if curve.intervals else 0.0
    points = [(x(a) + shift, y(b)) for a, b in curve.points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    parts = [element("polyline", points=path, fill="none")]
    for at, (low, high) in zip(curve.x, curve.intervals, strict=False):
        parts.append(_segment("interval", x(at) + shift, y(low), x(at) + shift, y(high)))
    seen = len(points) <= MOST_DOTS
    for (a, b), (px, py) in zip(curve.points, points, strict=True):
        value = f"{percent(b)} %" if shares else number(b)
        name = element("title", f"{curve.name}: {value} at {number(a)}")
        look = {"r": 2.4} if seen else {"r": 4, "class_": "hidden"}
        parts.append(element("circle", name, cx=f"{px:.1f}", cy=f"{py:.1f}", **look))
    return element("g", *parts, class_=curve.style.css)


def _labels(curves: Sequence[Curve], y: Axis) -> list[Markup]:
    """Names at the right ends of the curves, moved apart where they would overlap."""
    order = sorted(curves, key=lambda curve: y(curve.points[-1][1]))
    ends = [y(curve.points[-1][1]) for curve in order]
    places = spread(ends, LABEL_STEP, TOP - 4, HEIGHT - BOTTOM + 6)
    left, out = LEFT + PLOT_WIDTH - 6, []
    for curve, end, place in zip(order, ends, places, strict=True):
        leader = _segment("leader", left, end, left + 12, place)
        cut = len(curve.name) > LONGEST_LABEL
        text = f"{curve.name[: LONGEST_LABEL - 1]}…" if cut else curve.name
        name = _text(text, left + 15, place + 3.5, "start", class_="label")
        out.append(element("g", leader, name, class_=curve.style.css))
    return out


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions at least `gap` apart and near those wanted (ascending), within [low, high]."""
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    placed = list(wanted)
    for i in range(len(placed)):
        placed[i] = max(placed[i], low if i == 0 else placed[i - 1] + gap)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], high if i == len(placed) - 1 else placed[i + 1] - gap)
    return placed


def _segment(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return element("line", class_=css, x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}")


def _text(content: str, x: float, y: float, anchor: str, **attributes: str) -> Markup:
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)


# ---------------------------------------------------------------- interval bars of tables


def bar_range(results: Iterable[dict]) -> tuple[float, float]:
    """The shares that a column of interval bars spans: all intervals, and 100 %."""
    low = min(result["interval"][0] for result in results)
    return min(math.floor(10 * low) / 10, 0.9), 1.0


def _bar_axis(span: tuple[float, float]) -> Axis:
    return Axis(*span, 10, BAR_WIDTH - 10)


def interval_bar(
    result: dict, span: tuple[float, float], css: str, kind: str, reference: float | None
) -> Markup:
    """A rate and its interval on an axis of `span`; `reference` is a dashed line to compare with."""
    x, middle = _bar_axis(span), BAR_HEIGHT / 2
    parts = [_segment("grid", x(v), 0, x(v), BAR_HEIGHT) for v in linear_ticks(*span, about=6)]
    if reference is not None:
        parts.append(_segment("reference", x(reference), 0, x(reference), BAR_HEIGHT))
    low, high = map(x, result["interval"])
    band = element("rect", x=f"{low:.1f}", y=middle - 4, width=f"{max(high - low, 1):.1f}", height=8)
    parts.append(element("g", band, marker(x(result["rate"]), middle, kind), class_=css))
    return _bar(BAR_HEIGHT, parts, aria_hidden="true")


def bar_axis(span: tuple[float, float]) -> Markup:
    """The axis above a column of interval bars."""
    x, ticks = _bar_axis(span), linear_ticks(*span, about=6)
    numbers = [_text(f"{100 * v:.0f}", x(v), 10, "middle") for v in ticks]
    return _bar(13, numbers, role="img", aria_label="The interval, drawn")


def _bar(height: float, parts: Sequence[Markup], **meaning: str) -> Markup:
    size = {"viewBox": f"0 0 {BAR_WIDTH} {height}", "width": BAR_WIDTH, "height": height}
    return element("svg", *parts, class_="bar", **size, **meaning)


def marker(x: float, y: float, kind: str) -> Markup:
    """A full disc for a learned model, an open one for a baseline, a lozenge for a bound."""
    if kind == "bound":
        return element("path", d=f"M{x - 3.6:.1f} {y:.1f}l3.6 -3.6l3.6 3.6l-3.6 3.6z", class_="mark")
    return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.8, class_="mark")
