"""The ARC builder, from files to frames and back by votes, on tasks small enough to know every answer."""

import concurrent.futures
import itertools
import json
import os
import re
import shutil

import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import dataset, symmetries
from hrm_jax.puzzles.arc import build as builder
from hrm_jax.puzzles.arc import files as arc_files
from hrm_jax.puzzles.arc import grids, voting

A = [[0, 1, 2], [3, 0, 4]]
B = [[5, 5], [6, 7], [8, 9]]
C = [[1]]
D = [[2, 0, 0, 0], [0, 3, 0, 0]]


def pair(given, answer):
    return {"input": given, "output": answer}


def applied(augmentation, grid):
    """The augmented grid [h, w] of colours."""
    return np.array(augmentation.colours, np.uint8)[symmetries.apply(grid, augmentation.turn)]


# The judged task `two` has two test inputs; `leak` has one of them turned and recoloured as a demonstration.
TURNED = grids.Augmentation(3, (0, 9, 8, 7, 6, 5, 4, 3, 2, 1))
LEAK = pair(*(applied(TURNED, np.array(grid, np.uint8)).tolist() for grid in (D, A)))
TASKS = {
    "training": {
        "one": {"train": [pair(A, B), pair(B, C)], "test": [pair(C, A)]},
        "leak": {"train": [pair(B, A), LEAK], "test": [pair(D, D)]},
    },
    "evaluation": {
        "two": {"train": [pair(A, A), pair(B, B), pair(C, D)], "test": [pair(D, A), pair(B, D)]},
        "three": {"train": [pair(C, B)], "test": [pair(A, C)]},
    },
}


@pytest.fixture(autouse=True)
def threads():
    """Threads for processes: a process that runs jax is not to be forked."""
    with pytest.MonkeyPatch.context() as patch:
        pool = concurrent.futures.ThreadPoolExecutor
        patch.setattr(concurrent.futures, "ProcessPoolExecutor", lambda jobs, **_: pool(jobs))
        yield


def write_tasks(folder, tasks=TASKS):
    for name, members in tasks.items():
        (folder / name).mkdir(parents=True)
        for task, content in members.items():
            (folder / name / f"{task}.json").write_text(json.dumps(content))
    return folder


def write_combined(folder, tasks=TASKS):
    folder.mkdir()
    for name, members in tasks.items():
        solutions = {task: [test["output"] for test in c["test"]] for task, c in members.items()}
        challenges = {
            task: {"train": c["train"], "test": [{"input": test["input"]} for test in c["test"]]}
            for task, c in members.items()
        }
        (folder / f"arc-agi_{name}_challenges.json").write_text(json.dumps(challenges))
        (folder / f"arc-agi_{name}_solutions.json").write_text(json.dumps(solutions))
    return folder


def build(out, source, *words, augment=20, jobs=1):
    arguments = ["arc", "--out", str(out), "--source", str(source), f"--augment={augment}", f"--jobs={jobs}"]
    assert command.main([*arguments, *words]) is None
    return out


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arc")
    return build(folder / "out", write_tasks(folder / "source" / "data").parent)


# ---------------------------------------------------------------- symmetries and names


def test_what_is_undone_is_what_was_there():
    rng = np.random.default_rng(0)
    for turn, _ in itertools.product(range(8), range(5)):
        grid = rng.integers(0, 10, rng.integers(1, 31, 2)).astype(np.uint8)
        augmentation = grids.Augmentation(turn, (0, *(rng.permutation(9) + 1).tolist()))
        changed = applied(augmentation, grid)
        assert (changed == 0).sum() == (grid == 0).sum()
        np.testing.assert_array_equal(grids.undo(augmentation, changed), grid)
        name = grids.identifier("a_task", augmentation)
        assert grids.parse(name) == ("a_task", augmentation)
        assert grids.parse(re.sub("_(t[0-7])_", r"|||\1|||", name)) == ("a_task", augmentation)
    assert grids.identifier("x", TURNED) == "x_t3_0987654321"
    assert grids.parse("x") == ("x", grids.IDENTITY)
    assert grids.parse("x_t3_0000000000")[0] == "x_t3_0000000000"  # no permutation, so part of a name


