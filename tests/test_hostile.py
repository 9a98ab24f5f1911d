"""The attack: files of every artefact, damaged in every way, and absurd arguments, through every command.

    bash launch/test.sh -m hostile --dist load

`ARTEFACTS` says how a valid file is made, which command reads it, and what of it is free; `ARGUMENTS` with
which words a command is asked. A case is accepted, refused in one line, or a traceback. None may be the last;
none that is surely wrong (not finite, of another type or shape) may be the first.
"""

import collections
import contextlib
import copy
import functools
import io
import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hrm_jax import density, evaluate, export, paths, report, solve, sweep, train
from hrm_jax.artefacts import archive, expert, model_file, networks, report_file
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.networks import NETWORKS
from hrm_jax.console.parser import run_command
from hrm_jax.interop import __main__ as interop
from hrm_jax.judging import solvers, statistics
from hrm_jax.puzzles import __main__ as puzzles
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.referee import drawing
from hrm_jax.reporting import inputs, page
from hrm_jax.tasks import exporting
from hrm_jax.training import configs
from hrm_jax.worlds.world import WORLDS

pytestmark = [pytest.mark.slow, pytest.mark.hostile]
GOLDEN = Path(__file__).parent / "golden"
SECONDS = 60  # what a case may take; a request without a bound takes for ever


# ---------------------------------------------------------------- artefacts


class Artefact(NamedTuple):
    """A kind of file: how a valid one is made in a folder, how it is read, and where it is free."""

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], list[Any]]  # the file to a main and its words
    free: tuple[str, ...] = ()  # arrays, or leaves of JSON, of which any change may be accepted


FREE = ("config: versions", "config: commit", "versions", "commit")  # what nobody reads but people


def reader(function: Callable[[Path], Any]) -> Callable[[Path], list[Any]]:
    """A reader that no command has for itself."""
    return lambda path: [lambda words: function(Path(*words)) and None, path]


def weights(config: Any, seed: int = 0, rows: int = 1) -> dict[str, np.ndarray]:
    """Parameters of a config's shapes."""
    name, kind = config["name"], networks.config(config)
    rng = np.random.default_rng(seed)
    return {
        leaf: (0.3 * rng.standard_normal([rows if n is None else n for n in shape])).astype(np.float32)
        for leaf, shape in NETWORKS[name].shapes(kind).items()
    }


