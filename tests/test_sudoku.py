"""Sudokus: the solver against brute force, uniqueness, symmetries, and the data sets that are built."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import dataset
from hrm_jax.puzzles.sudoku import build, solver, symmetry
from hrm_jax.puzzles.sudoku.build import generate

ROOT = Path(__file__).resolve().parent.parent
BOX = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
HARD = (  # "the hardest", by A. Inkala, 2012, and its solution
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
    "812753649943682175675491283154237896369845721287169534521974368438526917796318452",
)


def _digits(text):
    return np.array([int(c) for c in text.replace(".", "0")], np.uint8)


def _right(grid, size):
    """Whether every row, column and box of a grid [S] has every digit, by sets."""
    high, wide = BOX[size]
    g = np.asarray(grid).reshape(size, size)
    boxes = [g[r : r + high, c : c + wide] for r in range(0, size, high) for c in range(0, size, wide)]
    return all(set(np.ravel(unit)) == set(range(1, size + 1)) for unit in [*g, *g.T, *boxes])


def _brute(puzzle, size):
    """All solutions, cell by cell, nothing clever."""
    high, wide = BOX[size]
    grid = puzzle.reshape(size, size).copy()

    def fill(cell):
        if cell == size * size:
            yield tuple(grid.ravel().tolist())
            return
        r, c = divmod(cell, size)
        if puzzle[cell]:
            yield from fill(cell + 1)
            return
        for digit in range(1, size + 1):
            corner = (
                slice(r // high * high, r // high * high + high),
                slice(c // wide * wide, c // wide * wide + wide),
            )
            if digit not in grid[r] and digit not in grid[:, c] and digit not in grid[corner]:
                grid[r, c] = digit
                yield from fill(cell + 1)
                grid[r, c] = 0

    return list(fill(0))


# ---------------------------------------------------------------- solver


def test_there_are_288_grids_of_4x4():
    rule = solver.rules(4)
    grids = {tuple(solver.grid(rule, s).tolist()) for s in solver.solutions(rule, rule.full, [0])}
    assert len(grids) == 288 and grids == set(_brute(np.zeros(16, np.uint8), 4))
    assert all(_right(grid, 4) for grid in grids)


@pytest.mark.parametrize("size,clues", [(4, 5), (6, 14)])
def test_the_solver_finds_what_brute_force_finds(size, clues):
    rng = np.random.default_rng(0)
    rule = solver.rules(size)
    kinds = set()
    for _ in range(40):
        full = solver.grid(rule, next(solver.solutions(rule, rule.full, [0], rng)))
        puzzle = np.where(rng.permutation(size * size) < clues, full, 0).astype(np.uint8)
        if rng.random() < 0.3:  # a clue that may be wrong
            cell = rng.integers(size * size)
            puzzle[cell] = rng.integers(1, size + 1)
        expected = _brute(puzzle, size) if _consistent(puzzle, size) else []
        solutions = solver.solutions(rule, solver.candidates(rule, puzzle), [0])
        found = [tuple(solver.grid(rule, s).tolist()) for s in itertools.islice(solutions, 5000)]
        assert len(found) == len(set(found)) and set(found) == set(expected)
        solution, _, only = solver.solve(puzzle, size)
        assert only == (len(expected) == 1) and (solution is None) == (not expected)
        kinds.add(min(len(expected), 2))
    assert kinds == {0, 1, 2}


def _consistent(puzzle, size):
    """No clue twice in a unit (brute force looks at blanks only)."""
    high, wide = BOX[size]
    for a, b in itertools.combinations(np.flatnonzero(puzzle), 2):
        (ra, ca), (rb, cb) = divmod(a, size), divmod(b, size)
        box = (ra // high, ca // wide) == (rb // high, cb // wide)
        if puzzle[a] == puzzle[b] and (ra == rb or ca == cb or box):
            return False
    return True


def test_known_puzzles_are_solved_and_rated():
    solution, rating, only = solver.solve(_digits(HARD[0]), 9)
    assert "".join(map(str, solution)) == HARD[1] and only
    assert rating > 10
    again = solver.solve(_digits(HARD[0]), 9)
    assert again[1] == rating  # a rating is a property of the puzzle
    easy = _digits(HARD[1])
    easy[::4] = 0
    assert solver.solve(easy, 9)[1:] == (0, True)
    assert solver.solve(np.zeros(81, np.uint8), 9)[2] is False


# ---------------------------------------------------------------- puzzles


@pytest.mark.parametrize("size,count", [(4, 60), (6, 20), (9, 2)])
def test_generated_sudokus_are_minimal(size, count):
    rng = np.random.default_rng(size)
    for _ in range(count):
        puzzle, full, rating = generate(size, rng, None)
        assert _right(full, size) and (puzzle[puzzle > 0] == full[puzzle > 0]).all() and rating >= 0
        if size < 9:
            assert _brute(puzzle, size) == [tuple(full.tolist())]
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert not solver.solve(fewer, size)[2]


def test_the_number_of_clues_is_as_asked():
    rng = np.random.default_rng(0)
    made = [generate(6, rng, (11, 14)) for _ in range(60)]
    clues = [int((m[0] > 0).sum()) for m in made if m]
    assert set(clues) == {11, 12, 13, 14} and len(clues) > 50
    assert all(solver.solve(m[0], 6)[2] for m in made if m)
    # 8 clues are rarely reached: such a puzzle is dropped, never delivered with more.
    assert {int((m[0] > 0).sum()) for m in (generate(6, rng, (8, 9)) for _ in range(60)) if m} <= {
        8,
        9,
    }


# ---------------------------------------------------------------- symmetries


@pytest.mark.parametrize("size", [4, 6, 9])
def test_copies_are_the_puzzle_under_one_symmetry(size):
    rng = np.random.default_rng(1)
    puzzle, full, _ = generate(size, rng, None)
    pairs = symmetry.shuffled(np.stack([puzzle, full]), size, rng, 200)
    assert pairs.shape == (200, 2, size * size)
    assert len({pair.tobytes() for pair in pairs}) > 190 // (1 + (size == 4))
    for copy, answer in pairs[:20]:
        assert _right(answer, size) and (copy[copy > 0] == answer[copy > 0]).all()
        solution, _, only = solver.solve(copy, size)
        assert only and (solution == answer).all()
    assert len(set(symmetry.invariant(pairs[:, 0], pairs[:, 1], size).tolist())) == 1
    # Two cells of one row: transposed with probability 1/2, never where boxes are not square.
    marks = np.eye(2, size * size, dtype=np.uint8)
    places = (symmetry.shuffled(marks, size, rng, 1000) > 0).argmax(axis=2) // size
    straight = (places[:, 0] == places[:, 1]).mean()
    assert straight == 1 if size == 6 else 0.43 < straight < 0.57


def test_the_invariant_tells_different_puzzles_apart():
    rng = np.random.default_rng(3)
    made = [generate(6, rng, (12, 16)) for _ in range(150)]
    values = symmetry.invariant(np.array([m[0] for m in made]), np.array([m[1] for m in made]), 6)
    assert len(set(values.tolist())) == 150
    puzzle, full, _ = made[0]
    less = puzzle.copy()
    less[np.flatnonzero(puzzle)[0]] = 0
    a, b = symmetry.invariant(np.stack([puzzle, less]), np.stack([full, full]), 6)
    assert a != b


def test_digits_rows_columns_and_bands_are_all_permuted():
    grid = np.arange(81) // 9 * 10 + np.arange(81) % 9  # not a sudoku: tells where cells come from
    rng = np.random.default_rng(0)
    marks = [np.where(grid == g, 1, 0).astype(np.uint8) for g in (0, 1, 3, 10, 30)]
    moved = symmetry.shuffled(np.stack(marks), 9, rng, 3000)
    places = (moved > 0).argmax(axis=2)  # [copies, mark]
    assert len(set(places[:, 0].tolist())) == 81
    row, column = np.divmod(places, 9)
    straight = row[:, 0] == row[:, 1]  # (0,0) and (0,1) still in one row: not transposed
    assert 0.45 < straight.mean() < 0.55
    assert (row[straight, 0] == row[straight, 2]).all()
    same_stack = column[straight] // 3
    assert (same_stack[:, 0] == same_stack[:, 1]).all() and (same_stack[:, 0] != same_stack[:, 2]).all()
    digits = moved.max(axis=2)[:, 0]
    assert set(digits.tolist()) == set(range(1, 10))


# ---------------------------------------------------------------- data sets


def _build(out, *arguments):
    return command.main(["sudoku", "--out", str(out), "--jobs", "1", *map(str, arguments)])


def _bytes(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


SMALL = ("--size", 4, "--givens", "4:8", "--train", 60, "--test", 20, "--augment", 3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("sudoku") / "four"
    _build(out, *SMALL)
    return out


def test_a_data_set_is_what_was_asked_for(small, capsys):
    train, test = dataset.load(small, "train"), dataset.load(small, "test")
    assert (train.kind, train.meta.vocab_size, train.meta.seq_len, train.height) == ("sudoku", 6, 16, 4)
    assert train.inputs.shape == (240, 16) and train.group_indices.tolist() == list(range(0, 241, 4))
    assert test.inputs.shape == (20, 16) and test.meta.total_groups == 20
    for puzzles in (train, test):
        for question, answer in zip(puzzles.inputs - np.uint8(1), puzzles.labels - np.uint8(1), strict=True):
            assert _brute(question, 4) == [tuple(answer.tolist())]
    base = train.inputs[::4]
    assert len(np.unique(base, axis=0)) == 60 and len(np.unique(test.inputs, axis=0)) == 20
    clues = (base > 1).sum(axis=1)
    assert clues.min() >= 4 and clues.max() <= 8 and len(set(clues.tolist())) > 2
    sides = [
        set(symmetry.invariant(p.inputs - np.uint8(1), p.labels - np.uint8(1), 4).tolist())
        for p in (train, test)
    ]
    assert not sides[0] & sides[1]
    groups = symmetry.invariant(train.inputs - np.uint8(1), train.labels - np.uint8(1), 4).reshape(60, 4)
    assert (groups == groups[:, :1]).all()
    assert len(np.load(small / "train/all__ratings.npy")) == 60
    command.main(["statistics", str(small)])
    message = capsys.readouterr().out
    assert "clues, mean" in message and "backtracks, mean" in message and f"{small} test" in message


def test_the_same_command_makes_the_same_bytes_also_with_more_processes(small, tmp_path, capsys):
    _build(tmp_path / "again", *SMALL, "--jobs", 2)
    assert _bytes(tmp_path / "again") == _bytes(small)
    _build(small, *SMALL)
    assert "there already" in capsys.readouterr().out
    _build(tmp_path / "other", *SMALL, "--seed", 1)
    assert (
        _bytes(tmp_path / "other")[small.relative_to(small) / "train/all__inputs.npy"]
        != _bytes(small)[small.relative_to(small) / "train/all__inputs.npy"]
    )


def test_an_interrupted_build_goes_on(small, tmp_path, monkeypatch, capfd):
    out, part, asked = tmp_path / "s", build.part, []
    monkeypatch.setitem(build.PART, 4, 16)
    _build(tmp_path / "whole", *SMALL)

    def until_the_third(settings, number):
        asked.append(number)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return part(settings, number)

    monkeypatch.setattr(build, "part", until_the_third)
    assert run_command(lambda _: _build(out, *SMALL)) == 130 and not out.exists()
    assert "the same command goes on" in capfd.readouterr().err
    (tmp_path / "s.parts" / "000002.npz.partial").write_bytes(b"PK\x03\x04")  # as of a killed process
    with pytest.raises(RequestError, match="s.parts was begun with other settings"):
        _build(out, *SMALL, "--seed", 5)
    assert _build(out, *SMALL) is None
    assert asked[:4] == [0, 1, 2, 2] and sorted(os.listdir(tmp_path)) == ["s", "whole"]
    assert _bytes(out) == _bytes(tmp_path / "whole")


def _runs(process):
    """Whether a process exists and is no zombie, which only waits for init to look."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_build_that_was_killed_goes_on_and_leaves_no_process_behind(tmp_path):
    arguments = ["--size", "6", "--train", "400", "--test", "130", "--augment", "1"]
    command_line = [sys.executable, "-m", "hrm_jax.puzzles", "sudoku", *arguments, "--jobs", "2", "--out"]
    first = subprocess.Popen([*command_line, str(tmp_path / "s")], cwd=ROOT, stderr=subprocess.DEVNULL)
    parts = tmp_path / "s.parts"
    while len(list(parts.glob("*.npz"))) < 2:
        assert first.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    first.kill()
    first.wait()
    assert len(children) == 2 and not (tmp_path / "s").exists()
    deadline = time.monotonic() + 10
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for name in ("s", "whole"):
        subprocess.run([*command_line, str(tmp_path / name)], cwd=ROOT, check=True, capture_output=True)
    assert _bytes(tmp_path / "s") == _bytes(tmp_path / "whole")