def test_augmentations_differ_and_end_where_there_are_no_more():
    pictures = [np.array(g, np.uint8) for g in (A, B)]
    task = grids.Task("t", (tuple(pictures),), ())
    found = grids.augmentations(task, 200, np.random.default_rng(0))
    assert len(found) == 201 and found[0] == grids.IDENTITY
    looks = {tuple((applied(a, g).shape, applied(a, g).tobytes()) for g in pictures) for a in found}
    assert len(looks) == 201
    black = grids.Task("t", ((np.zeros((2, 3), np.uint8),) * 2,), ())
    assert len(grids.augmentations(black, 1000, np.random.default_rng(0))) == 2  # lying and standing
    one = np.array([[3]], np.uint8)
    assert len(grids.augmentations(grids.Task("t", ((one, one),), ()), 1000, np.random.default_rng(0))) == 9


def test_canonical_is_the_same_for_augmentations_alone():
    rng = np.random.default_rng(3)
    first = tuple(np.array(g, np.uint8) for g in (A, B))
    for turn in range(8):
        other = grids.Augmentation(turn, (0, *(rng.permutation(9) + 1).tolist()))
        assert grids.canonical(tuple(applied(other, g) for g in first)) == grids.canonical(first)
    assert grids.canonical(first[::-1]) != grids.canonical(first)
    assert grids.canonical((first[0], np.where(first[1] == 5, 6, first[1]))) != grids.canonical(first)
    assert grids.canonical((first[0], np.where(first[1] == 5, 0, first[1]))) != grids.canonical(first)


# ---------------------------------------------------------------- frames


def frame_by_hand(grid, row, column):
    frame = np.zeros((30, 30), np.uint8)
    height, width = np.shape(grid)
    frame[row : row + height, column : column + width] = np.array(grid) + 2
    if row + height < 30:
        frame[row + height, column : column + width] = 1
    if column + width < 30:
        frame[row : row + height, column + width] = 1
    return frame


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (30, 4), (5, 30), (30, 30)])
def test_frames_are_grids_with_ends(shape):
    rng = np.random.default_rng(1)
    grid = rng.integers(0, 10, shape).astype(np.uint8)
    colours = np.array([[0, *(rng.permutation(9) + 1)] for _ in range(6)])
    corners = rng.integers(31 - np.array(shape), size=(6, 2))
    corners[0] = 30 - np.array(shape)
    for tokens, map_, (row, column) in zip(
        grids.frames(grid, colours, corners), colours, corners, strict=True
    ):
        np.testing.assert_array_equal(tokens.reshape(30, 30), frame_by_hand(map_[grid], row, column))


def unframe(tokens):
    """(row, column, grid) of a frame; None where it is not that of any grid."""
    frame = tokens.reshape(30, 30)
    rows, columns = np.nonzero(frame >= 2)
    row, column = rows.min(), columns.min()
    grid = frame[row : rows.max() + 1, column : columns.max() + 1] - 2
    assert (frame_by_hand(grid, row, column) == frame).all()
    return row, column, grid


