"""PNG figures and GIF animations for papers. The only user of matplotlib, an optional extra (`plots`)."""

import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.files import atomic_write
from hrm_jax.artefacts.traces_file import HUNDREDTHS, OUTCOMES, CellTrace, Episode, PathTrace
from hrm_jax.console.progress import watch
from hrm_jax.reporting import curves, tables
from hrm_jax.reporting.charts import FEW, spread
from hrm_jax.reporting.collisions import CollisionRule, ending
from hrm_jax.reporting.curves import Curve, Panel
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.names import GREYS, Style, reference

DPI = 200
MARKERS = {"learned": "o", "baseline": "o", "bound": "D"}
INK, SOFT, RULE = "#16191f", "#565d69", "#d9dce2"
AGENT, OBSTACLE, PREDICTION, COLLISION = "#0072b2", "#c65400", "#9a3f78", "#c4001a"
SAMPLE, REFINED, WALL = "#8a7a4e", "#00855f", "#4a505b"
LINES = [(0, ()), (0, (5, 2.5)), (0, (1.5, 2)), (0, (7, 2, 1.5, 2)), (0, (3, 3)), (0, (1, 4))]  # names.DASHES
FRAME_MS, LAST_FRAME_MS = 180, 2000
FRAME_LEGEND = "Solid: true future. Dashed: prediction. Dotted: plan. Ring and cross: collision."
PATH_LEGEND = "Blue: chosen path. Brown: samples. Green: samples after refinement. Ring and cross: collision."
PLAIN = {"parse_math": False}  # for names: a model may be called $a$
PAPER = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": RULE,
}


def available() -> bool:
    """Whether matplotlib can be imported."""
    return importlib.util.find_spec("matplotlib") is not None


def wanted(reports: Sequence[Report], runs: Sequence[Run], density: dict | None) -> dict[str, Callable]:
    """Figures that the inputs allow: file name -> what draws it."""
    panels = {}
    looks = curves.looks(reports, density)
    out = {"success.png": lambda: success(reports, looks)} if reports else {}
    if density:
        panels["density.png"] = curves.density(density, looks)
    many = len(reports) > 1
    for index, report in enumerate(reports, 1):
        if report.puzzles:
            name = f"segments-{index}.png" if many else "segments.png"
            panels[name] = curves.answers(report.data, looks)
    for index, report in enumerate(reports, 1):
        name = f"prediction-{index}.png" if many else "prediction.png"
        panels[name] = curves.prediction(report.data["models"], looks)
    panels["training.png"] = curves.training(runs)
    drawn = {name: content for name, content in panels.items() if content}
    return out | {name: lambda content=content: grid(content) for name, content in drawn.items()}


def write_png(path: Path, draw: Callable) -> None:
    """Draw a figure and write it, whole or not at all."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context(PAPER):
        image = io.BytesIO()
        draw().savefig(image, format="png", dpi=DPI, bbox_inches="tight")
    with atomic_write(path, "wb") as file:
        file.write(image.getvalue())


def _matplotlib():
    import matplotlib  # an optional extra

    return matplotlib


def _figure(width: float, height: float):
    """A figure of so many inches that draws into memory and needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


# ---------------------------------------------------------------- success.png


def success(reports: Sequence[Report], looks: dict[str, Style]):
    """Rates with their intervals: a row per model, a panel per report."""
    rows = max(len(report.data["models"]) for report in reports)
    figure = _figure(4.6 * len(reports) + 0.4, 0.26 * rows + 1.0)
    for axes, report in zip(np.atleast_1d(figure.subplots(1, len(reports))), reports, strict=True):
        _success_panel(axes, report, looks)
        axes.set_ylim(rows - 0.5, -0.5)  # the same distance between rows in every panel
    return figure


def _success_panel(axes, report: Report, looks: dict[str, Style]) -> None:
    models = report.data["models"]
    names = [name for names in tables.by_kind(models).values() for name in names]
    for row, name in enumerate(names):
        style, result = looks[name], models[name]
        low, high = result["interval"]
        face = "white" if style.kind == "baseline" else style.hex
        axes.plot([100 * low, 100 * high], [row, row], color=style.hex, lw=1.5)
        axes.plot(100 * result["rate"], row, MARKERS[style.kind], color=style.hex, mfc=face, ms=5.5, mew=1.4)
        axes.annotate(f"{100 * result['rate']:.1f}", (1.01, row), xycoords=("axes fraction", "data"),
                      va="center", color=style.hex)  # fmt: skip
    if baseline := reference(models):
        axes.axvline(100 * models[baseline]["rate"], color=SOFT, lw=0.8, ls=(0, (3, 2)), zorder=0)
    axes.set_yticks(range(len(names)), names, color=INK, **PLAIN)
    what = "exact" if report.puzzles else "success"
    axes.set(xlim=(0, 100), xlabel=f"{what}, % (Wilson 95 % interval)")
    heading = report.heading.replace(", examples ", "\nexamples ") if report.puzzles else report.heading
    axes.set_title(heading, **PLAIN)
    axes.grid(axis="x", lw=0.6)
    axes.tick_params(left=False)