def test_more_puzzles_than_there_are_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PATIENCE", 3)
    with pytest.raises(RequestError, match="0 of 5 train and 0 of 5 test 4x4 sudokus found, and no new one"):
        _build(tmp_path / "s", "--size", 4, "--train", 5, "--test", 5, "--rating", "50:")


def _csv(folder, rows, split="train", header="source,question,answer,rating"):
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.csv").write_text(header + "\n" + "".join(f"{row}\n" for row in rows))


def test_the_hubs_files_are_converted(tmp_path):
    rng = np.random.default_rng(0)
    made = symmetry.shuffled(np.stack([_digits(HARD[0]), _digits(HARD[1])]), 9, rng, 12)
    texts = [["".join(map(str, grid)).replace("0", ".") for grid in pair] for pair in made]
    rows = [f"puzzles5_forum,{q},{a},{10 * i}" for i, (q, a) in enumerate(texts)]
    _csv(tmp_path / "hub", rows[:10])
    _csv(tmp_path / "hub", rows[10:], "test")
    _build(tmp_path / "out", "--csv", tmp_path / "hub", "--augment", 2, "--subsample", 4, "--rating", "20:")
    train, test = dataset.load(tmp_path / "out", "train"), dataset.load(tmp_path / "out", "test")
    assert (
        train.meta.vocab_size == 11
        and train.kind == "sudoku"
        and train.group_indices.tolist() == [0, 3, 6, 9, 12]
    )
    known = {(g + 1).tobytes() for g in made[2:10, 0]}
    assert {row.tobytes() for row in train.inputs[::3]} < known
    np.testing.assert_array_equal(test.inputs, made[10:, 0] + 1)
    np.testing.assert_array_equal(test.labels, made[10:, 1] + 1)
    assert np.load(tmp_path / "out/test/all__ratings.npy").tolist() == [100, 110]
    assert json.loads((tmp_path / "out/build.json").read_text())["subsample"] == 4


