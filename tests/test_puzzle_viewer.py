"""Reports of answers to puzzles: printed, on the page, refused, and seen in a browser as they form."""

import functools
import json
import re
from collections import deque

import numpy as np
import pytest
from test_path_player import unpacked
from test_report import COUNTER, PICTURES, STEP, Reader, browser, compared, in_a_browser, wilson  # noqa: F401 (a fixture)

from hrm_jax.artefacts import answers_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import reports, statistics
from hrm_jax.judging.statistics import mcnemar
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.city import answers as city_answers
from hrm_jax.puzzles.city import law
from hrm_jax.report import main
from hrm_jax.reporting import curves, figures, inputs, names, packing, verdict

SEGMENTS, TRAINED, EXAMPLES = 16, 8, 200
MODELS = ["hrm", "trm"]  # with a continue head, and without
WALL, FREE, START, GOAL, ROUTE = range(1, 6)


# ---------------------------------------------------------------- synthetic puzzles


def maze(rng, side=10):
    """Walls at random, and a shortest route of some length; input and label."""
    while True:
        cells = np.where(rng.random(side * side) < 0.3, WALL, FREE)
        start = rng.choice(np.flatnonzero(cells == FREE))
        parent = {int(start): None}
        queue = deque(parent)
        while queue:
            here = queue.popleft()
            for there in neighbours(here, side):
                if cells[there] == FREE and there not in parent:
                    parent[there] = here
                    queue.append(there)
        goal = here  # the farthest cell
        route, at = [], parent[goal]
        while at is not None and at != start:
            route.append(at)
            at = parent[at]
        if len(route) >= side + 2:
            cells[[start, goal]] = START, GOAL
            label = cells.copy()
            label[route] = ROUTE
            return cells, label


def neighbours(cell, side):
    row, column = divmod(cell, side)
    steps = ((row + 1, column), (row, column - 1), (row, column + 1), (row - 1, column))
    return [r * side + c for r, c in steps if 0 <= r < side and 0 <= c < side]