# ---------------------------------------------------------------- charts of curves


def grid(panels: Sequence[Panel]):
    """Panels three to a row."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(4.3 * columns, 2.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for place, panel in zip(axes, panels, strict=False):
        _panel(place, panel)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    return figure


def _panel(axes, panel: Panel) -> None:
    scale = 100 if panel.shares else 1
    middle = (len(panel.curves) - 1) / 2
    for index, curve in enumerate(panel.curves):
        _curve(axes, curve, scale, index - middle)
    places = sorted({x for curve in panel.curves for x in curve.x})
    if len(places) <= FEW:
        axes.set_xticks(places)
    elif panel.x_label == "segment":
        axes.locator_params(axis="x", integer=True)  # there is no half of one
    if panel.log:
        axes.set_yscale("log")
    elif panel.y_range:
        axes.set_ylim(scale * panel.y_range[0], scale * panel.y_range[1])
    else:
        axes.set_ylim(bottom=0)
    if panel.mark:
        place, name = panel.mark
        right = place > (places[0] + places[-1]) / 2
        axes.axvline(place, color=SOFT, lw=0.8, ls=(0, (3, 2)), zorder=0)
        axes.annotate(f"{name}: {place:g}", (place, 0.02), (-3 if right else 3, 0), color=SOFT, fontsize=8,
                      xycoords=("data", "axes fraction"), textcoords="offset points",
                      ha="right" if right else "left")  # fmt: skip
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.grid(axis="y", lw=0.6)
    _name_curves(axes, panel, scale)


def _curve(axes, curve: Curve, scale: float, place: float) -> None:
    """A line, and its intervals side by side with those of the others."""
    look = {"color": curve.style.hex, "lw": 1.6 if curve.style.kind == "learned" else 1.1}
    dash = LINES[curve.style.dash]
    ys = [np.nan if y is None else scale * y for y in curve.y]
    if not curve.intervals:
        axes.plot(curve.x, ys, ls=dash, **look)
        return
    shift = 0.006 * place * (max(curve.x) - min(curve.x) or 1)
    low, high = scale * np.array(curve.intervals).T
    axes.plot(np.array(curve.x) + shift, ys, ls=dash, **look)
    axes.vlines(np.array(curve.x) + shift, low, high, color=look["color"], lw=look["lw"])


def _name_curves(axes, panel: Panel, scale: float) -> None:
    """Direct labels at the right ends, moved apart where they would overlap."""
    ends = []
    for curve in panel.curves:
        known = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y is not None and np.isfinite(y)]
        if known and (known[-1][1] > 0 or not panel.log):
            x, y = known[-1]
            height = axes.transAxes.inverted().transform(axes.transData.transform((x, scale * y)))[1]
            ends.append((height, curve, x, scale * y))
    ends.sort(key=lambda end: end[0])
    places = spread([end[0] for end in ends], 0.075, 0.0, 1.02) if ends else []
    for place, (_, curve, x, y) in zip(places, ends, strict=True):
        arrow = {
            "arrowstyle": "-",
            "color": curve.style.hex,
            "lw": 0.5,
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        axes.annotate(curve.name, (x, y), (1.05, place), textcoords="axes fraction", va="center",
                      color=curve.style.hex, arrowprops=arrow, fontsize=8, **PLAIN)  # fmt: skip


# ---------------------------------------------------------------- animations


def write_gif(path: Path, episode: Episode, models: Sequence[str], rule: CollisionRule) -> None:
    """An episode of some models side by side."""
    count = max(len(episode.traces[name].agent) for name in models)
    frames = []
    with _matplotlib().rc_context(PAPER), watch(path.name, "frames", count, closing=False) as progress:
        for image in _frames(episode, models, count, rule):
            frames.append(image)
            progress(len(frames), count)
    times = [FRAME_MS] * (count - 1) + [LAST_FRAME_MS]
    with atomic_write(path, "wb") as file:
        frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)


def _frames(episode: Episode, models: Sequence[str], count: int, rule: CollisionRule) -> Iterator:
    from PIL import Image  # comes with matplotlib

    figure = _figure(4.6 * len(models), 5.1)
    legend = PATH_LEGEND if isinstance(episode.traces[models[0]], PathTrace) else FRAME_LEGEND
    figure.supxlabel(f"Episode {episode.id}. {legend}", fontsize=8, color=SOFT)
    places = np.atleast_1d(figure.subplots(1, len(models)))
    for step in range(count):
        for axes, name in zip(places, models, strict=True):
            axes.clear()
            _frame(axes, episode, name, step, rule)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        yield Image.fromarray(pixels.copy()).quantize(96, dither=Image.Dither.NONE)


def _frame(axes, episode: Episode, name: str, step: int, rule: CollisionRule) -> None:
    """One model at one step; after its end it stays there."""
    trace = episode.traces[name]
    last = len(trace.agent) - 1
    step = min(step, last)
    _map(axes, episode)
    agent = trace.agent[: step + 1].T
    if isinstance(trace, PathTrace):
        agent = agent / HUNDREDTHS
        _path(axes, trace, step)
    elif step < last:
        _expectations(axes, trace, step)
    axes.plot(agent[1], agent[0], color=AGENT, lw=2, alpha=0.45)
    for number, (row, column) in enumerate(trace.obstacles[step] / HUNDREDTHS, 1):
        _ring(axes, column, row, rule.radius, color=OBSTACLE, facecolor=(*_rgb(OBSTACLE), 0.22))
        axes.annotate(str(number), (column, row), ha="center", va="center", fontsize=7)
    axes.plot(agent[1, -1], agent[0, -1], "o", color=AGENT, mec="white", ms=8)
    state = f"step {step}"
    if step == last:
        state = f"{OUTCOMES[trace.outcome]}, step {last}"
        if trace.outcome == "0":
            _collision(axes, episode, trace, rule)
    bad = step == last and trace.outcome == "0"
    axes.set_title(f"{name}: {state}", color=COLLISION if bad else INK, **PLAIN)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _ring(
    axes, x: float, y: float, radius: float, color: str, facecolor: object = "none", **look: object
) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((x, y), radius, edgecolor=color, facecolor=facecolor, lw=1.3, **look))


def _map(axes, episode: Episode) -> None:
    rows, columns = episode.static.shape
    every = 8 if max(rows, columns) > 40 else 5
    walls = np.zeros((rows, columns, 4))
    walls[episode.static] = *_rgb(WALL), 1
    axes.imshow(walls, interpolation="nearest")
    axes.set(xlim=(-1.4, columns + 0.9), ylim=(rows + 0.9, -1.4), aspect="equal")
    axes.set_xticks(range(0, columns, every))
    axes.set_yticks(range(0, rows, every))
    axes.set(xlabel="column", ylabel="row")
    axes.plot([-0.5, columns - 0.5, columns - 0.5, -0.5, -0.5], [-0.5, -0.5, rows - 0.5, rows - 0.5, -0.5],
              color=GREYS["baseline"], lw=0.8)  # fmt: skip
    for text, (row, column) in zip("SG", episode.ends, strict=True):
        axes.annotate(text, (column, row), ha="center", va="center", fontweight="bold", fontsize=8)


def _path(axes, trace: PathTrace, step: int) -> None:
    """The plan in force, and the samples that it was chosen from."""
    k = trace.plan_at(step)
    for paths, color in ((trace.samples[k], SAMPLE), (trace.refined[k], REFINED)):
        for rows, columns in (paths / HUNDREDTHS).transpose(0, 2, 1):
            axes.plot(columns, rows, color=color, lw=0.7, alpha=0.7)
    rows, columns = (trace.plans[k] / HUNDREDTHS).T
    axes.plot(columns, rows, color=AGENT, lw=1.8)


def _expectations(axes, trace: CellTrace, step: int) -> None:
    """True and predicted tracks from here on, and the plan."""
    horizon = trace.predicted.shape[1]
    future = trace.obstacles[step : step + horizon + 1] / HUNDREDTHS
    for n in range(future.shape[1]):
        axes.plot(future[:, n, 1], future[:, n, 0], color=OBSTACLE, lw=1)
    here = (trace.obstacles if trace.observed is None else trace.observed)[step] / HUNDREDTHS
    for n in range(trace.predicted.shape[2]):
        track = np.concatenate([here[None, n], trace.predicted[step, :, n] / HUNDREDTHS])
        axes.plot(track[:, 1], track[:, 0], color=PREDICTION, lw=1.3, ls=(0, (3, 2)))
    axes.plot(trace.plan[step, :, 1], trace.plan[step, :, 0], color=AGENT, lw=1.6, ls=(0, (1, 1.5)))


def _collision(axes, episode: Episode, trace: CellTrace | PathTrace, rule: CollisionRule) -> None:
    """A cross where the agent was when it touched something, and the obstacle if it was one."""
    place, obstacle = ending(trace, episode.static, rule)
    if obstacle is not None:
        _ring(axes, obstacle[1], obstacle[0], rule.radius, color=COLLISION, ls="--")
    if place is None:
        return
    _ring(axes, place[1], place[0], 0.95, color=COLLISION)
    axes.plot(place[1], place[0], "x", color=COLLISION, ms=11, mew=2.6)