def write_model(fields: dict[str, Any], **config: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        whole = networks.config(fields)
        model = {"name": fields["name"], **{k: getattr(whole, k) for k in type(whole).__dataclass_fields__}}
        model_file.write(path, model_file.unflatten(weights(fields)), {"model": model, **config})

    return make


LSTM = write_model({"name": "lstm", "width": 4, "layers": 1}, world={"size": 20}, history=5)
HRM = write_model(
    {
        "name": "hrm",
        "width": 4,
        "heads": 2,
        "blocks": 1,
        "features": "scene",
        "patch": 3,
        "neighbours": 2,
        "agent": True,
        "rollout": "carry",
    },
    world={"size": 20},
    history=5,
)
PLAN = {
    "sampler": "ddim",
    "steps": 1,
    "samples": 1,
    "map_guidance": 1.0,
    "forecast": "none",
    "cost_guidance": 0,
    "refine": 1,
    "replan": 0,
    "warm": 1.0,
    "seed": 0,
}
DENOISER = write_model(
    {"name": "path_convnet", "width": 4, "heads": 1, "groups": 1, "map_dropout": 0.0},
    world={"size": 64},
    plan=PLAN,
)
PUZZLE = write_model(
    {
        "name": "hrm_act",
        "vocabulary": 6,
        "sequence": 25,
        "width": 4,
        "heads": 1,
        "low_layers": 1,
        "high_layers": 1,
        "inner_multiple": 4,
        "puzzle_width": 4,
    },
    segments=2,
    task="puzzle",
)


def judged_by(*words: Any) -> Callable[[Path], list[Any]]:
    return lambda path: [
        evaluate.main,
        *words,
        path,
        "--episodes",
        "1",
        "--out",
        path.parent / "out" / "r.json",
    ]


def mazes(folder: Path) -> Path:
    """A data set of three mazes of 5x5, made once."""
    return folder if folder.exists() else write_mazes(folder)


def write_mazes(folder: Path) -> Path:
    inputs = np.full((3, 1, 25), 2, np.uint8)
    inputs[:, 0, 0], inputs[:, 0, 2] = 3, 4
    labels = inputs.copy()
    labels[:, 0, 1] = 5
    for split in dataset.SPLITS:
        dataset.write_groups(folder, split, "maze", inputs, labels, 6, height=5, width=5)
    return folder


def write_tasks(folder: Path) -> None:
    """A data set of two tasks of ARC."""
    grids = [[[1, 2]], [[3], [0]], [[4, 4]], [[5]]]
    pairs = [{"input": a, "output": b} for a, b in itertools.permutations(grids, 2)]
    source = folder.parent / "source" / "evaluation"
    source.mkdir(parents=True, exist_ok=True)
    for name, part in (("x", pairs[:3]), ("y", pairs[3:6])):
        (source / f"{name}.json").write_text(json.dumps({"train": part[:2], "test": part[2:]}))
    built = folder.parent / "built"
    if not built.exists():
        words = ["--source", source.parent, "--out", built, "--augment", "2", "--jobs", "1"]
        puzzles.main(["arc", *map(str, words)])
    shutil.copytree(built, folder, dirs_exist_ok=True)


def of_folder(
    file: str, write: Callable[[Path], Any], folder: str, read: Callable[[Path], list[Any]]
) -> Artefact:
    """A file of a folder whose other files are valid; `write` makes the `folder`, `read` is asked of it."""
    depth = len(Path(file).parents) - 1

    def with_others(path: Path) -> list[Any]:
        here = path.parents[depth]
        for other in (here.parent / "valid").rglob("*"):
            copy_ = here / other.relative_to(here.parent / "valid")
            if other.is_file() and copy_ != path and not copy_.exists():
                copy_.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(other, copy_)
        return read(here / folder)

    return Artefact(file, lambda path: write(path.parents[depth] / folder) and None, with_others)


def solved(path: Path) -> list[Any]:
    return [solve.main, "--data", mazes(path.parent.parent / "mazes"), "--model", path, "--examples", 1]


def at_the_door(path: Path) -> list[Any]:
    """Only read, as solve does: an answer takes seconds of compilation."""
    data = mazes(path.parent.parent / "mazes")
    return [lambda words: solvers.load(Path(words[0]), kinds.load(data, "test")) and None, path]


def by_command(main: Callable, *words: Any) -> Callable[[Path], None]:
    """A file that a command makes at r.json beside it."""
    return lambda path: run_quietly([main, *words, "--out", path])


def paths_of(path: Path) -> None:
    paths.main(["--count", "3", "--jobs", "1", "--out", str(path)])


def metrics(path: Path) -> None:
    path.write_text(
        "".join(json.dumps({"step": step, "train/loss": 1.0 / step}) + "\n" for step in range(1, 5))
    )


def run_config(path: Path) -> None:
    path.write_text(configs.load("quickstart").to_json())


def shown_with_metrics(path: Path) -> list[Any]:
    metrics(path.with_name("metrics.jsonl"))
    return [report.main, "--workdir", path.parent, "--out", path.parent.parent / "page"]


def shown(path: Path) -> list[Any]:
    return [report.main, "--report", path]


def traces_of(*words: Any) -> Callable[[Path], None]:
    return lambda path: run_quietly([evaluate.main, *words, "--out", path.parent / "r.json"]) and None


def answers_of(path: Path) -> None:
    PUZZLE(path.parent / "p.npz")
    words = ("--examples", 3, "--record", 2, "--out", path.parent / "r.json")
    run_quietly([*solved(path.parent / "p.npz")[:5], *words])


def shown_beside(name: str) -> Callable[[Path], list[Any]]:
    """The page, without its figures, of the report beside a file; the report is that of the valid one."""

    def read(path: Path) -> list[Any]:
        shutil.copy(path.parent.parent / "valid" / name, path.parent / name)
        return [
            lambda words: page.build([inputs.load_report(words[0])], [], None) and None,
            path.parent / name,
        ]

    return read


def solved_of(folder: Path) -> list[Any]:
    return [solve.main, "--data", folder]


def built_again(folder: Path) -> list[Any]:
    source = folder.parents[1] / "valid/source"
    return [puzzles.main, "arc", "--source", source, "--out", folder, "--augment", 2, "--jobs", 1]


RECORDED = ("--model", "frozen", "--model", "blind", "--episodes", 2, "--record", 1)
ARTEFACTS = {
    "a predictor": Artefact("lstm.npz", LSTM, judged_by("--model")),
    "a predictor of scenes": Artefact("hrm.npz", HRM, judged_by("--model")),
    "a denoiser": Artefact("d.npz", DENOISER, judged_by("--protocol", "paths", "--model")),
    "a puzzle network": Artefact("p.npz", PUZZLE, at_the_door),
    "scenarios": Artefact(
        "s.npz",
        lambda path: scenario_file.save(path, drawing.draw(WORLDS["standard"], range(2))),
        judged_by("--model", "frozen", "--world"),
    ),
    "scenarios that interact": Artefact(
        "i.npz",
        lambda path: scenario_file.save(path, drawing.draw(WORLDS["interacting"], range(1))),
        judged_by("--model", "frozen", "--world"),
    ),
    "an expert": Artefact("expert.npz", paths_of, reader(expert.read)),
    "a report": Artefact(
        "r.json", by_command(evaluate.main, *RECORDED[:-2]), shown, free=("models.frozen.prediction",)
    ),
    "recorded episodes": Artefact(
        "r.traces.npz", traces_of(*RECORDED), shown_beside("r.json"), free=("observed/",)
    ),
    "recorded paths": Artefact(
        "r.traces.npz",
        traces_of("--protocol", "paths", "--model", "straight_line", "--episodes", 1, "--record", 1),
        shown_beside("r.json"),
    ),
    "recorded answers": Artefact(
        "r.traces.npz",
        answers_of,
        shown_beside("r.json"),
        free=("puzzle_of_example: left out",),  # as of before
    ),
    "a density": Artefact(
        "density.json",
        lambda path: report_file.write(
            path,
            {
                "protocol": "standard",
                "seeds": (0, 4),
                "cells": [
                    {
                        "n_obstacles": 6,
                        "speed": 0.5,
                        "models": {"a": {"n": 4, **statistics.rate(2, 4)}},
                    }
                ],
            },
        ),
        lambda path: [report.main, "--density", path, "--out", path.parent / "page"],
    ),
    "metrics": Artefact(
        "run/metrics.jsonl",
        metrics,
        lambda path: [report.main, "--workdir", path.parent, "--out", path.parent.parent / "page"],
    ),
    "a run's config": Artefact(
        "run/config.json", run_config, reader(lambda path: exporting.recorded(path.parent))
    ),
    "a run's config, shown": Artefact("run/config.json", run_config, shown_with_metrics),
    "a note of parts": Artefact(
        "out.parts/request.json",
        lambda path: path.write_text('{"published": false, "first": 1000000}'),
        lambda path: [paths.main, "--count", "1", "--jobs", "1", "--out", path.parent.parent / "out"],
    ),
    **{
        f"{name} of a data set": of_folder(file, write_mazes, "set", solved_of)
        for name, file in {
            "the description": "set/test/dataset.json",
            "the names": "set/identifiers.json",
            **{f"the array {part}": f"set/test/all__{part}.npy" for part in dataset.TYPES},
        }.items()
    },
    "the tests of ARC": of_folder("set/test_puzzles.json", write_tasks, "set", solved_of),
    "the names of ARC": of_folder("set/identifiers.json", write_tasks, "set", solved_of),
    "a builder's note": of_folder("set/build.json", write_tasks, "set", built_again),
    "a golden file": Artefact(
        "g.npz",
        lambda path: path.write_bytes((GOLDEN / "lstm_d16.npz").read_bytes()),
        lambda path: [interop.main, "import", path, "--out", path.parent / "m.npz"],
        free=("grad/", "in/", "out/"),
    ),
}


# ---------------------------------------------------------------- mutations

Case = tuple[
    str, bytes | dict[str, np.ndarray], bool
]  # what was done, the content, and whether it is surely wrong
BAD_NUMBERS = (-1, 0, 1.5, float("nan"), float("inf"), -float("inf"), 10**9, 10**30, -(10**12))
BAD_VALUES = (*BAD_NUMBERS, None, True, "x", "", "a\0b", "../x", [], {}, [[1]], "9" * 5000)


def damaged(content: bytes) -> Iterator[Case]:
    """Cut, flipped, filled, replaced."""
    for share in np.linspace(0, 0.999, 25):
        yield f"cut at {share:.3f}", content[: int(share * len(content))], False
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 80):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield f"a bit of byte {place}", bytes(changed), False
    for name, other in {
        "zeros": bytes(len(content)),
        "noise": rng.bytes(300),
        "a text": b"hello\n",
        "doubled": 2 * content,
        "deep": 10**5 * b"[",
        "a pickle": b"\x80\x04}\x94.",
        "a zip": b"PK\x03\x04",
    }.items():
        yield name, other, False