def test_every_example_is_a_pair_of_its_task_under_its_name(built):
    names = json.loads((built / "identifiers.json").read_text())
    content = {task: c for members in TASKS.values() for task, c in members.items()}
    assert names[0] == "<blank>" and len(set(names)) == len(names)
    assert [n for n in names[1:] if n in content] == ["three", "two", "leak", "one"]  # by set, by name
    wanted = {
        "train": {
            "one": [pair(A, B), pair(B, C), pair(C, A)],
            "leak": [pair(B, A), pair(D, D)],  # without the answer to `two`
            "two": TASKS["evaluation"]["two"]["train"],
            "three": TASKS["evaluation"]["three"]["train"],
        },
        "test": {name: c["test"] for name, c in TASKS["evaluation"].items()},
    }
    for split, tasks in wanted.items():
        puzzles = dataset.load(built, split)
        assert (puzzles.kind, puzzles.meta.vocab_size, puzzles.meta.seq_len) == ("arc", 12, 900)
        assert puzzles.meta.num_puzzle_identifiers == len(names) and puzzles.meta.ignore_label_id == 0
        assert len(puzzles.group_indices) - 1 == len(tasks)
        sizes, moved = set(), 0
        for puzzle, identifier in enumerate(puzzles.identifiers):
            task, augmentation = grids.parse(names[identifier])
            rows = range(puzzles.puzzle_indices[puzzle], puzzles.puzzle_indices[puzzle + 1])
            assert len(rows) == len(tasks[task])
            still = 0
            for row, expected in zip(rows, tasks[task], strict=True):
                given, answer = unframe(puzzles.inputs[row]), unframe(puzzles.labels[row])
                assert given[:2] == answer[:2]
                still += given[:2] == (0, 0)
                for found, side in ((given, "input"), (answer, "output")):
                    assert grids.undo(augmentation, found[2]).tolist() == expected[side]
            assert still >= 1 and (split == "train" or still == len(rows))
            moved += len(rows) - still
            sizes.add(len(rows))
        assert (moved > 60) == (split == "train")
        groups = [
            {grids.parse(names[i])[0] for i in puzzles.identifiers[a:b]}
            for a, b in itertools.pairwise(puzzles.group_indices)
        ]
        assert [len(g) for g in groups] == [1] * len(tasks)
    # What is asked goes by the identifiers whose demonstrations were trained.
    trained, asked = (set(dataset.load(built, split).identifiers.tolist()) for split in dataset.SPLITS)
    assert asked < trained and trained == set(range(1, len(names)))


def test_a_pair_stands_anywhere_that_both_of_it_fit(built):
    puzzles = dataset.load(built, "train")
    corners = np.array([unframe(row)[:2] for row in puzzles.inputs])
    assert corners.max(axis=0).min() >= 24 and corners.min() == 0
    big = grids.Task("t", ((np.ones((30, 7), np.uint8), np.ones((2, 9), np.uint8)),) * 2, ())
    variants, arrays = grids.examples(big, {"seed": 0, "augment": 15})
    for split, sides in arrays.items():
        assert all(side.shape == (len(variants), 2 if split == "train" else 0, 900) for side in sides)
    for side in arrays["train"]:
        for variant, row in zip(variants, side, strict=True):
            row_or_column = 1 if variant.turn in (1, 3, 6, 7) else 0
            assert unframe(row[0])[row_or_column] == unframe(row[1])[row_or_column] == 0


# ---------------------------------------------------------------- the same, whatever happens


def test_layouts_processes_and_machines_make_no_difference(built, tmp_path):
    combined = write_combined(tmp_path / "combined")
    assert files(build(tmp_path / "other", combined, "--names=hrm", jobs=3)) == files(built)
    again = build(tmp_path / "seed", combined, "--seed=1")
    assert files(again)["train/all__inputs.npy"] != files(built)["train/all__inputs.npy"]


