"""A kind of puzzle is one record, a family of solvers one entry: a toy of each goes the whole way."""

import importlib.resources
import itertools
import json
import types
from pathlib import Path

import numpy as np
import pytest

from hrm_jax import report, solve
from hrm_jax.artefacts import model_file
from hrm_jax.judging import solvers
from hrm_jax.puzzles import __main__ as builders
from hrm_jax.puzzles import build as building
from hrm_jax.puzzles import dataset, kinds, symmetries
from hrm_jax.puzzles.maze import grids

# ---------------------------------------------------------------- symmetries


@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_the_eight_symmetries_have_the_originals_numbers(shape):
    """Those of HRM's common.py, in which 7 is a quarter turn and then a left-right flip."""
    rng = np.random.default_rng(0)
    grid = rng.permutation(shape[0] * shape[1]).reshape(shape)
    original = [
        grid, np.rot90(grid), np.rot90(grid, 2), np.rot90(grid, 3), np.fliplr(grid), np.flipud(grid), grid.T,
        np.fliplr(np.rot90(grid)),
    ]  # fmt: skip
    for which, expected in enumerate(original):
        np.testing.assert_array_equal(symmetries.apply(grid, which), expected)
        stack = np.stack([grid, 2 * grid])[None]
        np.testing.assert_array_equal(symmetries.apply(stack, which)[0], [expected, 2 * expected])
        np.testing.assert_array_equal(symmetries.apply(expected, symmetries.INVERSE[which]), grid)
        if which == 7:
            np.testing.assert_array_equal(expected, grid.T[::-1, ::-1])  # as TRM's names of ARC tasks mean it
        assert (expected.shape != shape) == (which in symmetries.TRANSPOSING and shape == (2, 3))
    assert len({view.tobytes() for view in original}) == len(original) == symmetries.COUNT


# ---------------------------------------------------------------- a toy kind