def of_arrays(arrays: dict[str, np.ndarray]) -> Iterator[Case]:
    """Every array: left out, cut, of another type, of absurd values."""
    for name, array in arrays.items():
        if array.dtype.kind == "U":
            continue
        changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "complex": lambda a: a.astype(complex),
            "text": lambda a: a.astype("U8"),
            "objects": lambda a: a.astype(object),
            "one value": lambda a: a.ravel()[:1],
            "no value": lambda a: a[:0],
            "an axis more": lambda a: a[None],
            "the last cut": lambda a: a[..., :-1],
        }
        if array.dtype.kind == "f":
            for value in (np.nan, np.inf, -np.inf):
                changes[str(value)] = functools.partial(_one, value)
            changes["integers"] = lambda a: a.astype(int)
        for what, change in changes.items():
            if array.ndim or what in ("complex", "text", "objects", "an axis more"):
                changed = change(array)
                same = changed.shape == array.shape and changed.dtype == array.dtype
                sure = what != "integers" and not (same and (changed == array).all())
                yield f"{name}: {what}", {**arrays, name: changed}, sure
        for what, value in {"huge": 1e38, "negative": -1e6, "zero": 0, "one": 1}.items():
            with np.errstate(all="ignore"):
                yield f"{name}: {what}", {**arrays, name: np.full_like(array, value)}, False
        yield f"{name}: left out", {k: a for k, a in arrays.items() if k != name}, True
    yield "an array more", {**arrays, "more": np.ones(3)}, False


