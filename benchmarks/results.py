"""The tables of README.md and RESULTS.md that are made of reports: which are kept small, and fill them.

python benchmarks/results.py keep runs/poh/ablation/8.report.json results/poh/8.json.gz
python benchmarks/results.py join results/tuned/swarm.json.gz new.json.gz results/quiet/swarm.json.gz
python benchmarks/results.py fill

A kept report is one of `hrm_jax.evaluate` or `hrm_jax.solve` without what is computed again when it is read,
or shown by no table. `join` puts models that were judged later beside those of before: on the same scenarios,
where those judged both times, the baselines at least, came out the same. `fill` writes, between a mark that says
what of and `<!-- end -->`, a table of all groups of training seeds; a row a report, with the rates of the models
and groups named, or what they were tuned to; the tests between groups, those named or all; or what
benchmarks/compiled.py measured:

<!-- groups of results/poh/8.json.gz results/poh/6.json.gz -->
<!-- rates of results/tuned: oracle; reflection; hrm; lstm -->
<!-- choices of results/tuned: hrm; lstm -->
<!-- pairs of results/poh/8.json.gz results/poh/6.json.gz: looped,last - soft,t4,last; looped - soft,t4 -->
<!-- compiled of results/compiled.json -->

Files are named from the document's folder; a folder's name stands for all its reports, in the order of the
worlds that they are named after. `fill --check` writes nothing, and ends with 1 where it would.
"""

import functools
import gzip
import json
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.console.parser import Parser, run_command
from hrm_jax.console.tables import markdown, percent
from hrm_jax.judging import reports, tables
from hrm_jax.worlds.world import WORLDS

DOCUMENTS = [Path(__file__).resolve().parent.parent / name for name in ("README.md", "RESULTS.md")]
RECOMPUTED = {"pairs", "groups", "group_pairs"}
UNSHOWN = {"traces", "walks", "data"}
UNSHOWN_OF_MODELS = {"segments", "parts", "prediction"}
AHEAD = 10  # steps, of the error shown
ERROR = f"error {AHEAD} steps ahead, cells"
MARKED = re.compile(r"(<!-- (\w+) of ([^:>]+?)(?::\s([^>]+?))?\s-->\n)(.*?)(<!-- end -->)", re.S)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    parser = Parser("python benchmarks/results.py", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="a report, without what can be computed again")
    keeping.add_argument("report", type=Path)
    keeping.add_argument("out", type=Path, help="FILE.json.gz")
    joining = commands.add_parser("join", help="two kept reports of the same scenarios as one")
    joining.add_argument("reports", type=Path, nargs=2)
    joining.add_argument("out", type=Path, help="FILE.json.gz")
    filling = commands.add_parser("fill", help="the tables of documents")
    filling.add_argument("documents", type=Path, nargs="*", default=DOCUMENTS)
    filling.add_argument("--check", action="store_true", help="write nothing; 1: it would change")
    options = parser.parse_args(arguments)
    if options.command == "keep":
        keep(options.report, options.out)
        return 0
    if options.command == "join":
        join(options.reports, options.out)
        return 0
    old = {path: path.read_text(encoding="utf-8") for path in options.documents}
    new = {path: filled(text, path.parent) for path, text in old.items()}
    for path, text in new.items():
        if text != old[path] and not options.check:
            with files.atomic_write(path) as file:
                file.write(text)
    return int(options.check and new != old)


# ---------------------------------------------------------------- reports


def keep(path: Path, out: Path) -> None:
    """Write a report, which is checked first, without what `load` computes again."""
    report = {k: v for k, v in reports.load(path).items() if k not in UNSHOWN}
    report["models"] = {name: _small(result) for name, result in report["models"].items()}
    _write(report, out, [path])


def join(paths: Sequence[Path], out: Path) -> None:
    """Write one report of the models of two; what is told of the evaluation is the first one's."""
    first, second = map(load, paths)
    for key in ("protocol", "world", "seeds", "kind", "segments", "trained_segments"):
        if first.get(key) != second.get(key):
            raise RequestError(f"{paths[1]}: {key} is {second.get(key)}, in {paths[0]} {first.get(key)}")
    updates = [report["lengths"]["chosen"] for report in (first, second) if report.get("lengths")]
    if len(set(updates)) > 1:
        raise RequestError(f"{paths[1]}: {updates[1]} updates were chosen, in {paths[0]} {updates[0]}")
    both = first["models"].keys() & second["models"].keys()
    if not both:
        raise RequestError("no model is in both reports, so nothing shows that the scenarios are the same")
    for name in sorted(both):
        if first["models"][name]["outcomes"] != second["models"][name]["outcomes"]:
            raise RequestError(f"{paths[1]}: the outcomes of {name} are not those of {paths[0]}")
    tuned = {tried["model"] for tried in first.get("tuning") or []}
    trials = [tried for tried in second.get("tuning") or [] if tried["model"] not in tuned]
    joined = {
        **first,
        "models": first["models"] | {n: m for n, m in second["models"].items() if n not in both},
    }
    if trials:
        joined["tuning"] = [*(first.get("tuning") or []), *trials]
    _write(joined, out, paths)


