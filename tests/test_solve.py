"""Puzzles judged, example by example and segment by segment: answers that are known, then real models."""

import functools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from hrm_jax import report, solve
from hrm_jax.artefacts import answers_file, model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import answers as judging
from hrm_jax.judging import puzzle_report, solvers, statistics, tables
from hrm_jax.models import hrm_act
from hrm_jax.puzzles import __main__ as builders
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.puzzles.arc import voting
from hrm_jax.puzzles.maze import grids as maze

ROOT = Path(__file__).resolve().parent.parent
SIDE, COUNT = 5, 23
FIELDS = hrm_act.describe(hrm_act.build({
    "name": "hrm_act", "vocabulary": 6, "sequence": SIDE * SIDE, "width": 16, "heads": 2, "low_layers": 1,
    "high_layers": 1, "inner_multiple": 8, "puzzle_width": 16, "dtype": "float32",
}))  # fmt: skip


SMALL = {
    "vocabulary": 12, "sequence": 900, "width": 4, "puzzle_width": 4, "heads": 1, "h_cycles": 1,
    "l_cycles": 1, "positions": "none",
}  # fmt: skip


def some_mazes():
    """Inputs and canonical labels [COUNT, 25] of open mazes with a route of four or more cells."""
    rng = np.random.default_rng(0)
    inputs, labels = [], []
    while len(inputs) < COUNT:
        free = rng.random((1, SIDE, SIDE)) > 0.2
        start, goal = rng.choice(np.flatnonzero(free), 2, replace=False)
        try:
            given, answer = maze.tokens(free, np.array([start]), np.array([goal]))
        except ValueError:
            continue
        if (answer == maze.ROUTE).sum() >= 2:
            inputs.append(given[0])
            labels.append(answer[0])
    return np.array(inputs), np.array(labels)


@pytest.fixture(scope="module")
def mazes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("solve") / "mazes"
    for split in dataset.SPLITS:
        inputs, labels = some_mazes()
        dataset.write_groups(
            folder, split, "maze", inputs[:, None], labels[:, None], 6, height=SIDE, width=SIDE
        )
    return folder