def test_a_killed_build_goes_on(built, tmp_path, monkeypatch):
    source, out = write_tasks(tmp_path / "source"), tmp_path / "out"
    put, filled = builder.put, []

    def killed(work, settings, item):
        if item[0] == 2 and not filled.count("killed"):
            filled.append("killed")
            raise KeyboardInterrupt
        before = len(list(work.glob("*.done")))
        put(work, settings, item)
        filled.append(len(list(work.glob("*.done"))) - before)

    monkeypatch.setattr(builder, "put", killed)
    words = ["arc", "--out", str(out), "--source", str(source), "--augment=20", "--jobs=1"]
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        command.main(words)
    assert not out.exists()
    with pytest.raises(RequestError, match=r"was begun with other settings \(augment 20, now 21\)"):
        command.main([*words, "--augment=21"])
    (inputs,) = (tmp_path / "out.parts").glob("train_inputs.npy")
    spoilt = bytearray(inputs.read_bytes())
    spoilt[200] ^= 1  # a cell of the first task, which is made again, seal and all
    inputs.write_bytes(spoilt)
    (tmp_path / "out.parts/test_labels.npy").write_bytes(b"")
    (tmp_path / "out.parts/000001.done").write_text("x")
    assert command.main(words) is None
    assert filled == [1, 1, "killed", 0, 0, 1, 1]  # two of four tasks were there already
    assert files(out) == files(built)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == ["out"]
    assert command.main(words) is None  # nothing to do


def test_answers_are_named_and_left_out(tmp_path, capsys):
    build(tmp_path / "out", write_tasks(tmp_path / "source"), augment=1)
    printed = capsys.readouterr()
    assert "being the answer to a judged task: leak train 1\n" in printed.err
    assert "evaluation 2, training 2; judged: evaluation" in printed.out


def test_tasks_for_the_votes_are_the_files(built):
    assert json.loads((built / "test_puzzles.json").read_text()) == TASKS["evaluation"]


def test_sets_can_be_chosen(tmp_path):
    tasks = {**TASKS, "concept": {"four": {"train": [pair(A, B)], "test": [pair(B, A)]}}}
    source = write_combined(tmp_path / "combined", tasks)
    out = build(
        tmp_path / "out", source, "--sets", "concept", "training", "--evaluation", "concept", augment=2
    )
    assert list(json.loads((out / "test_puzzles.json").read_text())) == ["four"]
    assert dataset.load(out, "train").meta.total_groups == 3
    hidden = source / "arc-agi_test_challenges.json"
    hidden.write_text(json.dumps({"five": {"train": [pair(A, B)], "test": [{"input": B}]}}))
    assert set(arc_files.read([source])) == set(tasks)  # and says that test is left out
    with pytest.raises(RequestError, match="the solutions .* are missing"):
        arc_files.read([source], ["test"])


GOOD = {"train": [pair(A, B)], "test": [pair(C, D)]}


@pytest.mark.parametrize(
    "name", ["x_t3_0123456789", "a|||b", "x|||t0|||0987654321", os.fsdecode(b"x\xff"), "<blank>"]
)
def test_tasks_that_are_named_like_augmentations_are_refused(tmp_path, name):
    """Their answers would be another task's votes; so would those of half a name that no evaluator takes."""
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / f"{name}.json").write_text(json.dumps(GOOD))
    with pytest.raises(RequestError, match="cannot name a task") as error:
        build(tmp_path / "out", tmp_path)
    str(error.value).encode()


LITTER = ("._x.json", ".DS_Store", "x.json~", ".#x.json", "Thumbs.db", ".x.json.swp", "#x.json#", "~$x.json")
BINS = ("__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information")


@pytest.mark.parametrize("write", [write_tasks, write_combined])
def test_what_systems_and_editors_leave_in_a_folder_are_no_data(tmp_path, write):
    """A copy of a task that would be another one, and folders that would be sets."""
    source = write(tmp_path / "source")
    clean = {name: [task.name for task in tasks] for name, tasks in arc_files.read([source]).items()}
    for name in BINS:
        (source / name).mkdir()
        (source / name / "one.json").write_text(json.dumps(GOOD))
    for folder in [path for path in source.rglob("*") if path.is_dir()] + [source]:
        for name in LITTER:
            (folder / name).write_text(json.dumps(GOOD))
    (source / "._arc-agi_training_challenges.json").write_bytes(b"\0\5\26\7")
    (source / "~$arc-agi_training_challenges.json").write_text("{}")
    assert {name: [task.name for task in tasks] for name, tasks in arc_files.read([source]).items()} == clean


