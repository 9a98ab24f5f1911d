"""Reports side by side: one table out of several report.json, or one page out of all there is.

python -m hrm_jax.report --report standard.report.json --report hrm-cloud.report.json
python -m hrm_jax.report --report standard.report.json --workdir runs/hrm --density density.json --out report/

Without --out: a row per model, a column per report, printed; of answers to puzzles (hrm_jax.solve) a table
each, and one of their accuracy by segment. With it: index.html, which needs no network, and PNG figures
beside it; `--gif 17` adds an animation of episode 17.
"""

import argparse
import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hrm_jax.artefacts import answers_file, files
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.judging import puzzle_tables
from hrm_jax.referee.cells.protocols import PROTOCOLS
from hrm_jax.reporting import figures, inputs, page, traces
from hrm_jax.reporting.inputs import PUZZLES, Report


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Print the table, or write the page and its figures."""
    options = _parser().parse_args(arguments)
    with interruptible("files named above are whole, the others were not written"):
        return _write(options) if options.out else _print(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("report"), __doc__)
    add = parser.add_argument
    add("--report", action="append", default=[], metavar="FILE", help="report.json; repeatable")
    add("--workdir", action="append", default=[], help="of a training run, for its curves; repeatable")
    add("--density", metavar="FILE", help="density.json")
    add("--gif", action="append", default=[], metavar="EPISODE", help="id of a recorded episode, or all")
    add("--gif-models", metavar="A,B", help="whom the animation shows; default: the first two recorded")
    add("--out", type=Path, metavar="FOLDER", help="where index.html and the figures go")
    return parser


# ---------------------------------------------------------------- the page


def _print(options: argparse.Namespace) -> None:
    """The table, and what a faulty protocol's column shows."""
    for name in ("workdir", "density", "gif", "gif_models"):
        if getattr(options, name):
            raise RequestError(f"--{name.replace('_', '-')} needs --out FOLDER, where the page goes")
    if not options.report:
        raise RequestError(f"--report FILE is needed (see {program('report')} --help)")
    reports = [load(path) for path in options.report]
    planned = [report for report in reports if report["protocol"] != PUZZLES]
    parts = [markdown(comparison(planned))] if planned else []
    parts += filter(None, map(fault_note, planned))
    parts += [puzzle_tables.text(report) for report in reports if report["protocol"] == PUZZLES]
    print("\n\n".join(parts))


def _write(options: argparse.Namespace) -> None:
    """Everything that can be wrong with the request is found before the first file is written."""
    if not (options.report or options.workdir or options.density):
        raise RequestError("nothing to report on; give --report, --workdir or --density")
    reports = [_report(path) for path in options.report]
    runs = inputs.load_runs(options.workdir)
    density = inputs.load_density(options.density) if options.density else None
    animations = _animations(options, reports)
    _check_folder(options.out)
    _save(options.out / "index.html", page.build(reports, runs, density))
    drawn = figures.wanted(reports, runs, density)
    if not figures.available():
        print(f"Skipped {', '.join(drawn)}: they need matplotlib (pip install 'hrm_jax[plots]').")
        return
    for name, draw in drawn.items():
        figures.write_png(options.out / name, draw)
        _say_written(options.out / name)
    for name, animate in animations.items():
        animate(options.out / name, progress=functools.partial(_progress, name))
        _say_written(options.out / name)


def _report(path: str) -> Report:
    """A report.json with all that belongs to it."""
    data, recorded = load(path), None
    if data.get("traces"):
        file = Path(path).parent / data["traces"]
        recorded = _answers(file, data) if data["protocol"] == PUZZLES else traces.load(file)
    return Report(data, heading(data), fault_note(data), recorded)


def _answers(path: Path, report: dict) -> Answers:
    """Recorded answers, refused where they are of other models or segments than the report."""
    found = answers_file.load(path)
    if found.segments != report["segments"]:
        raise RequestError(
            f"{path}: answers after {found.segments} segments; the report is of {report['segments']}"
        )
    strange = [name for name in found.models if name not in report["models"]]
    if strange:
        allowed = ", ".join(report["models"])
        raise RequestError(f'{path}: "{strange[0]}" is not in the report, which is of {allowed}')
    return found


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RequestError(f"--out {out}: is a file; a folder is needed, new or existing")
    files.check_writable(out / "index.html")


def _save(path: Path, text: str) -> None:
    with files.written_whole(path, "wb") as file:
        file.write(text.encode("utf-8"))
    _say_written(path)


def _say_written(path: Path) -> None:
    size = os.path.getsize(path)
    print(f"Wrote {path} ({size / 1e6:.1f} MB)." if size > 1e5 else f"Wrote {path} ({size / 1e3:.0f} kB).")