def toy_module():
    """Rows of four cells, 1 or 2; the label is the row reversed, and leniently any cyclic shift of it."""
    __doc__ = "Toys, for a test."

    def part(settings, number):
        rows = np.array(list(itertools.product([1, 2], repeat=4)), np.uint8)[1:-1]
        split = (np.arange(len(rows)) % 3 == 0).astype(np.uint8)
        return {"split": split, "inputs": rows, "labels": np.ascontiguousarray(rows[:, ::-1])}

    def build(options):
        building.check(options)
        settings = {"kind": "toy", "train": options.train, "test": options.test, "seed": options.seed}

        def fill(work, folder):
            wanted = options.train, options.test
            found = building.gather(work, settings, part, wanted, 1, "toys", 2)
            for split, arrays in zip(dataset.SPLITS, found, strict=True):
                pair = arrays["inputs"][:, None], arrays["labels"][:, None]
                dataset.write_groups(folder, split, "toy", *pair, 3, height=2, width=2)

        rules = building.Rules("toy", lambda height, width: 3)
        building.produce(options.out, settings, rules, fill)

    def add_arguments(parser):
        building.add_arguments(parser)
        parser.set_defaults(augment=0)

    def statistics(puzzles, other):
        return {"toys": len(puzzles.inputs), "toys of the other split": len(other.inputs)}

    def shifted(puzzles, index, answers):
        labels = puzzles.labels[index]
        return np.any([(answers == np.roll(labels, n, axis=-1)).all(axis=-1) for n in range(4)], axis=0)

    def reverse_and_shift(puzzles):
        return lambda inputs, identifiers: np.roll(inputs[:, ::-1], 1, axis=1)

    def votes(puzzles):
        """Two tasks, the even and the odd examples, each a question."""

        def count(answers, q_halt):
            right = (answers == puzzles.labels).all(axis=1)
            return {1: [right[0::2].tolist(), right[1::2].tolist()]}

        return types.SimpleNamespace(count=count)

    return types.SimpleNamespace(**locals())


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The record of the kind, with its drawing, in the table."""
    module, drawing = toy_module(), tmp_path / "toy.js"
    drawing.write_text("PUZZLES.toy = { draw: drawNumbers, legend: [], mark: 77 };\n")
    kind = kinds.Kind(
        summary="toys",
        builder=module,
        statistics=module.statistics,
        published=kinds.Published(3, 4),
        lenient=kinds.Lenient(module.shifted, short="any shift", note="any shift of the label."),
        baselines={"reverse and shift": module.reverse_and_shift},
        votes=module.votes,
        one_size=False,
        drawing=str(drawing),
    )
    monkeypatch.setitem(kinds.KINDS, "toy", kind)
    return kind


def test_a_kind_is_built_counted_solved_and_drawn_by_its_record(toy, tmp_path, capsys, monkeypatch):
    data, out = tmp_path / "toys", tmp_path / "r.json"
    builders.main(["toy", "--out", str(data), "--train=6", "--test=4"])
    builders.main(["statistics", str(data)])
    assert "toys of the other split" in capsys.readouterr().out
    family_of_copies(monkeypatch, tmp_path / "copies.npz")
    words = ["--data", data, "--model", tmp_path / "copies.npz", "--record", 2, "--out", out]
    solve.main([str(word) for word in words])
    printed, found = capsys.readouterr().out, json.loads(out.read_text())
    assert found["kind"] == "toy" and found["world"] == f"toy ({data}, test)"
    assert list(found["models"]) == ["copies", "copy", "reverse and shift"]
    shift = found["models"]["reverse and shift"]
    assert shift["lenient"]["rate"] == 1 > shift["rate"] and shift["voting"]["pass@1"]["tasks"] == 2
    assert "Lenient: any shift." in printed and "pass@1 share %" in printed
    report.main(["--report", str(out)])
    assert capsys.readouterr().out.strip() in printed
    monkeypatch.setattr("hrm_jax.reporting.figures.available", lambda: False)
    report.main(["--report", str(out), "--out", str(tmp_path / "page")])
    text = (tmp_path / "page/index.html").read_text()
    assert "mark: 77" in text and '"kind":"toy"' in text and "Lenient: any shift of the label." in text
    assert "drawSudoku" not in text


def test_a_kind_that_a_data_set_does_not_say_is_recognised_by_its_record(toy, tmp_path):
    cells = np.resize(np.array([1, 2, 2], np.uint8), (5, 1, 4))
    dataset.write_groups(tmp_path, "test", "", cells, cells, 3, height=1, width=4)
    assert kinds.of(kinds.load(tmp_path, "test")) is toy


def test_every_kind_has_its_own_name_and_a_drawing_that_is_there():
    assets = importlib.resources.files("hrm_jax.reporting") / "assets"
    for name, kind in kinds.KINDS.items():
        assert f"PUZZLES.{name} = {{" in (assets / kind.drawing).read_text()
    names = kinds.baseline_names()
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------- toy families


def family_of_copies(monkeypatch, path):
    """A family whose models answer with the input after every segment; a model file of it."""

    def load(path, config, params, puzzles):
        def solver(segments, batch):
            def answer(inputs, identifiers):
                return np.repeat(inputs[None], segments, axis=0), np.full((segments, len(inputs), 2), np.nan)

            return solvers.Solver(answer, batch or 3)

        return solvers.Model(solver, trained_segments=4, about={"parameters": 1})

    monkeypatch.setitem(solvers.FAMILIES, "copies", load)
    model_file.write(path, {"a": {"b": np.ones(1)}}, {"model": {"name": "copies"}})


def walker(path, config, params, puzzles):
    """A policy that walks to a neighbour that is nearer to the goal by Manhattan distance."""

    def walk(maze):
        height, width = maze.shape
        (here,), (goal,) = np.argwhere(maze == grids.START), np.argwhere(maze == grids.GOAL)
        marked = maze.copy()
        for _ in range(maze.size):
            moves = [here + step for step in ((1, 0), (0, 1), (-1, 0), (0, -1))]
            inside = [m for m in moves if (m >= 0).all() and (m < (height, width)).all()]
            ways = [m for m in inside if maze[tuple(m)] in (grids.FREE, grids.GOAL)]
            nearer = [m for m in ways if np.abs(m - goal).sum() < np.abs(here - goal).sum()]
            if not nearer or (nearer[0] == goal).all():
                break
            here = nearer[0]
            marked[tuple(here)] = grids.ROUTE
        return marked

    def answer(inputs, identifiers):
        mazes = inputs.reshape(-1, puzzles.height, puzzles.width)
        known = [
            walk(maze) if (maze == grids.START).any() else maze for maze in mazes
        ]  # the last are padding
        return np.stack(known).reshape(1, *inputs.shape), np.full((1, len(inputs), 2), np.nan)

    return solvers.Model(lambda segments, batch: solvers.Solver(answer, batch or 8))


def test_a_policy_that_walks_has_a_seat_next_to_a_network(tmp_path, monkeypatch, capsys):
    free = np.ones((5, 4, 4), bool)
    free[:, 1, 2] = False
    inputs, labels = grids.tokens(free, np.arange(5), np.full(5, 15))
    dataset.write_groups(tmp_path, "test", "maze", inputs[:, None], labels[:, None], 6, height=4, width=4)
    monkeypatch.setitem(solvers.FAMILIES, "walker", walker)
    model_file.write(tmp_path / "walks.npz", {"a": {"b": np.ones(1)}}, {"model": {"name": "walker"}})
    family_of_copies(monkeypatch, tmp_path / "copies.npz")
    models = [f"--model={tmp_path / name}.npz" for name in ("walks", "copies")]
    solve.main([f"--data={tmp_path}", *models, "--record=3", f"--out={tmp_path}-r.json"])
    found = json.loads(Path(f"{tmp_path}-r.json").read_text())
    assert found["models"]["walks"]["lenient"]["rate"] == 1 and found["segments"] == 4
    assert found["models"]["copies"]["rate"] == 0
    with np.load(tmp_path.parent / found["traces"]) as traces:
        assert traces["predictions"].shape == (2, 3, 4, 16)  # the walk is repeated to the last segment
        assert (traces["predictions"][0] == traces["predictions"][0, :, :1]).all()
    assert "| walks" in capsys.readouterr().out