@pytest.mark.parametrize("write", [write_tasks, write_combined])
def test_names_of_files_are_in_letters_of_any_case(tmp_path, write):
    source = write(tmp_path / "source")
    read = {name: [task.name for task in tasks] for name, tasks in arc_files.read([source]).items()}
    for path in list(source.rglob("*.json")):
        path.rename(path.with_suffix(".JSON"))
    assert {name: [task.name for task in tasks] for name, tasks in arc_files.read([source]).items()} == read


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not a readable task of ARC"),
        ([1], "expected object, got array"),
        ({"train": [], "test": [pair(A, B)]}, "train is []; expected array of length >= 1"),
        ({"train": [pair(A, B)]}, "missing required field test"),
        (GOOD | {"test": [{"input": A}]}, "missing required field output"),
        (GOOD | {"train": [pair(A, [[1] * 31])]}, "expected array of length <= 30"),
        (GOOD | {"train": [pair([[10]], A)]}, "train[0].input[0][0] is 10; expected int <= 9"),
        (GOOD | {"train": [pair([[-1]], A)]}, "train[0].input[0][0] is -1; expected int >= 0"),
        (GOOD | {"train": [pair([[1, 2], [3]], A)]}, "train[0].input has rows of different lengths"),
        (GOOD | {"train": [pair([], A)]}, "train[0].input is []; expected array of length >= 1"),
        (GOOD | {"train": [pair([["a"]], A)]}, 'train[0].input[0][0] is "a"; expected int'),
        (GOOD | {"train": [pair([[0.5]], A)]}, "train[0].input[0][0] is 0.5; expected int"),
        (GOOD | {"train": [7]}, "train[0] is 7; expected object"),
    ],
)
def test_bad_files_are_refused_in_a_line(tmp_path, content, message):
    (tmp_path / "evaluation").mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "evaluation" / "x.json").write_text(text)
    with pytest.raises(RequestError, match=re.escape(message)) as error:
        build(tmp_path / "out", tmp_path)
    assert "\n" not in str(error.value) and "x.json" in str(error.value)
    assert not list(tmp_path.glob("out*"))


