"""PNG figures for papers: the page's drawings on light paper. They need the optional extra `plots`."""

import functools
import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hrm_jax.artefacts.files import atomic_write
from hrm_jax.console.tables import percent
from hrm_jax.reporting import charts, curves, tables
from hrm_jax.reporting.curves import Panel
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.markup import asset, part
from hrm_jax.reporting.names import Style, reference

NEEDED = ("resvg_py", "font_roboto", "PIL")  # of the extra
ZOOM = 2.5  # pixels of a figure to one of the page
EDGE = 45  # pixels that the rates take to the right of the bars
LABEL, TITLE = 11, 12  # pixels of their fonts


def available() -> bool:
    """Whether the extra is installed."""
    return all(map(importlib.util.find_spec, NEEDED))


def wanted(
    reports: Sequence[Report], runs: Sequence[Run], density: Any | None
) -> dict[str, Callable[[], Markup]]:
    """Figures that the inputs allow: file name -> what draws it."""
    panels = {}
    looks = curves.looks(reports, density)
    out = {"success.png": lambda: success(reports, looks)} if reports else {}
    if density:
        panels["density.png"] = curves.density(density, looks)
    for kind, curve in (("segments", curves.answers), ("prediction", curves.prediction)):
        for index, report in enumerate(reports, 1):
            name = f"{kind}-{index}.png" if len(reports) > 1 else f"{kind}.png"
            panels[name] = curve(report.data, looks)
    panels["training.png"] = curves.training(runs)
    drawn = {name: content for name, content in panels.items() if content}
    return out | {name: functools.partial(sheet, content) for name, content in drawn.items()}


def write_png(path: Path, drawing: Markup) -> None:
    """Write a figure, whole or not at all."""
    with atomic_write(path, "wb") as file:
        file.write(pixels(drawing, ZOOM))


def pixels(drawing: Markup, zoom: float) -> bytes:
    """SVG as PNG, the same on every machine: its only font comes with the extra."""
    import font_roboto  # an optional extra, as the next
    import resvg_py

    fonts = [font_roboto.Roboto, font_roboto.RobotoBold]
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=str(drawing), zoom=zoom, background="#ffffff", skip_system_fonts=True,
            font_files=fonts, sans_serif_family="Roboto", font_family="Roboto",
        )
    )  # fmt: skip


@functools.cache
def measure(text: str, size: int = LABEL) -> float:
    """The width of bold text in pixels, in the font of the figures."""
    import font_roboto  # an optional extra, as the next
    from PIL import ImageFont

    return ImageFont.truetype(font_roboto.RobotoBold, 10 * size).getlength(text) / 10


@functools.cache
def style() -> Markup:
    """The rules of charts.css and figures.css in the colours of the light page."""
    light = asset("page.css").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", light))
    rules = asset("charts.css") + asset("figures.css")
    return Markup(re.sub(r"var\(--([\w-]+)\)", lambda name: colours[name[1]], rules))


def sheet(panels: Sequence[Panel]) -> Markup:
    """Panels three to a row."""
    drawn = charts.draw(panels, measure)
    width = 15 + max(drawn[0].width, *(measure(panel.title, TITLE) for panel in panels))
    return part("figures.sheet", drawn, width, style())


def success(reports: Sequence[Report], looks: dict[str, Style]) -> Markup:
    """Rates with their intervals: a row per model, a column per report."""
    columns = [_column(report, looks) for report in reports]
    rows = max(len(column["rows"]) for column in columns)
    bar = {"width": charts.BAR_WIDTH, "height": charts.BAR_HEIGHT}
    return part("figures.success", columns, rows, bar, charts.bar_axis((0.0, 1.0)), style())


def _column(report: Report, looks: dict[str, Style]) -> dict[str, Any]:
    models = report.data["models"]
    baseline = reference(models)
    level = models[baseline]["rate"] if baseline else None
    order = [name for names in tables.by_kind(models).values() for name in names]
    bars = [charts.interval_bar(models[name], (0.0, 1.0), looks[name], level) for name in order]
    heading = report.heading.replace(", examples ", "\nexamples ") if report.puzzles else report.heading
    names = 10 + max(map(measure, order))
    titles = 20 + max(measure(line, TITLE) for line in heading.splitlines())
    return {
        "what": "exact" if report.puzzles else "success",
        "heading": heading.splitlines(),
        "names": names,
        "width": names + max(charts.BAR_WIDTH + EDGE, titles),
        "rows": [
            (name, looks[name].css, bar, percent(models[name]["rate"]))
            for name, bar in zip(order, bars, strict=True)
        ],
    }