def _one(value: float, array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.reshape(-1)[:1] = value
    return changed


def leaves(data: Any, path: tuple = ()) -> Iterator[tuple]:
    """The places of a JSON document, the document itself first."""
    yield path
    for key, value in (
        data.items() if isinstance(data, dict) else enumerate(data[:2]) if isinstance(data, list) else ()
    ):
        yield from leaves(value, (*path, key))


def of_json(data: Any) -> Iterator[tuple[str, str]]:
    """Every place: left out, and of every bad value."""
    for path in leaves(data):
        for value in BAD_VALUES:
            yield f"{'.'.join(map(str, path))} = {str(value)[:20]!r}", json.dumps(put(data, path, value))
        if path:
            yield f"{'.'.join(map(str, path))} left out", json.dumps(_without(data, path))


def put(data: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(data)
    functools.reduce(lambda part, key: part[key], path[:-1], changed)[path[-1]] = value
    return changed


def _without(data: Any, path: tuple) -> Any:
    changed = copy.deepcopy(data)
    del functools.reduce(lambda part, key: part[key], path[:-1], changed)[path[-1]]
    return changed


def cases(path: Path) -> Iterator[Case]:
    """All of a file."""
    content = path.read_bytes()
    yield from damaged(content)
    if path.suffix == ".npz":
        with archive.reading(path, "", "") as arrays:
            pass
        yield from of_arrays(arrays)
        for name, array in arrays.items():
            if array.dtype.kind == "U" and str(array).startswith("{"):
                for what, text in of_json(json.loads(str(array))):
                    yield f"{name}: {what}", {**arrays, name: np.array(text)}, "nan" in what or "inf" in what
    elif path.suffix == ".npy":
        for what, arrays, sure in of_arrays({"it": np.load(path)}):
            if "it" in arrays:
                np.save(written := io.BytesIO(), arrays["it"])
                yield what, written.getvalue(), sure
    else:
        first, *rest = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
        for what, text in of_json(json.loads(first)):
            yield (
                what,
                "\n".join([text, *rest, ""]).encode(),
                ("nan" in what or "inf" in what) and path.suffix != ".jsonl",
            )


# ---------------------------------------------------------------- arguments

WORDS = (
    "",
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "1.5",
    "9" * 30,
    "x",
    "a\0b",
    300 * "a",
    "../x",
    "/dev/null",
    "/proc/x",
    "é\udcff",
    "1:2",
    "1:",
    ":",
    "=",
    "a=",
    "=b",
    "~",
    "~nobody/x",
    "--",
    "[]",
    "*",
    " ",
    "oracle",
    ".",
)
OUT = ("--out", "out/x.json")
OF_IMPORTS = "--heads --sequence --prefix --h_cycles --l_cycles --positions --segments --dtype".split()
ARGUMENTS: dict[
    str, tuple[Callable, list[str], list[str]]
] = {  # main, words that are right, options to spoil
    "evaluate": (
        evaluate.main,
        ["--model", "frozen", "--episodes", "1", *OUT],
        ["--model", "--predictor", "--protocol", "--world", "--seeds", "--backend", "--record", "--out"],
    ),
    "solve": (
        solve.main,
        ["--data", "mazes", "--examples", "1"],
        ["--data", "--model", "--split", "--segments", "--examples", "--batch", "--record", "--out"],
    ),
    "report": (
        report.main,
        ["--report", "r.json"],
        ["--report", "--workdir", "--density", "--gif", "--gif-models", "--out"],
    ),
    "density": (
        density.main,
        ["--model", "frozen", "--obstacles", "2", "--speeds", "0.5", "--episodes", "1", "--out", "out"],
        ["--model", "--obstacles", "--speeds", "--backend", "--out"],
    ),
    "paths": (paths.main, ["--count", "1", "--jobs", "1", "--out", "out/e.npz"], ["--first", "--out"]),
    "export": (
        export.main,
        ["--workdir", "run", "--out", "out/m.npz"],
        ["--workdir", "--out", "--step", "--weights", "--set", "--scenarios", "--episodes"],
    ),
    "interop import": (
        interop.main,
        ["import", str(GOLDEN / "lstm_d16.npz"), "--out", "out/m.npz"],
        ["--out", "--k_step", "--history", *OF_IMPORTS],
    ),
    "interop import, of a puzzle network": (
        interop.main,
        ["import", str(GOLDEN / "trm_att_d32_s24.npz"), "--out", "out/m.npz"],
        OF_IMPORTS,
    ),
    "puzzles maze": (
        puzzles.main,
        ["maze", "--out", "out/maze", "--size", "5", "--train", "2", "--test", "1", "--jobs", "1"],
        "--out --seed --size --train --test --augment --shortest --tries --jobs --csv --subsample".split(),
    ),
    "puzzles sudoku": (
        puzzles.main,
        ["sudoku", "--out", "out/sudoku", "--size", "4", "--train", "2", "--test", "1", "--jobs", "1"],
        "--out --seed --size --train --test --augment --givens --rating --jobs --csv --subsample".split(),
    ),
    "puzzles arc": (
        puzzles.main,
        ["arc", "--out", "out/arc", "--source", "source", "--augment", "1", "--jobs", "1"],
        "--out --source --sets --evaluation --augment --names --seed --jobs".split(),
    ),
    "puzzles statistics": (puzzles.main, ["statistics"], ["mazes"]),
    "train": (train.main, ["--config", "quickstart", "--dry_run"], ["--config", "--workdir"]),
    "sweep": (sweep.main, ["--worlds", "x", "--out", "out"], ["--worlds", "--config", "--set", "--first"]),
}


def requests() -> Iterator[tuple[str, list[Any]]]:
    """Every option with every word: instead of what is right, and after it."""
    for name, (main, right, options) in ARGUMENTS.items():
        for option in options:
            for word in WORDS:
                words = [main, *right]
                if option in words:
                    words[words.index(option) + 1] = word
                else:
                    words += [option, word]
                yield f"{name} {option} {word[:20]!r}", words
            yield f"{name} {option} without a word", [main, *right, option]
        yield f"{name} twice", [main, *right, *right]
        yield f"{name} with a word more", [main, *right, "more"]
        yield f"{name} of nothing", [main]


# ---------------------------------------------------------------- the attack


def run_quietly(words: list[Any]) -> tuple[int, str]:
    """Exit code of a command in this process, and what it said on stderr; -1 and a traceback's last line."""
    main, *rest = words
    out, said = io.StringIO(), io.StringIO()

    def late(*_: Any) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            code = run_command(
                main, [os.fspath(word) if isinstance(word, Path) else str(word) for word in rest]
            )
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:  # what a user would see as a traceback
        if isinstance(error, KeyboardInterrupt):
            raise
        return -1, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, said.getvalue()


class Score(collections.Counter):
    """What came of the cases, and those that came out wrong."""

    wrong: list[str]

    def add(self, what: str, code: int, said: str, sure: bool) -> None:
        self["cases"] += 1
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        if code == -1 or (code and code != 1 and len(lines) != 1):
            self["tracebacks"] += 1
            self.wrong.append(f"{what}: {said[-200:]}")
        elif code == 2:
            self["refused in one line"] += 1
        elif sure:
            self["accepted, though surely wrong"] += 1
            self.wrong.append(f"{what}: accepted")
        else:
            self["accepted"] += 1


def scored(title: str, attack: Iterator[tuple[str, int, str, bool]], counted: Callable) -> Score:
    score = Score()
    score.wrong = []
    for what, code, said, sure in attack:
        score.add(what, code, said, sure)
    counts = ", ".join(f"{count:,} {name}" for name, count in score.items())
    counted("\n  ".join([f"{title}: {counts}", *score.wrong[:40]]))
    return score


def attack_file(folder: Path, artefact: Artefact) -> Iterator[tuple[str, int, str, bool]]:
    path = folder / "valid" / artefact.file
    path.parent.mkdir(parents=True, exist_ok=True)
    artefact.make(path)
    target = folder / "hostile" / artefact.file
    for number, (what, content, sure) in enumerate([("as it is", path.read_bytes(), False), *cases(path)]):
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            np.savez(target, **content)
        code, said = run_quietly(artefact.read(target))
        assert number or code == 0, (what, said)  # a valid one is accepted
        yield what, code, said, sure and not what.startswith((*artefact.free, *FREE))
    for what, place in {"a folder": target.mkdir, "absent": lambda: None}.items():
        target.unlink(missing_ok=True) if not target.is_dir() else target.rmdir()
        place()
        code, said = run_quietly(artefact.read(target))
        yield what, code, said, what == "a folder"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ARTEFACTS)
def test_no_file_is_a_traceback_nor_believed(name, tmp_path, counted):
    score = scored(name, attack_file(tmp_path, ARTEFACTS[name]), counted)
    assert not score.wrong


@pytest.mark.filterwarnings("ignore")
def test_no_request_is_a_traceback(tmp_path, monkeypatch, counted):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    mazes(tmp_path / "mazes")
    write_tasks(tmp_path / "set")
    ARTEFACTS["a report"].make(tmp_path / "r.json")
    attack = ((what, *run_quietly(words), False) for what, words in requests())
    score = scored("arguments", attack, counted)
    assert not score.wrong