def test_bad_requests_are_refused_in_a_line(tmp_path):
    source = write_tasks(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    wrong = {
        "no such folder": ([], tmp_path / "nothing"),
        "no ARC files; wanted are": ([], tmp_path / "empty"),
        '--sets trainin: there are evaluation, training; did you mean "training"?': (
            ["--sets", "trainin"],
            source,
        ),
        "no set to judge": (["--sets", "training"], source),
        "--evaluation x: read were evaluation, training": (["--evaluation", "x"], source),
        "--jobs 0: at least 1": (["--jobs=0"], source),
        "--augment -1: 0 or more": (["--augment=-1"], source),
        "--augment 1000000000: at most 100,000": (["--augment=1000000000"], source),
    }
    for message, (words, place) in wrong.items():
        with pytest.raises(RequestError, match=re.escape(message)):
            build(tmp_path / "out", place, *words)
    twice = write_tasks(tmp_path / "twice", {"training2": {"two": GOOD}})
    with pytest.raises(RequestError, match="task two is in evaluation and in training2; choose with --sets"):
        arc_files.read([source, twice])
    combined = write_combined(tmp_path / "combined")
    shutil.copy(combined / "arc-agi_training_challenges.json", combined / "concept_training_challenges.json")
    with pytest.raises(RequestError, match="_challenges.json are both of the set training: give them as two"):
        arc_files.read([combined])
    (combined / "concept_training_challenges.json").unlink()
    (combined / "arc-agi_evaluation_solutions.json").write_text(json.dumps({"two": [A], "three": [C]}))
    with pytest.raises(RequestError, match="not one solution for every test input of task two"):
        arc_files.read([combined])
    assert not list(tmp_path.glob("out*"))


# ---------------------------------------------------------------- votes


def crop_by_hand(tokens):
    """As the original's rule says: row by row, the columns shrinking."""
    frame, columns, best, size = tokens.reshape(30, 30), 30, 0, (0, 0)
    for rows in range(1, 31):
        for column in range(columns):
            if not 2 <= frame[rows - 1, column] <= 11:
                columns = column
                break
        if rows * columns > best:
            best, size = rows * columns, (rows, columns)
    return frame[: size[0], : size[1]] - 2


def test_crop_is_the_largest_rectangle_from_the_corner():
    rng = np.random.default_rng(0)
    answers = np.where(
        rng.random((300, 900)) < 0.07, rng.integers(0, 2, (300, 900)), rng.integers(2, 12, (300, 900))
    )
    answers[0] = 0
    answers[1] = 5
    answers[2:10] = [frame_by_hand(np.full((k, 9 - k), 3), 0, 0).ravel() for k in range(1, 9)]
    found = voting.crop(answers.astype(np.uint8))
    for tokens, grid in zip(answers, found, strict=True):
        np.testing.assert_array_equal(grid, crop_by_hand(tokens))
    assert found[0].size == 0 and found[1].shape == (30, 30) and found[4].shape == (3, 6)


def test_votes_of_right_answers_win_under_every_augmentation(built):
    puzzles = dataset.load(built, "test")
    tasks = voting.load(puzzles)
    votes = tasks.count(puzzles.labels, np.zeros(len(puzzles.labels)))
    assert votes == {tries: [[True], [True, True]] for tries in (1, 2)}
    copied = tasks.count(puzzles.inputs, np.zeros(len(puzzles.labels)))
    assert copied[2] == [[False], [False, False]]
    used = {tasks.asked[i][1].turn for i in puzzles.identifiers}
    assert used == set(range(8))


def test_two_tries_a_tie_and_half_a_task(built):
    """`two`: its first input is right at the second try by confidence, its second one always."""
    puzzles = dataset.load(built, "test")
    tasks = voting.load(puzzles)
    names = [tasks.asked[i][0] for i in puzzles.puzzle_of_example]
    rows = [i for i, name in enumerate(names) if name == "two"]
    first, second = rows[0::2], rows[1::2]
    answers, q = np.array(puzzles.labels), np.full(len(names), -1.0)
    assert len(first) == 21
    answers[first] = 0  # the empty grid, 7 votes
    answers[first[:7]] = puzzles.inputs[first[:7]]  # 7 votes for the input
    answers[first[7:14]] = puzzles.labels[first[7:14]]  # 7 votes for the answer
    for confidence, tries in (((3, 2, 1), {2}), ((1, 2, 3), {2}), ((1, 3, 2), {1, 2}), ((2, 1, 3), set())):
        q[first] = np.repeat([confidence[0], confidence[1], confidence[2]], 7)
        votes = tasks.count(answers, q)
        order = list(tasks.tests).index("two")
        assert {n for n in (1, 2) if all(votes[n][order])} == tries
        assert votes[1][order][1] and votes[1][1 - order] == [True]
    answers[first[:8]] = puzzles.inputs[first[:8]]
    answers[second[:10]] = 0  # 11 to 10: votes count before confidence
    q[second] = [9] * 10 + [-9] * 11
    votes = tasks.count(answers, q)
    assert votes[1][order] == [False, True]


def test_confidence_is_the_mean_of_sigmoids():
    """One vote of two very sure, one very unsure: 0.5; two of them at 0.6: 0.6."""
    assert voting.rank({b"a": [1.0, 0.0], b"b": [0.6, 0.6], b"c": [1.0]}) == [b"b", b"a", b"c"]
    assert voting.rank({b"x": [0.5], b"y": [0.5]}) == [b"x", b"y"]


def copy_of(folder, out, names=None, tests=None):
    """A data set with other names, and without test_puzzles.json or with another."""
    shutil.copytree(folder, out)
    if names:
        (out / "identifiers.json").write_text(json.dumps(names))
    (out / "test_puzzles.json").unlink()
    if tests is not None:
        (out / "test_puzzles.json").write_text(json.dumps(tests))
    return out


def right_votes(folder):
    puzzles = dataset.load(folder, "test")
    return voting.load(puzzles).count(puzzles.labels, np.zeros(len(puzzles.labels)))


def test_folders_of_the_originals_builders_can_be_voted_on(built, tmp_path):
    """TRM's has other names, HRM's no file of tasks: the tests are its examples that are not augmented."""
    names = json.loads((built / "identifiers.json").read_text())
    of_trm = [re.sub(r"_(t[0-7])_(\d{10})$", r"|||\1|||\2", name) for name in names]
    assert of_trm != names
    trm = copy_of(built, tmp_path / "trm", of_trm, TASKS["evaluation"])
    hrm = copy_of(built, tmp_path / "hrm")
    for folder in (trm, hrm):
        assert {n: sorted(map(len, found)) for n, found in right_votes(folder).items()} == {
            1: [1, 2],
            2: [1, 2],
        }
        assert all(all(map(all, found)) for found in right_votes(folder).values())
        assert dataset.load(folder, "test").digest == dataset.load(built, "test").digest
    puzzles = dataset.load(hrm, "test")
    found, said = voting.load(puzzles).tests, voting.load(dataset.load(built, "test")).tests
    for name, pairs in said.items():
        for pair_found, pair_said in zip(found[name], pairs, strict=True):
            assert all((a == b).all() for a, b in zip(pair_found, pair_said, strict=True))
    (hrm / "identifiers.json").unlink()
    assert voting.load(dataset.load(hrm, "test")) is None
    augmented = [re.sub("^(two|three)$", r"\1_t0_0987654321", name) for name in names]
    assert voting.load(dataset.load(copy_of(built, tmp_path / "no", augmented), "test")) is None


def test_tasks_that_are_not_those_of_the_examples_are_refused(built, tmp_path):
    names, tasks = json.loads((built / "identifiers.json").read_text()), TASKS["evaluation"]
    other = {**tasks, "three": {**tasks["three"], "test": [pair(A, D)]}}  # another answer
    for number, tests in enumerate(({"two": tasks["two"]}, {**tasks, "four": tasks["two"]}, other)):
        folder = copy_of(built, tmp_path / str(number), tests=tests)
        with pytest.raises(RequestError, match="differ in tasks, as in (three|four)"):
            right_votes(folder)
    with pytest.raises(RequestError, match="identifiers.json: 84 names; there are 85 puzzle identifiers"):
        dataset.load(copy_of(built, tmp_path / "short", names[:-1]), "test")
    with pytest.raises(RequestError, match="test_puzzles.json: not a file of ARC's tasks.*expected object"):
        right_votes(copy_of(built, tmp_path / "list", tests=[]))


# ---------------------------------------------------------------- the originals' own evaluators


def ballot_by_hand(folder, answers, q, split_name):
    """(task, input) -> grids ranked, by the rule that both evaluators share (hrm_act.md, 4.5).

    `split_name` takes a name apart: (task, turn, colours); what is undone votes for what was asked.
    """
    names = json.loads((folder / "identifiers.json").read_text())
    load = {part: np.load(folder / f"test/all__{part}.npy") for part in ("inputs", "puzzle_identifiers")}
    counts = np.diff(np.load(folder / "test/all__puzzle_indices.npy"))
    turned_back = (0, 3, 2, 1, 4, 5, 6, 7)
    votes = {}
    for name, given, answer, trust in zip(
        np.repeat([names[i] for i in load["puzzle_identifiers"]], counts), load["inputs"], answers,
        1 / (1 + np.exp(-q)), strict=True,
    ):  # fmt: skip
        task, turn, colours = split_name(str(name))
        old = np.argsort(list(map(int, colours)))
        asked, vote = (
            json.dumps(old[symmetries.apply(crop_by_hand(tokens), turned_back[turn])].tolist())
            for tokens in (given, answer)
        )
        votes.setdefault((task, asked), {}).setdefault(vote, []).append(float(trust))
    return {
        key: sorted(found, key=lambda grid: (len(found[grid]), np.mean(found[grid])), reverse=True)
        for key, found in votes.items()
    }


def of_trm(folder, answers, q):
    """TRM's: names split at |||, the tasks of test_puzzles.json; the share of test inputs, over tasks."""

    def split_name(name):
        if "|||" not in name:
            return name, 0, "0123456789"
        task, turn, colours = name.split("|||")
        return task, int(turn[1:]), colours

    ranked = ballot_by_hand(folder, answers, q, split_name)
    tasks = json.loads((folder / "test_puzzles.json").read_text())
    shares = [
        [json.dumps(test["output"]) in ranked.get((name, json.dumps(test["input"])), [])[:2]
         for test in task["test"]]
        for name, task in tasks.items()
    ]  # fmt: skip
    return float(np.mean(list(map(np.mean, shares))))


def of_hrm(folder, answers, q):
    """HRM's: names split at _, a name without is a task, whose examples are the tests; all of a task."""

    def split_name(name):
        return (*name.split("_t")[:1], int(name[-12]), name[-10:]) if "_" in name else (name, 0, "0123456789")

    ranked = ballot_by_hand(folder, answers, q, split_name)
    names = json.loads((folder / "identifiers.json").read_text())
    load = {p: np.load(folder / f"test/all__{p}.npy") for p in ("inputs", "labels", "puzzle_identifiers")}
    counts = np.diff(np.load(folder / "test/all__puzzle_indices.npy"))
    solved = {}
    for name, *tokens in zip(
        np.repeat([names[i] for i in load["puzzle_identifiers"]], counts), load["inputs"], load["labels"],
        strict=True,
    ):  # fmt: skip
        if "_" not in str(name):
            given, answer = (json.dumps(crop_by_hand(frame).tolist()) for frame in tokens)
            solved.setdefault(str(name), []).append(answer in ranked[str(name), given][:2])
    return float(np.mean([all(found) for found in solved.values()]))


@pytest.mark.parametrize("write, reader", [(write_tasks, "hrm"), (write_combined, "trm")])
def test_the_evaluator_of_a_folders_names_agrees_with_ours(tmp_path, write, reader):
    """Examples that are not augmented are wrong, one input of `two` always: half the tasks, .75 of inputs.

    The evaluator of the other names takes every augmentation for a task of its own.
    """
    folder = build(tmp_path / "out", write(tmp_path / "source"))
    names = json.loads((folder / "identifiers.json").read_text())
    assert ("two|||t" in "".join(names)) == (reader == "trm")
    puzzles = dataset.load(folder, "test")
    tasks = voting.load(puzzles)
    answers, task_of = np.array(puzzles.labels), [tasks.asked[i][0] for i in puzzles.puzzle_of_example]
    for row, identifier in enumerate(puzzles.puzzle_of_example):
        if tasks.asked[identifier][1] == grids.IDENTITY:
            answers[row] = 0
    first_inputs = [row for row, task in enumerate(task_of) if task == "two"][0::2]
    answers[first_inputs] = 0
    q = np.random.default_rng(0).normal(size=len(answers))
    votes = tasks.count(answers, q)[2]
    evaluators = {"hrm": of_hrm, "trm": of_trm}
    ours = {
        "trm": np.mean([np.mean(of_task) for of_task in votes]), "hrm": np.mean([all(v) for v in votes])
    }  # fmt: skip
    assert ours == {"trm": 0.75, "hrm": 0.5}
    assert evaluators.pop(reader)(folder, answers, q) == ours[reader]
    ((name, other),) = evaluators.items()
    assert other(folder, answers, q) != ours[name]