def test_files_that_are_not_the_hubs_are_refused(tmp_path):
    question, answer = HARD
    wrong = {
        "lacks the columns rating": ("source,question,answer", [f"a,{question},{answer}"]),
        "line 2: the question has 80 signs, not 81": (None, [f"a,{question[1:]},{answer},3"]),
        "row 1 has the sign 'x'": (None, [f"a,x{question[1:]},{answer},3"]),
        "the rating is '4294967296'; an integer of 32 bits": (None, [f"a,{question},{answer},4294967296"]),
        "line 3: the rating is 'hard'": (None, [f"a,{question},{answer},1", f"a,{question},{answer},hard"]),
        "row 2 has an answer that is no full sudoku": (
            None,
            [f"a,{question},{answer},1", f"a,{question},{question},1"],
        ),
        "has no rows": (None, []),
        "--subsample 9: .* has 1 rows": (None, [f"a,{question},{answer},1"]),
    }
    for message, (header, rows) in wrong.items():
        _csv(tmp_path / "hub", rows, header=header or "source,question,answer,rating")
        _csv(tmp_path / "hub", [f"a,{question},{answer},1"], "test")
        with pytest.raises(RequestError, match=message):
            _build(tmp_path / "out", "--csv", tmp_path / "hub", "--subsample", 9 if "--sub" in message else 1)
        assert not (tmp_path / "out").exists()