def params_of(fields, identifiers=1, seed=0):
    """Parameters in which nothing is zero, so that Q values differ."""
    network = hrm_act.build(fields)
    shapes = jax.eval_shape(lambda: hrm_act.initial_params(network, jax.random.key(0), identifiers))
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: rng.normal(0, max(s.shape[-2:]) ** -0.5, s.shape).astype(np.float32), shapes
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of two networks, one of them with halting by q_halt alone."""
    folder = tmp_path_factory.mktemp("models")
    for name, more in (("first", {}), ("second", {"q_continue": False, "shared": True})):
        about = {"model": FIELDS | more, "segments": 4, "step": 70, "data": "mazes"}
        model_file.write(folder / f"{name}.npz", params_of(FIELDS | more, seed=len(name)), about)
    return folder


class Scripted:
    """Answers from a table [T, N, S] with Q values [T, N, 2], by the input; notes what it was asked."""

    def __init__(self, puzzles, answers, q):
        self.puzzles, self.answers, self.q, self.calls = puzzles, answers, q, []
        self.place = {row.tobytes(): i for i, row in enumerate(puzzles.inputs)}

    def __call__(self, inputs, puzzle):
        index = [self.place.get(row.tobytes()) for row in inputs]
        self.calls.append((len(inputs), [i for i in index if i is not None], puzzle.tolist()))
        rows = [0 if i is None else i for i in index]
        answers, q = self.answers[:, rows].copy(), self.q[:, rows].copy()
        for k, i in enumerate(index):
            if i is None:  # padding: all wrong, to be seen if it were counted
                assert (inputs[k] == self.puzzles.meta.pad_id).all()
                answers[:, k], q[:, k] = 0, 50
        return answers, q


@pytest.fixture
def script(mazes):
    """Three segments: nothing, then half right, then three quarters, of which some by another route."""
    puzzles = dataset.load(mazes, "test")
    rng = np.random.default_rng(4)
    answers = np.stack([puzzles.inputs] * 3)
    answers[1, :12] = puzzles.labels[:12]
    answers[2, :17] = puzzles.labels[:17]
    return puzzles, Scripted(puzzles, answers, rng.normal(size=(3, COUNT, 2)))


# ---------------------------------------------------------------- judging


@pytest.mark.parametrize("batch, count", [(4, COUNT), (COUNT, COUNT), (100, COUNT), (5, 9), (7, 14)])
def test_every_example_is_asked_once_in_calls_of_one_size(script, batch, count):
    puzzles, think = script
    result = judging.judge(solvers.Solver(think, batch), puzzles, count, keep=True)
    assert [i for _, asked, _ in think.calls for i in asked] == list(range(count))
    assert {size for size, _, _ in think.calls} == {min(batch, count)}
    np.testing.assert_array_equal(result.answers, think.answers[2, :count])
    assert result.exact.tolist() == [i < 17 for i in range(count)]
    np.testing.assert_array_equal(result.q_halt, think.q[2, :count, 0].astype(np.float32))


def test_segments_are_means_over_examples(script):
    puzzles, think = script
    result = judging.judge(solvers.Solver(think, 4), puzzles, COUNT)
    assert result.answers is None
    right = (think.answers == puzzles.labels).all(axis=2)
    stop = np.cumsum(think.q[..., 0] > think.q[..., 1], axis=0) > 0
    for t, segment in enumerate(result.segments):
        assert list(segment) == ["exact", "lenient", "tokens", "halted", "q_accuracy"]
        assert segment["exact"] == pytest.approx((0, 12, 17)[t] / COUNT)
        assert segment["lenient"] >= segment["exact"]
        assert segment["tokens"] == pytest.approx((think.answers[t] == puzzles.labels).mean())
        assert segment["halted"] == pytest.approx(stop[t].mean())
        assert segment["q_accuracy"] == pytest.approx(((think.q[t, :, 0] >= 0) == right[t]).mean())
    assert stop[0].mean() < stop[1].mean() < stop[2].mean()
    think.q[..., 1] = np.nan  # a model without that output stops where q_halt is above 0
    alone = judging.judge(solvers.Solver(think, 4), puzzles, COUNT)
    stop = np.cumsum(think.q[..., 0] > 0, axis=0) > 0
    np.testing.assert_allclose([s["halted"] for s in alone.segments], stop.mean(axis=1))


def test_the_report_says_what_was_counted(script):
    puzzles, think = script
    results = {
        "mine": judging.judge(solvers.Solver(think, 4), puzzles, COUNT),
        "copy": judging.judge(solvers.of_baseline(lambda inputs, identifiers: inputs), puzzles, COUNT),
    }
    report = puzzle_report.build(puzzles, COUNT, 3, results, {}, None)
    mine, copy = report["models"]["mine"], report["models"]["copy"]
    assert (mine["n"], mine["success"], mine["puzzles"]) == (COUNT, 17, COUNT)
    assert mine["outcomes"] == "1" * 17 + "0" * 6 and copy["outcomes"] == "0" * COUNT
    np.testing.assert_allclose(mine["interval"], statistics.wilson(17, COUNT))
    assert mine["lenient"]["success"] == 17 and len(mine["segments"]) == 3
    assert "segments" not in copy and copy["interval"][0] == 0
    assert report["pairs"] == [
        {"a": "mine", "b": "copy", "a_only": 17, "b_only": 0, "p_value": pytest.approx(2**-16),
         "p_holm": pytest.approx(2**-16)}
    ]  # fmt: skip
    assert report["world"].startswith("maze 5x5 (") and report["seeds"] == [0, COUNT]
    json.dumps(report, allow_nan=False)
    text = tables.puzzles(report)
    assert "| mine  | 17/23  73.9 % [" in text and "0.0 / 0.0 | 52.2 / 52.2 | 73.9 / 73.9" in text


def test_augmentations_of_a_puzzle_count_as_one_in_intervals(tmp_path):
    """Four puzzles, five aspects each: rates are of 20 answers, intervals and tests of 4 puzzles."""
    rng = np.random.default_rng(1)
    inputs, labels = rng.integers(1, 5, (2, 4, 5, 9)).astype(np.uint8)
    dataset.write_groups(tmp_path, "test", "sudoku", inputs, labels, 5, height=3, width=3)
    puzzles = dataset.load(tmp_path, "test")
    answers = np.array(puzzles.labels)[None]
    answers[0, [0, 5, 6]] = 0
    other = np.array(puzzles.labels)[None]
    other[0, [0, 5, 10, 15]] = 0
    q = np.zeros((1, 20, 2))
    results = {
        name: judging.judge(solvers.Solver(Scripted(puzzles, table, q), 8), puzzles, 20)
        for name, table in (("a", answers), ("b", other))
    }
    report = puzzle_report.build(puzzles, 20, 1, results, {}, None)
    found = report["models"]["a"]
    assert (found["n"], found["success"], found["puzzles"]) == (20, 17, 4) and "lenient" not in found
    np.testing.assert_allclose(found["interval"], statistics.wilson(17 / 5, 4))
    pair = report["pairs"][0]  # group 0 alike, 1 better by b, 2 and 3 better by a
    assert (pair["a_only"], pair["b_only"]) == (2, 1)
    assert "The 20 examples are questions and augmentations of 4 puzzles" in tables.puzzles(report)


def test_recorded_are_examples_that_tell_models_apart():
    one = np.array([[1, 1, 1, 1, 0, 0, 1]], bool)
    assert judging.choose(one, 4).tolist() == [0, 1, 4, 5]
    two = np.array([[1, 1, 0, 0, 1], [1, 1, 1, 0, 1]], bool)
    assert judging.choose(two, 1).tolist() == [2] and judging.choose(two, 3).tolist() == [0, 2, 3]
    assert judging.choose(two, 99).tolist() == [0, 1, 2, 3, 4]


def test_an_example_that_comes_out_otherwise_than_it_was_judged_is_not_recorded(mazes, tmp_path, capsys):
    puzzles = kinds.load(mazes, "test")
    copying = {"m": solvers.of_baseline(lambda inputs, identifiers: inputs)}
    judged = {"m": np.array([False, True, False])}  # as other batches may round it
    judging.record(tmp_path / "t.npz", puzzles, copying, np.arange(3), judged)
    assert answers_file.load(tmp_path / "t.npz").index.tolist() == [0, 2]
    assert "1 of 3 examples came out otherwise" in capsys.readouterr().err


# ---------------------------------------------------------------- the command line with real models


def run(*words):
    return solve.main([str(word) for word in words])


def test_a_model_is_judged_on_what_it_answers(mazes, models, tmp_path, capsys):
    out = tmp_path / "report.json"
    files = [models / "first.npz", models / "second.npz"]
    words = ["--data", mazes, "--model", files[0], "--model", f"other={files[1]}"]
    assert run(*words, "--batch=8", "--record=5", "--out", out) is None
    report, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert list(report["models"]) == ["first", "other", "copy", "any shortest route"]
    assert (report["segments"], report["trained_segments"], report["kind"]) == (4, 4, "maze")
    assert report["models"]["first"]["step"] == 70 and report["data"]["seq_len"] == 25
    puzzles = dataset.load(mazes, "test")
    with np.load(tmp_path / report["traces"]) as file:
        traces = dict(file)
    assert traces["predictions"].shape == (2, 5, 4, 25) and traces["predictions"].dtype == np.uint8
    assert traces["models"].tolist() == ["first", "other"]
    assert (str(traces["kind"]), int(traces["height"]), int(traces["width"])) == ("maze", SIDE, SIDE)
    assert np.isnan(traces["q_continue"][1]).all() and not np.isnan(traces["q_continue"][0]).any()
    index = traces["index"]
    np.testing.assert_array_equal(traces["inputs"], puzzles.inputs[index])
    np.testing.assert_array_equal(traces["labels"], puzzles.labels[index])
    for m, (name, path) in enumerate(zip(("first", "other"), files, strict=True)):
        config, fields = json.loads(str(np.load(path)["config"])), report["models"][name]
        network = hrm_act.build(config["model"])
        params = params_of(config["model"], seed=len(path.stem))
        think = jax.jit(functools.partial(hrm_act.run_segments, network, segments=4))
        answers, q = think(params, puzzles.inputs.astype(np.int32), np.zeros(COUNT, np.int32))
        answers, q = np.asarray(answers), np.asarray(q)
        right = (answers == puzzles.labels).mean(axis=(1, 2))
        np.testing.assert_allclose([s["tokens"] for s in fields["segments"]], right, atol=1e-6)
        np.testing.assert_array_equal(traces["predictions"][m], answers[:, index].swapaxes(0, 1))
        np.testing.assert_allclose(traces["q_halt"][m], q[:, index, 0].T, rtol=1e-3, atol=1e-4)
        assert len(np.unique(answers)) > 1 and np.std(q) > 0.01
        table = params.pop("puzzles")
        fixed = params.pop("initial")
        count = sum(leaf.size for group in params.values() for leaf in group.values())
        assert (fields["parameters"], fields["puzzle_parameters"], len(fixed)) == (count, table.size, 2)
    assert f"maze 5x5 ({mazes}, test), examples 0:{COUNT}, 4 segments (trained with 4)" in printed
    assert "after so many segments" in printed and "any shortest route" in printed


def test_more_segments_than_in_training(mazes, models, tmp_path):
    out = tmp_path / "r.json"
    words = ["--data", mazes, "--split=train", "--model", models / "first.npz", "--examples=6"]
    run(*words, "--segments=9", "--out", out)
    report = json.loads(out.read_text())
    assert (report["segments"], report["trained_segments"], report["seeds"]) == (9, 4, [0, 6])
    longer = report["models"]["first"]["segments"]
    run(*words, "--out", out)
    usual = json.loads(out.read_text())["models"]["first"]["segments"]
    assert len(longer) == 9 and [s["tokens"] for s in longer[:4]] == [s["tokens"] for s in usual]
    assert (
        tables.shown(9) == [1, 2, 4, 8, 9] and tables.shown(16) == [1, 2, 4, 8, 16] and tables.shown(1) == [1]
    )


def test_baselines_alone_do_not_need_jax(mazes):
    code = (
        "import sys; from hrm_jax import solve; "
        f"solve.main(['--data', {str(mazes)!r}]); assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and "| copy " in rows[2] and "100.0" in rows[3]


def test_a_model_that_does_not_fit_is_refused_before_it_is_asked(mazes, models, tmp_path):
    for name, change, identifiers, message in (
        ("words", {"vocabulary": 11}, 1, "vocabulary 11, but vocab_size 6"),
        ("length", {"sequence": 81}, 1, "sequence 81, but seq_len 25"),
        ("table", {}, 3, "puzzle identifiers 3, but num_puzzle_identifiers 1"),
    ):
        fields, path = FIELDS | change, tmp_path / f"{name}.npz"
        model_file.write(path, params_of(fields, identifiers), {"model": fields, "segments": 4})
        with pytest.raises(RequestError, match=message):
            run("--data", mazes, "--model", path)
    params = params_of(FIELDS)
    params["head"]["kernel"] = params["head"]["kernel"][:, :5]
    arrays = {f"params/{name}": array for name, array in model_file.flatten(params).items()}
    np.savez(tmp_path / "torn.npz", config=json.dumps({"model": FIELDS, "segments": 4}), **arrays)
    with pytest.raises(RequestError, match=r"head/kernel is .* \[16, 5\]; its config wants floats \[16, 6\]"):
        run("--data", mazes, "--model", tmp_path / "torn.npz")
    model_file.write(tmp_path / "elman.npz", {"a": {"b": np.ones(2)}}, {"model": {"name": "elman"}})
    with pytest.raises(RequestError, match='holds a "elman"; wanted is one of hrm_act'):
        run("--data", mazes, "--model", tmp_path / "elman.npz")


@pytest.mark.parametrize("which", ["all", "head"])
def test_weights_that_overflow_are_refused_not_judged(mazes, tmp_path, which):
    """They are finite; what they compute is not, and its largest is no answer."""
    params = params_of(FIELDS)
    if which == "all":
        params = jax.tree.map(lambda array: 1e30 * array, params)
    else:  # logits alone: the Q values stay finite
        kernel = params["head"]["kernel"]
        params["head"]["kernel"] = np.where(np.arange(len(kernel))[:, None] % 2, 3.4e38, -3.4e38) + 0 * kernel
    model_file.write(tmp_path / "m.npz", params, {"model": FIELDS, "segments": 1})
    with pytest.raises(
        RequestError, match="m.npz: its weights overflow: logits or Q values are not"
    ) as error:
        run("--data", mazes, "--model", tmp_path / "m.npz", "--out", tmp_path / "r.json")
    assert "\n" not in str(error.value) and not (tmp_path / "r.json").exists()


def test_no_puzzle_table_fits_any_numbering(mazes, tmp_path):
    fields = FIELDS | {"puzzle_width": 0}
    model_file.write(tmp_path / "m.npz", params_of(fields), {"model": fields, "segments": 2})
    run("--data", mazes, "--model", tmp_path / "m.npz", "--examples=2")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--segments=0"], "--segments 0: at least 1"),
        (["--examples=24"], "--examples 24: .*/test has 23"),
        (["--batch=0"], "--batch 0: at least 1"),
        (["--record=-1"], "--record -1: 0 or more"),
        (["--record=1000000000"], "--record 1000000000: at most 1,000"),
        (["--segments=1000000000"], "--segments 1000000000: at most 10,000"),
        (["--examples=1000000000"], "--examples 1000000000: .*/test has 23"),
        (["--record=3"], "--record needs --model"),
        (["--model=nowhere.npz"], "nowhere.npz: no such file"),
        (["--model=copy=a.npz"], '"copy" cannot name a model'),
        (["--model=a/x.npz", "--model=b/x.npz"], 'two models are called "x"'),
        (["--split=valid"], "invalid choice: 'valid'"),
        (["--out=."], "not a file that can be written"),
    ],
)
def test_wrong_requests_are_refused_in_a_line(mazes, words, message):
    with pytest.raises(RequestError, match=message) as error:
        run("--data", mazes, *words)
    assert "\n" not in str(error.value)


def test_no_data_set_is_told_so(tmp_path):
    with pytest.raises(RequestError, match="has no split test/"):
        run("--data", tmp_path)


# ---------------------------------------------------------------- ARC


@pytest.fixture(scope="module")
def arc_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arc")
    rng = np.random.default_rng(0)
    grids = rng.integers(0, 10, (6, 2, 3, 4)).tolist()
    pairs = [{"input": a, "output": b} for a, b in grids]
    tasks = {"x": {"train": pairs[:1], "test": pairs[1:3]}, "y": {"train": pairs[3:4], "test": pairs[4:5]}}
    (folder / "evaluation").mkdir()
    for name, task in tasks.items():
        (folder / "evaluation" / f"{name}.json").write_text(json.dumps(task))
    words = ["--out", str(folder / "out"), "--source", str(folder), "--augment=9", "--jobs=1"]
    builders.main(["arc", *words])
    return folder / "out"


def test_arc_is_judged_by_its_votes(arc_set, capsys):
    """x: one of its two inputs; y: right by a bare majority of its ten augmentations."""
    puzzles = kinds.load(arc_set, "test")
    tasks = voting.load(puzzles)
    answers = np.array(puzzles.labels)[None]
    name_of = [tasks.asked[i][0] for i in puzzles.puzzle_of_example]
    of_x, of_y = ([i for i, name in enumerate(name_of) if name == wanted] for wanted in "xy")
    answers[0, of_x[0::2]] = puzzles.inputs[of_x[0::2]]
    answers[0, of_y[:4]] = puzzles.inputs[of_y[:4]]
    think = Scripted(puzzles, answers, np.zeros((1, len(name_of), 2)))
    results = {
        "half": judging.judge(solvers.Solver(think, 7), puzzles, len(name_of), keep=True),
        "copy": judging.judge(
            solvers.of_baseline(lambda inputs, identifiers: inputs), puzzles, len(name_of), keep=True
        ),
    }
    report = puzzle_report.build(puzzles, len(name_of), 1, results, {}, tasks)
    half, copy = (report["models"][name]["voting"] for name in results)
    assert half["pass@1"] == half["pass@2"] and half["pass@1"]["outcomes"] == "01"
    assert half["pass@2"]["rate"] == 0.5 and half["pass@2"]["share"] == 0.75
    np.testing.assert_allclose(half["pass@2"]["interval"], statistics.wilson(1, 2))
    assert copy["pass@2"]["success"] == 0 and copy["pass@2"]["share"] == 0
    assert report["models"]["half"]["puzzles"] == 2
    assert report["pairs"][0]["a_only"] == 1  # by task, not by augmentation
    assert "| pass@2 " in tables.puzzles(report)
    run("--data", arc_set)  # the whole way, with baselines only
    printed = capsys.readouterr()
    assert "Votes of all augmentations" in printed.out and "no votes" not in printed.err
    run("--data", arc_set, "--examples=3")
    assert "no votes: they need every example" in capsys.readouterr().err
    run("--data", arc_set, "--split=train")
    assert "votes" not in capsys.readouterr().out.lower()


def test_arc_models_have_a_row_for_every_identifier(arc_set, tmp_path, capsys):
    fields = FIELDS | SMALL
    params = params_of(fields, identifiers=21)
    digest = kinds.load(arc_set, "test").digest
    about = {"model": fields, "segments": 1, "identifiers": digest}
    model_file.write(tmp_path / "m.npz", params, about)
    run("--data", arc_set, "--model", tmp_path / "m.npz", "--out", tmp_path / "r.json", "--batch=30")
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found["models"]["m"]["voting"]) == {"pass@1", "pass@2"}
    assert found["world"].startswith("arc (") and "identifiers_checked" not in found["models"]["m"]
    assert "could not be checked" not in capsys.readouterr().out


@pytest.mark.parametrize("change", ["seed", "order", "builder"])
def test_models_that_know_other_identifiers_are_refused(arc_set, tmp_path, change):
    """As many, and of the same tasks: augmentations of another seed, another order, another builder's."""
    names, path = json.loads((arc_set / "identifiers.json").read_text()), tmp_path / "m.npz"
    data = Path(shutil.copytree(arc_set, tmp_path / "data"))
    other = {
        "seed": [name.replace("_t1_", "_t2_") for name in names],
        "order": [names[0], *names[11:], *names[1:11]],
        "builder": [*names[:-1], "somebody else's"],
    }[change]
    assert len(other) == len(names) and other != names
    fields = FIELDS | SMALL
    table = params_of(fields, identifiers=21)
    for stored in (names, other):
        about = {"model": fields, "segments": 1, "identifiers": dataset.digest(stored)}
        model_file.write(path, table, about)
        if stored == names:
            assert solvers.load(path, kinds.load(data, "test")).about.get("identifiers_checked") is None
        else:
            with pytest.raises(RequestError, match="21 puzzle identifiers stand for others") as error:
                run("--data", data, "--model", path)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["maze", "sudoku"])