def _progress(name: str, done: int, total: int) -> None:
    """A live line on a terminal; silence elsewhere."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{name}: frame {done}/{total}", end=end, file=sys.stderr, flush=True)


def _animations(options: argparse.Namespace, reports: Sequence[Report]) -> dict[str, Callable]:
    """File name -> what writes that animation."""
    if not options.gif:
        if options.gif_models:
            raise RequestError("--gif-models needs --gif EPISODE")
        return {}
    if not figures.available():
        raise RequestError("--gif needs matplotlib (pip install 'hrm_jax[plots]')")
    recorded = [report for report in reports if report.traces and not report.puzzles]
    if not recorded:
        raise RequestError("--gif: none of the reports names recorded episodes (traces)")
    ids = [episode.id for report in recorded for episode in report.traces.episodes]
    chosen = ids if "all" in options.gif else [_episode_id(text, ids) for text in options.gif]
    return {
        _gif_name(index if len(recorded) > 1 else 0, episode.id): functools.partial(
            figures.write_gif,
            episode=episode,
            models=_pair(options.gif_models, report.traces.models),
            rule=report.collision_rule,
        )
        for index, report in enumerate(recorded, 1)
        for episode in report.traces.episodes
        if episode.id in chosen
    }


def _gif_name(index: int, episode: int) -> str:
    return f"episode-{episode}.gif" if index == 0 else f"episode-{episode}-{index}.gif"


def _episode_id(text: str, ids: Sequence[int]) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) not in ids:
        known = ", ".join(map(str, dict.fromkeys(ids)))
        raise RequestError(f"--gif {text}: no such recorded episode; allowed: all, {known}")
    return int(text)


def _pair(names: str | None, models: Sequence[str]) -> list[str]:
    """The models of an animation, one or two."""
    chosen = names.split(",") if names else list(models[:2])
    for name in chosen:
        if name not in models:
            allowed = ", ".join(models)
            raise RequestError(
                f'--gif-models: "{name}" was not recorded{nearest(name, models)}; allowed: {allowed}'
            )
    if len(chosen) > 2:
        raise RequestError(f"--gif-models {names}: {len(chosen)} models; one or two fit side by side")
    return chosen


# ---------------------------------------------------------------- the table


def load(path: str | Path) -> dict:
    """Read a report.json; a file that is anything else is a `RequestError`."""
    return inputs.load_report(path)


def comparison(reports: Sequence[dict]) -> list[list[str]]:
    """Rows of text, the heading first: a row per model, a column per report."""
    names = list(dict.fromkeys(name for report in reports for name in report["models"]))
    rows = [["model", *map(heading, reports)]]
    for name in names:
        results = [report["models"].get(name) for report in reports]
        rows.append([name, *(rate(result) if result else "-" for result in results)])
    return rows


def heading(report: dict) -> str:
    """`standard, seeds 0:1000`, and the world where it is not the protocol's own; of puzzles, the data."""
    first, stop = report["seeds"]
    if report["protocol"] == PUZZLES:
        return f"{report['world']}, examples {first}:{stop}"
    protocol = inputs.path_rules(report) or PROTOCOLS.get(report["protocol"])
    own = protocol is not None and protocol.world == report["world"]
    world = "" if own else f", world {report['world']}"
    return f"{report['protocol']}{world}, seeds {first}:{stop}"


def rate(result: dict) -> str:
    """`34/50  68.0 % [54.2, 79.2]`: successes, their rate and its Wilson 95 % interval."""
    return f"{result['success']}/{result['n']}  {100 * result['rate']:.1f} % {interval(result)}"


def interval(result: dict) -> str:
    """The Wilson 95 % interval in per cent."""
    low, high = result["interval"]
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def fault_note(report: dict) -> str:
    """What the column of a protocol with a published fault shows; empty for the others."""
    rules = inputs.path_rules(report)
    if rules is not None and rules.published:
        return _path_fault_note(report)
    protocol = PROTOCOLS.get(report["protocol"])
    if protocol is None or not protocol.index_shift:
        return ""
    models = report["models"]
    best = max(models, key=lambda name: models[name]["success"])
    name = "oracle" if "oracle" in models else best
    shown = f" ({name}: {rate(models[name])})"
    return (
        f"{protocol.name}: the published planner tests each cell against the prediction one step "
        f"too late, so that even an exact future fails often{shown}. "
        "It measures that fault, not the predictor."
    )


def _path_fault_note(report: dict) -> str:
    models = report["models"]

    def shown(name: str) -> str:
        return f" ({name}: {rate(models[name])})" if name in models else ""

    return (
        f"{report['protocol']}: the published rule tests only the points of a path, whatever lies between "
        f"them. Standing still and jumping to the goal at the end succeeds too{shown('stand_still')}, and so "
        f"does a straight line with the same refinement{shown('straight_line_refined')}. It measures the "
        "rule and the refinement, not the denoiser."
    )


def groups(report: dict) -> str:
    """Tables of the models that were trained several times, and of the tests between them; or empty."""
    if not report.get("groups"):
        return ""
    rows = [["group", "training seeds", "mean rate %", "lowest and highest", "std between seeds"]]
    for name, group in report["groups"].items():
        rates = [f"{100 * group[key]:.1f}" for key in ("mean", "min", "max")]
        std = "-" if group["std"] is None else f"{100 * group['std']:.1f}"
        rows.append([name, str(group["seeds"]), rates[0], f"{rates[1]} to {rates[2]}", std])
    tests = [["groups", "difference, points", "p over episodes", "p over training seeds"]]
    for pair in report.get("group_pairs", ()):
        p = ["-" if pair[key] is None else f"{pair[key]:.2g}" for key in ("p_episodes", "p_seeds")]
        tests.append([f"{pair['a']} - {pair['b']}", f"{100 * pair['difference']:+.1f}", *p])
    return "\n\n".join(markdown(table) for table in (rows, tests) if len(table) > 1)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as an aligned markdown table, the first row its heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(run_command(main))