def _write(report: Mapping[str, Any], out: Path, read: Sequence[Path]) -> None:
    """A report, small and checked, as a file that is none of those `read`."""
    if not out.name.endswith(".json.gz"):
        raise RequestError(f"{out}: FILE.json.gz is needed")
    small = {key: value for key, value in report.items() if key not in RECOMPUTED}
    packed = gzip.compress(json.dumps(small).encode(), mtime=0)
    unpack(packed, out)
    files.check_writable(out, read)
    with files.atomic_write(out, "wb") as file:
        file.write(packed)


def _small(result: Mapping[str, Any]) -> dict[str, Any]:
    median = (result.get("prediction") or {}).get("median")
    kept = {key: value for key, value in result.items() if key not in UNSHOWN_OF_MODELS}
    if not median:
        return kept
    # Null: at that many steps ahead no obstacle of recorded tracks was left.
    return kept | {"prediction": {"median": [e if e is None else round(e, 4) for e in median]}}


def load(path: Path) -> Any:
    """A kept report, checked as every report is, with its groups and the tests between them."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: not a kept report ({error})") from None
    return unpack(packed, path)


def unpack(packed: bytes, path: Path) -> Any:
    """The kept report that a file consists of, or is to consist of."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / path.stem
        try:
            unpacked.write_bytes(gzip.decompress(packed))
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(f"{path}: not a kept report ({error})") from None
        report = reports.load(unpacked)
    return {"groups": {}, "group_pairs": []} | report


# ---------------------------------------------------------------- tables


def filled(text: str, folder: Path) -> str:
    """A document's text with every marked table made anew."""
    read = functools.cache(load)

    def table(found: re.Match) -> str:
        mark, kind, names, pairs, _, end = found.groups()
        if kind not in KINDS:
            raise RequestError(f"{mark.strip()}: no such table; allowed: {', '.join(KINDS)}")
        paths = named(folder, names)
        # What benchmarks/compiled.py wrote is no report.
        loaded = [
            json_file.read(path, "compiled.json") if kind == "compiled" else read(path) for path in paths
        ]
        chosen = [" ".join(pair.split()) for pair in (pairs or "").split(";") if pair.strip()]
        return f"{mark}{KINDS[kind](loaded, chosen)}\n{end}"

    if len(MARKED.findall(text)) != len(re.findall(r"<!-- \w+ of ", text)):
        raise RequestError(
            "a mark of a table is not closed: <!-- KIND of FILE ... --> and <!-- end --> are needed"
        )
    return MARKED.sub(table, text)


def named(folder: Path, names: str) -> list[Path]:
    """The kept reports that a mark names."""

    def order(path: Path) -> tuple[int, str]:
        world = path.name.partition(".")[0]
        return list(WORLDS).index(world) if world in WORLDS else len(WORLDS), world

    found: list[Path] = []
    for path in (folder / name for name in names.split()):
        found += sorted(path.glob("*.json.gz"), key=order) if path.is_dir() else [path]
    return found


def _groups(loaded: Sequence[Any], chosen: Sequence[str]) -> str:
    """A row per group: its size, what it was tuned to, its mean, lowest and highest rate, and its errors."""
    if chosen:
        raise RequestError(f"{chosen[0]}: of groups all are shown")
    rows = [
        [
            "world",
            "judged by",
            "model",
            "parameters",
            "updates",
            "training seeds",
            "mean %",
            "lowest to highest",
            "tuned to",
            ERROR,
        ]
    ]
    for report in loaded:
        best = _tuned(report)
        for name, group in report["groups"].items():
            members = [result for result in report["models"].values() if result.get("group") == name]
            size, updates = (_alike(members, key) for key in ("parameters", "step"))
            cells = [f"{members[0]['n']:,}", name, size, updates, str(group["seeds"]), percent(group["mean"])]
            rows.append(
                [_world(report), *cells, _range(report, name, group), best.get(name, ""), _error(members)]
            )
    return markdown([[cell for cell, used in zip(row, _used(rows), strict=True) if used] for row in rows])


def _error(members: Sequence[Mapping[str, Any]]) -> str:
    """The lowest and highest of the seeds' median errors, in cells; empty where none is known."""
    medians = [member["prediction"]["median"] for member in members if member.get("prediction")]
    known = (median[AHEAD - 1] for median in medians if len(median) >= AHEAD)
    errors = sorted(error for error in known if error is not None)
    return f"{errors[0]:.2f} to {errors[-1]:.2f}" if errors else ""