def test_a_model_of_another_kind_of_puzzle_is_refused(mazes, tmp_path, kind):
    """Which alphabet and length alone do not tell: mazes and sudokus of 4x4 have 6 tokens on 16 cells."""
    fields, path = FIELDS | SMALL, tmp_path / "m.npz"
    puzzles = kinds.load(mazes, "test")
    fields |= {"vocabulary": puzzles.meta.vocab_size, "sequence": puzzles.meta.seq_len}
    model_file.write(path, params_of(fields), {"model": fields, "segments": 1, "kind": kind})
    if kind == puzzles.kind:
        assert solvers.load(path, puzzles)
    else:
        with pytest.raises(RequestError, match='of the kind "sudoku"; .* has "maze"'):
            solvers.load(path, puzzles)


@pytest.mark.parametrize("known", ["by neither", "by the data", "by the model"])
def test_identifiers_that_cannot_be_checked_are_said_to_be_so(arc_set, tmp_path, known, monkeypatch, capsys):
    """An older model file, or a folder without identifiers.json; the report says so wherever it is shown."""
    data, path = Path(shutil.copytree(arc_set, tmp_path / "data")), tmp_path / "m.npz"
    if known != "by the data":
        (data / "identifiers.json").unlink()
    digest = {"identifiers": "0" * 32} if known == "by the model" else {}
    fields = FIELDS | SMALL
    table = params_of(fields, identifiers=21)
    model_file.write(path, table, {"model": fields, "segments": 1, **digest})
    read, copy = solvers.FAMILIES["hrm_act"], solvers.of_baseline(lambda inputs, identifiers: inputs)

    def stand_in(*file):
        return replace(read(*file), solver=lambda segments, batch: copy)

    monkeypatch.setitem(solvers.FAMILIES, "hrm_act", stand_in)
    run("--data", data, "--model", path, "--out", tmp_path / "r.json")
    said = "Puzzle identifiers could not be checked: m."
    assert said in capsys.readouterr().out
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    report.main(["--report", str(tmp_path / "r.json")])
    report.main(["--report", str(tmp_path / "r.json"), "--out", str(tmp_path / "page")])
    assert said in capsys.readouterr().out and said in (tmp_path / "page/index.html").read_text()