def sudoku(rng, side):
    """The cyclic solution with its digits renamed and half of them given."""
    down = max(n for n in range(1, side) if n * n <= side and side % n == 0)
    across = side // down
    rows, columns = np.mgrid[:side, :side]
    digits = (across * (rows % down) + rows // down + columns) % side
    label = 2 + rng.permutation(side)[digits].ravel()
    return np.where(rng.random(side * side) < 0.45, label, 1), label


def arc(rng, side=30):
    """A grid of colours and its mirror image, twice as high, both in a corner of the frame."""
    rows, columns = rng.integers(5, 13, 2)
    colours = rng.choice([2, 2, 2, 3, 4, 6, 9], (rows, columns))
    return framed(colours, side), framed(np.concatenate([colours, colours[::-1]]), side)


def city(rng, side=12):
    """A city, and the route of a car through it."""
    grid, _ = law.draw(law.Law(side), "test", int(rng.integers(1000)))
    return grid.ravel().astype(int), city_answers.solved(grid[None], np.array([2])).ravel().astype(int)


def framed(colours, side):
    frame = np.zeros((side, side), int)
    rows, columns = colours.shape
    frame[:rows, :columns] = colours
    frame[rows, :columns] = frame[:rows, columns] = 1
    return frame.ravel()


PUZZLES = {
    "maze10": ("maze", 10, maze, 6),
    "sudoku6": ("sudoku", 6, lambda rng: sudoku(rng, 6), 8),
    "sudoku9": ("sudoku", 9, lambda rng: sudoku(rng, 9), 11),
    "arc": ("arc", 30, arc, 12),
    "city12": ("city", 12, city, 12),
    "other": ("", 7, lambda rng: (rng.integers(1, 5, 49), rng.integers(1, 5, 49)), 5),
}


def forming(rng, given, label, vocabulary, quick):
    """Answers [T, S] that become right cell by cell, and stay wrong in places where `quick` is 0."""
    when = (
        rng.integers(0, SEGMENTS // (1 + 2 * quick), label.shape)
        if quick
        else rng.integers(0, 40, label.shape)
    )
    known = (given == label) & (label > 1)
    out = np.where(
        rng.random((SEGMENTS, *label.shape)) < 0.5, label, rng.integers(1, vocabulary, label.shape)
    )
    segment = np.arange(SEGMENTS)[:, None]
    return np.where((segment >= when) | known | (label < 1), np.where(label < 1, out, label), out)


def recorded(world, count=3, seed=0):
    """The arrays of traces: hrm solves all but the last example, trm the first only."""
    kind, side, draw, vocabulary = PUZZLES[world]
    rng = np.random.default_rng(seed)
    puzzles = [draw(rng) for _ in range(count)]
    inputs, labels = (np.array(part).astype(np.uint8) for part in zip(*puzzles, strict=True))
    solves = [[k < count - 1 for k in range(count)], [k == 0 for k in range(count)]]
    predictions = np.array([
        [forming(rng, inputs[k], labels[k], vocabulary, 1 + m if solves[m][k] else 0) for k in range(count)]
        for m in range(len(MODELS))
    ])  # fmt: skip
    counted = labels != 0
    share = ((predictions == labels[:, None]) | ~counted[:, None]).mean(axis=-1)
    q_halt = (24 * (share - 0.9) + rng.normal(0, 0.3, share.shape)).astype(np.float32)
    q_continue = (0.2 - 0.5 * q_halt).astype(np.float32)
    q_continue[1] = np.nan
    return {
        "models": np.array(MODELS), "index": np.arange(3, 3 + count), "inputs": inputs, "labels": labels,
        "predictions": predictions.astype(np.uint8), "q_halt": q_halt, "q_continue": q_continue,
        "kind": kind, "height": side, "width": side,
    }  # fmt: skip


def result(successes, lenient=None, tokens=0.97, told="", **more):
    """One model's part of a report.json; `told` are its outcomes from example 3 on, which are recorded."""
    left = successes - told.count("1")
    others = "1" * left + "0" * (EXAMPLES - len(told) - left)
    units = more.get("puzzles", EXAMPLES)
    known = {"n": EXAMPLES, **shares(successes, units), "outcomes": others[:3] + told + others[3:]}
    known |= {} if lenient is None else {"lenient": shares(lenient, units)}
    return {**known, "tokens": tokens, **more}


def shares(successes, units=EXAMPLES):
    interval = wilson(successes / EXAMPLES * units, units)
    return {"success": successes, "rate": successes / EXAMPLES, "interval": interval}


def by_segment(final, lenient, tokens):
    """Shares after every segment; those of hrm are whole numbers of examples."""
    exact = [round(EXAMPLES * final * (1 - 0.8**t)) / EXAMPLES for t in range(1, SEGMENTS + 1)]
    out = []
    for t, share in enumerate(exact, 1):
        extra = {"lenient": share + lenient / EXAMPLES - exact[-1]} if lenient else {}
        done = (1 - 0.8**t) / (1 - 0.8**SEGMENTS)
        thought = {"tokens": 0.9 + (tokens - 0.9) * done, "halted": min(1.0, 0.06 * t * final)}
        out.append({"exact": share, **extra, **thought, "q_accuracy": 0.85 + 0.1 * final})
    return out


def report(world="maze10", **more):
    kind, side, _, vocabulary = PUZZLES[world]
    lenient = kind == "maze"
    models = {
        "hrm": result(148, 163 if lenient else None, 0.9765, "110", parameters=27_275_266, step=20_000,
                      segments=by_segment(0.76, 163 * lenient, 0.9765)),
        "trm": result(121, 140 if lenient else None, 0.961, "100", parameters=7_000_000, step=50_000,
                      segments=by_segment(0.62, 140 * lenient, 0.961)),
        "copy": result(0, 0 if lenient else None, 0.874),
    }  # fmt: skip
    models |= {"any shortest route": result(31, 200, 0.94)} if lenient else {}
    pairs = compared({name: models[name] for name in MODELS})
    meta = {"pad_id": 0, "ignore_label_id": 0, "vocab_size": vocabulary, "seq_len": side * side}
    return {
        "protocol": "puzzles", "world": f"{kind or 'puzzles'} {side}x{side} (data/{world}, test)",
        "kind": kind, "seeds": [0, EXAMPLES], "segments": SEGMENTS, "trained_segments": TRAINED,
        "versions": {"numpy": "2.4.6"}, "commit": "1e2d3fa", "data": meta, "models": models, "pairs": pairs,
        "traces": f"{world}.traces.npz", **more,
    }  # fmt: skip


def write(folder, world="maze10", change=None, **more):
    """A report and its traces, the arrays of which `change` may alter."""
    arrays = recorded(world)
    np.savez_compressed(folder / f"{world}.traces.npz", **(change(arrays) if change else arrays))
    (folder / f"{world}.json").write_text(json.dumps(report(world, **more)))
    return arrays


def training(folder, name, final):
    """The workdir of a run on puzzles."""
    workdir = folder / "runs" / name
    workdir.mkdir(parents=True)
    lines = []
    for step in range(100, 20_001, 100):
        done = 1 - np.exp(-step / 6000)
        lines.append({"step": step, "loss": 1.2 - done, "samples_per_second": 900.0})
        if step % 2000 == 0:
            exact = {f"eval/exact_{t}": final * done * (1 - 0.7**t) for t in (1, 2, 4, 8)}
            lines.append({"step": step, "eval/loss": 1.3 - done, "eval/exact": final * done,
                          "eval/tokens": 0.87 + 0.12 * done, "eval/copy": 0.874, **exact})  # fmt: skip
    (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (workdir / "config.json").write_text(json.dumps({"batch_size": 384, "model": {"name": "hrm_act"}}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Reports of all kinds, and their pages; that of maze10 with the curves of a run."""
    folder = tmp_path_factory.mktemp("puzzles")
    training(folder, "first", 0.74)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("hrm_jax.reporting.figures.available", lambda: False)
        for world in PUZZLES:
            write(folder, world)
            more = ["--workdir", "runs/first"] if world == "maze10" else []
            main(["--report", f"{world}.json", *more, "--out", world])
    return folder


@pytest.fixture(scope="module")
def text(folder):
    """The page of maze10."""
    return (folder / "maze10/index.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- tables


def test_the_printed_tables(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    main(["--report", "maze10.json", "--report", "sudoku9.json"])
    printed = capsys.readouterr().out
    for line in (
        "maze 10x10 (data/maze10, test), examples 0:200, 16 segments (trained with 8)",
        "| hrm                | 148/200  74.0 % [67.5, 79.6] | 163/200  81.5 % [75.5, 86.3]   | 97.65 % |",
        "| any shortest route | 31/200  15.5 % [11.1, 21.2]  | 200/200  100.0 % [98.1, 100.0] | 94.00 % |",
        "| model | exact                        | tokens  |",  # of the sudoku, without a lenient score
        "Exact % / lenient % after so many segments:",
        "| model | 1           | 2           | 4           | 8           | 16          |",
        "| hrm   | 15.0 / 22.5 | 27.5 / 35.0 | 45.0 / 52.5 | 63.0 / 70.5 | 74.0 / 81.5 |",
        "| trm   | 12.5 | 22.5 | 36.5 | 51.5 | 60.5 |",
    ):
        assert line in printed.splitlines()


def test_reports_of_planners_keep_their_table(folder, monkeypatch, capsys):
    """Next to one of puzzles as without it."""
    outcomes = "1" * 20 + "0" * 30
    result = {**statistics.tally(outcomes), "outcomes": outcomes}
    other = {"protocol": "standard", "world": "standard", "seeds": [0, 50], "models": {"frozen": result}}
    (folder / "other.json").write_text(json.dumps(other))
    monkeypatch.chdir(folder)
    main(["--report", "other.json"])
    alone = capsys.readouterr().out
    main(["--report", "maze10.json", "--report", "other.json"])
    assert capsys.readouterr().out.startswith(f"{alone}\nmaze 10x10")


def test_the_page_holds_the_numbers_of_the_report(text):
    page, source = Reader(text), report()["models"]
    for name, result in source.items():
        cells = page.row("results-0", model=name)
        assert int(cells["success"]) == result["success"] and int(cells["n"]) == EXAMPLES
        assert float(cells["rate"]) == result["rate"] and float(cells["tokens"]) == result["tokens"]
        assert list(map(float, cells["lenient-interval"].split())) == result["lenient"]["interval"]
        assert cells.get("step") == (str(result["step"]) if "step" in result else None)
        for number, segment in enumerate(result.get("segments", ()), 1):
            found = page.row("segments-0", model=name, segment=number)
            assert {key: float(found[key]) for key in segment} == segment
    assert float(page.row("pairs-0", a="hrm", b="trm")["difference"]) == 27 / EXAMPLES
    run = page.row("runs", run="first")
    assert float(run["eval/exact"]) == pytest.approx(74 * (1 - np.exp(-20 / 6)))
    assert "hrm: 63.0 % at 8" in page.texts and "trained: 8" in page.texts


def test_the_page_says_what_is_counted(text):
    said = " ".join("".join(Reader(text).texts).split())
    for words in (
        "Evaluation: maze 10x10 (data/maze10, test)",
        "hrm is the best of 2 learned models: it solves 74.0 % of 200 examples (95 % interval "
        "67.5 to 79.6 %).",
        '"any shortest route", which learns nothing, solves 15.5 %: 58.5 points below hrm',
        "Lenient: the marked cells are a route from start to goal that is as short as any",
        "It was trained with at most 8 (dashed line).",
        "Exact McNemar test on the puzzles that only one of the two solved.",
    ):
        assert words in said
    shown = re.sub("<script.*?</script>", "", text[text.index("</style>") :], flags=re.S)
    assert not re.search("episode|collision|oracle|closed loop", shown)
    outside = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    assert not re.search(r"https?:|url\(|@import|\bfetch\(|XMLHttpRequest", outside)


def test_votes_and_augmentations_have_their_own_numbers(tmp_path, monkeypatch, capsys):
    votes = {"tasks": 20, "success": 8, "rate": 0.4, "interval": wilson(8, 20), "share": 0.45}
    models = {name: result(50, puzzles=20, voting={"pass@1": votes, "pass@2": votes}) for name in ("a", "b")}
    pair = {"a": "a", "b": "b", "a_only": 5, "b_only": 2, "p_value": mcnemar(5, 2)}
    data = report("arc", models=models, pairs=[pair], traces=None)
    (tmp_path / "arc.json").write_text(json.dumps(data))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    main(["--report", "arc.json"])
    assert (
        "| a     | 8/20  40.0 % [21.9, 61.3] | 45.0           | 8/20  40.0 % [21.9, 61.3] | 45.0           |"
        in capsys.readouterr().out
    )
    main(["--report", "arc.json", "--out", "out"])
    page = Reader((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    assert page.row("votes-0", model="b", tries="pass@2")["share"] == "0.45"
    assert float(page.row("pairs-0", a="a", b="b")["difference"]) == 3 / 20
    said = "".join(page.texts)
    assert "The 200 examples are questions and augmentations of 20 puzzles" in said
    assert "on the tasks that only one of the two solved" in said


def test_a_tie_has_no_winner():
    """Among learned models and among baselines; the tests of all that cannot be told apart are counted."""
    level = {"hrm": result(148), "trm": result(148), "third": result(121), "copy": result(0)}
    pairs = [
        {"a": name, "b": "copy", "a_only": 9, "b_only": 0, "p_value": p, "p_holm": p}
        for name, p in (("hrm", 0.2), ("trm", 0.001), ("third", 0.001))
    ]
    pairs += [
        {"a": name, "b": "third", "a_only": 40, "b_only": 13, "p_value": p, "p_holm": p}
        for name, p in (("hrm", 0.001), ("trm", 0.001))
    ]
    said = verdict.sentences(inputs.Report(report(models=level, pairs=pairs)))
    assert said == [
        "hrm and trm cannot be told apart: each solves 74.0 % of 200 examples.",
        "Behind hrm, by more than chance: third (60.5 %).",
        "A model that was trained once may rank otherwise when it is trained again.",
        "copy, which learns nothing, solves 0.0 %: 74.0 points below hrm, more than chance explains for 1 of "
        "2 trained models.",
    ]
    untrained = {"copy": result(31), "any shortest route": result(31)}
    said = verdict.sentences(inputs.Report(report(models=untrained, pairs=[])))
    assert said == [
        "No learned model was judged.",
        "copy and any shortest route cannot be told apart: each solves 15.5 % of 200 examples.",
    ]
    seeds = {
        f"{g}/{i}": result(n, group=g)
        for g, ns in (("a", (40, 60)), ("b", (50, 50)))
        for i, n in enumerate(ns)
    }
    (said,) = verdict.sentences(inputs.Report(report(models=seeds, pairs=[])))
    assert said == "a and b cannot be told apart: each solves 25.0 % of 200 examples."


# ---------------------------------------------------------------- charts


def test_curves_of_a_run_on_puzzles(folder):
    runs = inputs.load_runs([str(folder / "runs/first")])
    panels = {panel.title: panel for panel in curves.training(runs)}
    assert list(panels) == [
        "Training loss", "Held-out exact answers", "Held-out cells that are right", "Held-out loss",
        "Held-out exact answers by segment",
    ]  # fmt: skip
    by_segment = panels["Held-out exact answers by segment"].curves
    assert [curve.name for curve in by_segment] == ["after 1", "after 2", "after 4", "after 8", "after all"]
    tokens = panels["Held-out cells that are right"]
    assert [(curve.name, curve.style.kind) for curve in tokens.curves] == [
        ("first", "learned"), ("copy", "baseline"),
    ]  # fmt: skip
    assert tokens.y_range == (0.8, 1.0) and tokens.shares


def test_charts_by_segment_mark_the_training(folder):
    looks = names.styles((name, None) for name in report()["models"])
    panels = curves.answers(report(), looks)
    assert [panel.title for panel in panels][:2] == [
        "Exact accuracy after each segment", "Any right answer after each segment",
    ]  # fmt: skip
    assert all(panel.mark == (TRAINED, "trained") for panel in panels)
    assert [curve.name for curve in panels[0].curves] == MODELS  # the baselines do not think
    assert curves.answers(report(trained_segments=None), looks)[0].mark is None
    bare = {name: {**known, "segments": None} for name, known in report()["models"].items()}
    assert curves.answers(report(models=bare), looks) == []


def test_figures_for_papers(tmp_path):
    pytest.importorskip("resvg_py")
    wanted = figures.wanted([inputs.Report(report())], [], None)
    assert list(wanted) == ["success.png", "segments.png"]
    drawn = wanted["segments.png"]()
    assert ">Exact accuracy after each segment</text>" in drawn and "var(" not in drawn
    figures.write_png(tmp_path / "a.png", drawn)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("world", PUZZLES)
def test_traces_survive_reading_and_packing(tmp_path, world):
    given = write(tmp_path, world)
    found = answers_file.load(tmp_path / f"{world}.traces.npz")
    assert (found.kind, found.models, found.segments) == (given["kind"], MODELS, SEGMENTS)
    packed = packing.answers(found, 0, {"hrm": 8})
    assert packed["trained"] == [8, None] and packed["size"] == [given["height"], given["width"]]
    for k, example in enumerate(packed["examples"]):
        assert example["id"] == 3 + k
        np.testing.assert_array_equal(unpacked(example["labels"]), given["labels"][k])
        for m, answer in enumerate(example["answers"]):
            np.testing.assert_array_equal(unpacked(answer["predictions"]), given["predictions"][m, k])
            chance = 1 / (1 + np.exp(-given["q_halt"][m, k]))
            assert np.abs(unpacked(answer["halt"]) / 1e4 - chance).max() < 1e-4
            threshold = given["q_continue"][m, k] if m == 0 else 0
            assert answer["halts"] == [int(q) for q in given["q_halt"][m, k] > threshold]
            right = (given["predictions"][m, k] == given["labels"][k]) | (given["labels"][k] == 0)
            assert answer["exact"] == [int(r.all()) for r in right]
        assert example["answers"][1]["rival"] is None


def test_labels_count_unless_they_are_ignored(tmp_path):
    write(tmp_path, "arc")
    found = answers_file.load(tmp_path / "arc.traces.npz")
    assert found.exact(0)[0, 0].any() and not found.exact(None).any()


FAULTS = {
    "predictions is missing": {"predictions": None},
    "q_continue is missing": {"q_continue": None},
    "predictions is uint8 [2, 3, 16, 99]; whole numbers [2, 3, any, 100]": {
        "predictions": lambda a: a[..., 1:]
    },
    "labels is uint8 [2, 100]": {"labels": lambda a: a[1:]},
    "index is int64 [2]": {"index": lambda a: a[1:]},
    "inputs is float64": {"inputs": lambda a: a / 1.0},
    "1 of each is needed": {"predictions": lambda a: a[:, :, :0]},
    "20 x 10 cells; inputs are of 100": {"height": lambda a: 20},
    "height is float64 []": {"height": lambda a: 10.0},
    "q_halt is float32 [2, 3, 15]; numbers [2, 3, 16]": {"q_halt": lambda a: a[..., 1:]},
    "q_continue of hrm is NaN in places": {"q_continue": lambda a: np.where(a > 0, np.nan, a)},
    "models names one twice: hrm, hrm": {"models": lambda a: np.array(["hrm", "hrm"])},
    "segments is 15; the rest of the file makes it 16": {
        name: lambda a: a[:, :, 1:] for name in ("predictions", "q_halt", "q_continue")
    },
    'unknown model of the report "lstm"': {"models": lambda a: np.array(["hrm", "lstm"])},
}


@pytest.mark.parametrize("message", FAULTS)
def test_traces_that_do_not_fit_are_refused(tmp_path, message):
    def change(arrays):
        new = {name: change and change(arrays[name]) for name, change in FAULTS[message].items()}
        return {name: array for name, array in (arrays | new).items() if array is not None}

    write(tmp_path, change=change)
    _refused(tmp_path, message)


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_traces_that_are_no_archive_are_refused(tmp_path, content):
    write(tmp_path)
    (tmp_path / "maze10.traces.npz").unlink()
    if content:
        (tmp_path / "maze10.traces.npz").write_bytes(content)
    _refused(tmp_path, "not the traces of hrm_jax.solve" if content else "no such file; the report names it")


BROKEN = {
    "not a report.json of hrm_jax.solve: the file is": ((), "segments", ...),
    "models.hrm.tokens is 1.2; expected float <= 1.0": (("models", "hrm"), "tokens", 1.2),
    'models.hrm.lenient is {"rate": 1}; object missing required field': (
        ("models", "hrm"), "lenient", {"rate": 1},
    ),
    "models.trm.segments holds 2 segments; the report is of 16": (
        ("models", "trm"), "segments", [{"exact": 0}] * 2,
    ),
    "models.trm.segments[3].exact is null": (("models", "trm", "segments", 3), "exact", None),
    "models.trm.segments[3] is 0.5; expected object": (("models", "trm", "segments"), 3, 0.5),
    "models.copy.voting.pass@2 is {}; object missing required field": (
        ("models", "copy"), "voting", {"pass@2": {}},
    ),
    "trained_segments is 0": ((), "trained_segments", 0),
    "trained_segments is 100000; expected int <= 10000": ((), "trained_segments", 10**5),
    "trained_segments is 8; the rest of the file makes it 4": (("models", "trm"), "trained_segments", 4),
    'unknown kind of puzzles "nosuch"': ((), "kind", "nosuch"),
    "models.hrm.lenient: sudoku has one right answer": ((), "kind", "sudoku"),
    'models.copy.outcomes hold "T"; allowed: 0, 1': (("models", "copy"), "outcomes", "T" * EXAMPLES),
    "models.hrm.segments[15].exact is 1.0; the rest of the file makes it 0.74": (
        ("models", "hrm", "segments", 15), "exact", 1.0,
    ),
    "models.hrm.segments[15].lenient is 0.9; the rest": (("models", "hrm", "segments", 15), "lenient", 0.9),
    "models.hrm.segments[3]: those that had stopped": (("models", "hrm", "segments", 3), "halted", 0.0),
    "models.trm.puzzles is 201; there are 200 examples": (("models", "trm"), "puzzles", 201),
    "models.trm.lenient.success is 201 of 200": (("models", "trm", "lenient"), "success", 201),
    "models.trm.lenient.rate is 0.1; the rest of the file": (("models", "trm", "lenient"), "rate", 0.1),
    "models.copy.interval[1] is 0.5; the rest of the file": (("models", "copy"), "interval", [0, 0.5]),
    "pairs[0].p_value is 0.9; the rest of the file": (("pairs", 0), "p_value", 0.9),
    "data.ignore_label_id is -1": (("data",), "ignore_label_id", -1),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_reports_that_do_not_fit_are_refused(tmp_path, message):
    write(tmp_path)
    keys, name, value = BROKEN[message]
    content = holder = json.loads((tmp_path / "maze10.json").read_text())
    for key in keys:
        holder = holder[key]
    holder[name] = value
    if value is ...:
        del holder[name]
    (tmp_path / "maze10.json").write_text(json.dumps(content))
    _refused(tmp_path, message)


def _voted(**change):
    """Two models and their votes on 20 tasks, of which those of the second are changed."""
    votes = {"tasks": 20, "success": 8, "rate": 0.4, "interval": wilson(8, 20), "share": 0.45}
    models = {
        name: result(50, puzzles=20, voting={"pass@1": votes, "pass@2": {**votes}}) for name in ("a", "b")
    }
    models["b"]["voting"]["pass@2"] |= change
    return models


VOTES = {
    "models of [10, 20] tasks": _voted(tasks=10, rate=0.8, share=0.8),
    "b.voting.pass@2.success is 21 of 20": _voted(success=21),
    "b.voting.pass@2: tasks and test inputs that are right are 0.4 and 0.1": _voted(share=0.1),
    "b.voting.pass@2.success is 8; the rest of the file makes it 0": _voted(outcomes="0" * 20),
    "b.voting.pass@2.outcomes is 1; the rest of the file makes it 20": _voted(outcomes="1"),
    "b.voting.pass@2.success: fewer and more tries are 8 and 7": _voted(
        success=7, rate=0.35, interval=wilson(7, 20)
    ),
    'b.voting holds "x"; pass@1, pass@2': {
        "b": {**_voted()["b"], "voting": {"x": _voted()["b"]["voting"]["pass@1"]}}
    },
    "models of [10, 20] puzzles": {"a": result(50, puzzles=20), "b": result(50, puzzles=10)},
}


@pytest.mark.parametrize("message", VOTES)
def test_votes_that_contradict_themselves_are_refused(message, tmp_path):
    path = tmp_path / "arc.json"
    path.write_text(json.dumps(report("arc", models=_voted(), pairs=[])))
    reports.load(path)
    path.write_text(json.dumps(report("arc", models=VOTES[message], pairs=[])))
    with pytest.raises(RequestError) as error:
        reports.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


AGAINST = {
    "kind is arc; the rest of the file makes it maze": {"kind": lambda a: "arc"},
    "height and width[0] is 5; the rest of the file makes it 10": {
        "height": lambda a: 5, "width": lambda a: 20,
    },
    "predictions go from 1 to 250; tokens are 0 to 5": {"predictions": lambda a: np.where(a > 4, 250, a)},
    "inputs go from -1 to 2; tokens": {"inputs": lambda a: a.astype(int) - 2},
    "ids [3, 3, 5]: each once, from 0 to 199": {"index": lambda a: np.array([3, 3, 5])},
    "ids [3, 4, 200]: each once": {"index": lambda a: np.array([3, 4, 200])},
    'example 3 of hrm ends in "0"; the report says "1"': {"predictions": lambda a: a[:, ::-1]},
}  # fmt: skip


@pytest.mark.parametrize("message", AGAINST)
def test_answers_that_contradict_their_report_are_refused(message, tmp_path):
    write(tmp_path, change=lambda arrays: arrays | {k: f(arrays[k]) for k, f in AGAINST[message].items()})
    _refused(tmp_path, message)


def test_there_is_no_animation_of_puzzles(tmp_path):
    pytest.importorskip("resvg_py")
    write(tmp_path)
    _refused(tmp_path, "none of the reports names recorded episodes", "--gif", "all")


def _refused(folder, message, *more):
    before = sorted(folder.rglob("*"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RequestError) as caught:
        patch.chdir(folder)
        main(["--report", "maze10.json", "--out", "out", *more])
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(folder.rglob("*")) == before


# ---------------------------------------------------------------- in a browser

STATES = "[...document.querySelectorAll('.player .state')].map((p) => p.textContent)"
OUTCOMES = "[...document.querySelectorAll('.player .outcome')].map((p) => p.textContent)"
BOXES = "document.querySelectorAll('.player input[type=checkbox]')"
GIVEN, ANSWERS = slice(0, 2), slice(2, 4)  # of the canvases


def states(browser):  # noqa: F811
    return [state.replace("\N{NO-BREAK SPACE}", " ") for state in browser.evaluate(STATES)]


def expected(arrays, m, k, segment):
    """What the viewer must say of an answer, by NumPy."""
    label, answer = arrays["labels"][k], arrays["predictions"][m, k]
    counted = label != 0
    wrong = int((counted & (answer[segment - 1] != label)).sum())
    state = f"{wrong} of {counted.sum()} cells wrong" if wrong else "Exact"
    if segment > 1:
        changed = int((counted & (answer[segment - 1] != answer[segment - 2])).sum())
        state += f", {changed or 'none'} changed since segment {segment - 1}"
    chance = 1 / (1 + np.exp(-arrays["q_halt"][m, k, segment - 1]))
    return f"{state}. Q-head: {100 * chance:.1f} % that this is right"


@in_a_browser
@pytest.mark.parametrize("world", PUZZLES)
def test_the_viewer_says_what_every_segment_made_of_it(folder, browser, world):  # noqa: F811
    arrays = recorded(world)
    for k, segment in ((1, 4), (2, 1)):
        browser.open(folder / world / "index.html", f"#answers?example={3 + k}&segment={segment}")
        assert browser.evaluate(COUNTER) == f"segment {segment} of {SEGMENTS}"
        for m, state in enumerate(states(browser)):
            assert state.startswith(expected(arrays, m, k, segment)), state
            halts = arrays["q_halt"][m, k] > (arrays["q_continue"][m, k] if m == 0 else 0)
            now = "it would stop" if halts[segment - 1] else "it would go on"
            assert f"; {now}." in state and ("for going on" in state) == (m == 0)
            first = int(halts.argmax()) + 1
            when = (
                "This is its first stop." if first == segment else f"Its first stop is after segment {first}."
            )
            assert state.endswith(when if halts.any() else "It would never have stopped.")
        assert all(picture != "data:," for picture in browser.evaluate(PICTURES))
    assert browser.complaints == []


@in_a_browser
def test_the_viewer_is_driven_by_the_keyboard(folder, browser):  # noqa: F811
    browser.open(folder / "sudoku9/index.html")
    browser.evaluate("document.querySelector('.player').focus()")
    assert browser.evaluate(COUNTER) == f"segment 1 of {SEGMENTS}"  # the answer forms from here on
    browser.press("End")
    assert browser.evaluate(OUTCOMES) == ["exact", "not solved"]  # an example on which the two differ
    browser.press("ArrowUp")
    browser.wait("document.querySelector('.player').dataset.example === '3'")
    assert browser.evaluate(STEP) == SEGMENTS and browser.evaluate(OUTCOMES) == ["exact", "exact"]
    last = browser.evaluate(PICTURES)
    browser.press("Home")
    assert states(browser) == ["The puzzle, before the first of 16 segments."] * 2
    first = browser.evaluate(PICTURES)
    assert first[GIVEN] == last[GIVEN] and first[ANSWERS][0] == first[ANSWERS][1] != last[ANSWERS][0]
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.press("ArrowLeft")
    assert browser.evaluate(STEP) == 1
    browser.press("End")
    browser.press("ArrowUp")
    browser.wait("document.querySelector('.player').dataset.example === '5'")
    assert browser.evaluate(STEP) == SEGMENTS and browser.evaluate(OUTCOMES) == ["not solved"] * 2
    browser.press("Home")
    browser.press(" ")
    browser.wait(f"{STEP} >= 2")
    browser.press(" ")
    assert browser.evaluate("document.querySelector('.player button').textContent") == "Play"
    assert browser.complaints == []


@in_a_browser
def test_the_strip_leads_to_a_segment(folder, browser):  # noqa: F811
    browser.open(folder / "maze10/index.html", "#answers?example=3&segment=1&right=nothing")
    assert browser.evaluate("document.querySelectorAll('.player .view')[1].innerText.trim()") != ""
    assert browser.evaluate("[...document.querySelectorAll('.strip')].map((s) => s.innerHTML !== '')") == [
        True,
        False,
    ]
    parts = "document.querySelectorAll('.strip rect.stops, .strip rect.goes').length"
    assert browser.evaluate(parts) == SEGMENTS
    halts = recorded("maze10")["q_halt"][0, 0] > recorded("maze10")["q_continue"][0, 0]
    assert browser.evaluate("document.querySelectorAll('.strip rect.stops').length") == halts.sum()
    browser.evaluate(
        "(() => { const box = document.querySelectorAll('.strip rect.stops, .strip rect.goes')[6]"
        ".getBoundingClientRect(); document.querySelector('.strip').dispatchEvent("
        "new MouseEvent('click', { clientX: box.x + box.width / 2, clientY: box.y })); })()"
    )
    assert browser.evaluate(STEP) == 7
    assert browser.complaints == []


def maze_of_two_routes():
    """A 3 x 3 maze, its label, the other shortest route, and marked cells that are none."""
    given = np.array([[START, FREE, FREE], [FREE, WALL, FREE], [FREE, FREE, GOAL]])
    label, other, torn = given.copy(), given.copy(), given.copy()
    label[0, 1:] = label[1, 2] = ROUTE
    other[1, 0] = other[2, :2] = ROUTE
    torn[0, 1:] = torn[2, 0] = ROUTE
    return given, label, other, torn


def answered(given, label, answers, arrays):
    """The arrays of traces of one maze and one model without a Q head."""
    q = np.full((1, 1, len(answers)), np.nan, np.float32)
    answers = np.stack([answer.ravel() for answer in answers]).astype(np.uint8)
    return arrays | {
        "models": np.array(["hrm"]), "index": np.array([3]), "height": len(given), "width": len(given),
        "q_halt": q, "inputs": given.reshape(1, -1), "labels": label.reshape(1, -1), "q_continue": q,
        "predictions": answers[None, None],
    }  # fmt: skip


def test_lenient_is_the_same_on_the_page_and_in_the_table(tmp_path):
    """A label may be a detour, as of another tool: right is what is as short as any, not as long as it."""
    given = np.full((3, 3), FREE)
    given[0, 0], given[0, 2] = START, GOAL
    detour, short, through = given.copy(), given.copy(), given.copy()
    detour[1] = short[0, 1] = ROUTE
    through[1], through[0, 1] = WALL, ROUTE
    answers = [detour, short, through, given]
    write(tmp_path, change=functools.partial(answered, given, detour, answers), segments=4)
    recorded = answers_file.load(tmp_path / "maze10.traces.npz")
    packed = packing.answers(recorded, None, {})["examples"][0]["answers"][0]
    assert (packed["exact"], packed["another"]) == ([1, 0, 0, 0], [0, 1, 0, 0])
    of_table = kinds.KINDS["maze"].lenient.right(
        recorded, slice(None), recorded.predictions[0].swapaxes(0, 1)
    )
    assert of_table[:, 0].tolist() == [False, True, False, False]


@in_a_browser
def test_another_shortest_route_is_told_from_a_wrong_one(tmp_path, browser, monkeypatch):  # noqa: F811
    """Around the one wall of a 3 x 3 maze lead two routes; the label is one of them."""
    given, label, other, torn = maze_of_two_routes()
    change = functools.partial(answered, given, label, [label, other, torn, other])

    models = {"hrm": result(1)}
    write(tmp_path, change=change, segments=4, models=models, pairs=[], data=None)
    path = tmp_path / "maze10.json"
    path.write_text(path.read_text().replace("10x10", "3x3"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    main(["--report", "maze10.json", "--out", "out"])
    outcomes = []
    for segment in range(1, 5):
        browser.open(tmp_path / "out/index.html", f"#answers?example=3&segment={segment}")
        outcomes += browser.evaluate(OUTCOMES)
    assert outcomes == ["exact", "another shortest route", "not solved", "another shortest route"]
    (state,) = states(browser)
    assert state == (
        "Another shortest route; 6 of 9 cells differ, 4 changed since segment 3. This model has no Q-head."
    )
    assert browser.evaluate("document.querySelectorAll('.player .view').length") == 1
    assert browser.complaints == []


@in_a_browser
def test_marks_and_switches_are_drawn(folder, browser):  # noqa: F811
    browser.open(folder / "arc/index.html", "#answers?example=5&segment=6")
    pictures = [browser.evaluate(PICTURES)]
    assert browser.evaluate(f"{BOXES}.length") == 4
    for box in range(4):  # wrong, changed, numbers, frame
        browser.evaluate(f"{BOXES}[{box}].click()")
        pictures.append(browser.evaluate(PICTURES))
    assert len({picture[2] for picture in pictures}) == 5
    assert pictures[0][:2] == pictures[2][:2] != pictures[4][:2]  # what was given bears no marks
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", features=dark)
    browser.wait(f"{PICTURES}[2] !== {json.dumps(pictures[-1][2])}")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert browser.complaints == []


@in_a_browser
@pytest.mark.parametrize("width", [360, 500, 900, 1300])
def test_nothing_sticks_out_of_a_page_of_puzzles(folder, browser, width):  # noqa: F811
    browser.open(folder / "maze10/index.html")
    size = {"width": width, "height": 900, "deviceScaleFactor": 2, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.wait(
            "[...document.querySelectorAll('.player canvas')].every((c) => c.width === 2 * c.clientWidth)"
        )
        browser.wait(
            "[...document.querySelectorAll('.strip svg')]"
            ".every((svg) => svg.clientWidth <= svg.parentNode.clientWidth)"
        )
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