def _tuned(report: Any) -> dict[str, str]:
    """Of each model that was tuned, the settings chosen; the learning rate by its value alone."""
    chosen = [tried for tried in report.get("tuning") or [] if tried["chosen"]]
    return {
        tried["model"]: tables.settings(tried).replace("optimizer.learning_rate=", "") for tried in chosen
    }


def _rates(loaded: Sequence[Any], chosen: Sequence[str]) -> str:
    """A row per report: the rates in per cent of models, and of groups the mean, lowest and highest."""
    rows = [["world", "judged by", *chosen]]
    for report in loaded:
        named = {**report["models"], **report["groups"]}
        cells = [_rate(report, name, named[known("model or group", name, named)]) for name in chosen]
        rows.append([_world(report), f"{report['seeds'][1] - report['seeds'][0]:,}", *cells])
    return markdown(rows)


def _rate(report: Any, name: str, found: Mapping[str, Any]) -> str:
    if "mean" not in found:
        return percent(found["rate"]) + tables.mark(found)
    return f"{percent(found['mean'])} ({_range(report, name, found)})"


def _range(report: Any, name: str, group: Mapping[str, Any]) -> str:
    """The lowest and highest rate of a group, and how many of it are marked."""
    marks = tables.counted_marks(tables.members(report, name))
    return "; ".join([f"{percent(group['min'])} to {percent(group['max'])}", *marks])


def _choices(loaded: Sequence[Any], chosen: Sequence[str]) -> str:
    """A row per report: how long the models were trained, and with what settings those named."""
    rows = [["world", "updates", *chosen]]
    for report in loaded:
        best = _tuned(report)
        cells = [best[known("model", name, best)] for name in chosen]
        found = report.get("lengths")
        rows.append([_world(report), f"{found['chosen']:,}" if found else "", *cells])
    return markdown(rows)


def _used(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns say something."""
    return [any(cells) for cells in zip(*rows[1:], strict=True)]


def _alike(members: Sequence[Mapping[str, Any]], key: str) -> str:
    found = sorted({member[key] for member in members if member.get(key) is not None})
    return " to ".join(f"{value:,}" for value in dict.fromkeys(found[:1] + found[-1:]))


def _world(report: Any) -> str:
    """Without the folder of the data."""
    return report["world"].partition(" (")[0]


def _pairs(loaded: Sequence[Any], chosen: Sequence[str]) -> str:
    """The tests between groups, those `chosen` or all, held together."""
    found = {name for report in loaded for pair in report["group_pairs"] for name in _names(pair)}
    if missing := [name for name in chosen if name not in found]:
        raise RequestError(f"{missing[0]}: no such pair of groups; allowed: {'; '.join(sorted(found))}")
    shown = []
    for report in loaded:
        both = [turned for pair in report["group_pairs"] for turned in (pair, _turned(pair))]
        pairs = [pair for name in chosen for pair in both if _names(pair)[0] == name]
        steps = _alike(list(report["models"].values()), "step")
        world = _world(report) + (f", {steps} updates" if steps else "")
        shown.append({**report, "world": world, "group_pairs": pairs if chosen else report["group_pairs"]})
    return tables.group_tests(shown)


def _compiled(loaded: Sequence[Any], chosen: Sequence[str]) -> str:
    """A row per program: memory, time to compile, what is sent, and the least time of a step."""
    rows = [["step", "for", "GiB", "of", "compiled in s", "sent outside loops, MB", "in loops, MB", "kernels",
             "floor, ms", "of it products, %"]]  # fmt: skip
    for programs in loaded:
        for name, found in programs.items():
            config, place, *fields = name.split()
            cells = [f"{found[key]:,.2f}" for key in ("gib", "of")] + [f"{found['compile_s']:,}"]
            if "floor_ms" in found:
                cells += [f"{found[key]:,.1f}" for key in ("outside_mb", "inside_mb")]
                cells += [f"{found['kernels']:,}", f"{found['floor_ms']:,.1f}", f"{100 * found['share']:.0f}"]
            cells += [""] * (len(rows[0]) - 2 - len(cells))
            rows.append([" ".join([f"`{config}`", *fields]), place, *cells])
    return markdown(rows)


def _names(pair: Mapping[str, Any]) -> tuple[str, str]:
    return f"{pair['a']} - {pair['b']}", f"{pair['b']} - {pair['a']}"


def _turned(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The same from the other side."""
    interval = pair["interval"] and [-end for end in reversed(pair["interval"])]
    turned = {"a": pair["b"], "b": pair["a"], "difference": -pair["difference"], "interval": interval}
    return {**pair, **turned}


KINDS: dict[str, Callable[[Sequence[Any], Sequence[str]], str]] = {
    "groups": _groups,
    "rates": _rates,
    "choices": _choices,
    "pairs": _pairs,
    "compiled": _compiled,
}

if __name__ == "__main__":
    sys.exit(run_command(main))
