"""Lattice mazes: their geometry, generators, files and walkers."""

import collections
import functools
import io
import json
import types
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax import report, solve
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import lattice as drawing
from hrm_jax.puzzles import __main__ as builders
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.puzzles.lattice import answers, files, law, published, walks
from hrm_jax.puzzles.lattice.generators import GENERATORS
from hrm_jax.worlds import lattice


def some_mazes(count, size, share=0.55, seed=0):
    """Masks of mazes whose edges are open by chance, with cycles and cut-off cells; starts and goals."""
    rng = np.random.default_rng(seed)
    down, right = rng.random((2, count, size, size)) < share
    down[:, -1], right[:, :, -1] = False, False
    start, goal = rng.integers(size * size, size=(2, count))
    return lattice.masks(np, down, right), start, goal


def searched(open, goal):
    """Moves to the goal by a breadth-first search, cell by cell."""
    size = lattice.side(open)
    found, queue = {goal: 0}, collections.deque([goal])
    while queue:
        cell = queue.popleft()
        for move, shift in enumerate(lattice.shifts(size)):
            if open[cell] >> move & 1 and cell + shift not in found:
                found[cell + shift] = found[cell] + 1
                queue.append(cell + shift)
    return [found.get(cell, lattice.UNREACHABLE) for cell in range(size * size)]


def walked(open, moves, start, goal):
    """Moves of a policy until the goal, one by one; the sentinel if it never is there within 4 N."""
    size, here = lattice.side(open), start
    for step in range(4 * len(open) + 1):
        if here == goal:
            return step
        if not 0 <= moves[here] < 4 or not open[here] >> moves[here] & 1:
            return lattice.UNREACHABLE
        here += lattice.shifts(size)[moves[here]]
    return lattice.UNREACHABLE


@pytest.mark.parametrize("size", [2, 5, 8])
def test_distances_labels_and_roll_outs_are_those_of_plain_loops(size):
    open, start, goal = some_mazes(60, size)
    found = lattice.distances(np, open, goal)
    assert found.tolist() == [searched(*maze) for maze in zip(open, goal.tolist(), strict=True)]
    labels = lattice.labels(np, open, found)
    assert ((labels == 0) == (found == lattice.UNREACHABLE)).all() and (labels[found == 0] == 5).all()
    arrived = lattice.roll_out(np, open, labels.astype(int) - 1, start, goal)
    assert (arrived == found[np.arange(60), start]).all()  # by the canonical moves, the shortest way
    best = lattice.optimal_moves(np, open, found)
    assert (best.argmax(-1) + 1)[best.any(-1)].tolist() == labels[best.any(-1)].tolist()
    rng = np.random.default_rng(1)
    wrong = rng.random(open.shape) < 0.1
    moves = np.where(wrong, rng.integers(-1, 5, open.shape), labels.astype(int) - 1)
    expected = [walked(*maze) for maze in zip(open, moves, start.tolist(), goal.tolist(), strict=True)]
    assert lattice.roll_out(np, open, moves, start, goal).tolist() == expected
    assert len(set(expected)) > 2


def test_the_geometry_is_the_same_under_jit():
    open, start, goal = some_mazes(40, 6)

    @jax.jit
    def under_jit(open, start, goal):
        found = lattice.distances(jnp, open, goal, jax.lax.while_loop)
        labels = lattice.labels(jnp, open, found)
        shown = lattice.tokens(jnp, open, start, goal)
        return found, labels, shown, lattice.roll_out(jnp, open, labels.astype(int) - 1, start, goal)

    found = lattice.distances(np, open, goal)
    labels, shown = lattice.labels(np, open, found), lattice.tokens(np, open, start, goal)
    expected = found, labels, shown, lattice.roll_out(np, open, labels.astype(int) - 1, start, goal)
    for ours, theirs in zip(under_jit(open, start, goal), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype or theirs.dtype == np.int64


def test_tokens_say_edges_start_and_goal():
    open, start, goal = some_mazes(40, 6)
    goal = np.where(start == goal, (goal + 1) % 36, goal)
    shown = lattice.tokens(np, open, start, goal)
    assert shown.min() >= 1 and shown.max() < lattice.VOCABULARY
    assert (lattice.masks_of(shown) == open).all() and (lattice.masks_of(0 * shown) == 0).all()
    assert (lattice.marked(shown, lattice.STARTS) == start).all()
    assert (lattice.marked(shown, lattice.GOALS) == goal).all()
    down, right = lattice.connections(np, open).swapaxes(0, 1)
    assert (lattice.masks(np, down, right) == open).all()
    assert not down[:, -1].any() and not right[:, :, -1].any()


# ---------------------------------------------------------------- generators

HERE = Path(__file__).parent
STATISTICS = HERE / "lattice_statistics.npz"  # of maze-dataset's own mazes, 12x12
SHARES = {"percolation": 0.4, "dfs_percolation": 0.1}


def by_numpy(generator, count, least=2, size=12, seed=0):
    """The first `count` mazes."""
    rng, found = np.random.default_rng(seed), []
    while sum(map(len, (mazes.open for mazes in found))) < count:
        found.append(law.draw(rng, 1000, size, generator, least, SHARES.get(generator, 0.4)))
    return law.Mazes(*map(np.concatenate, zip(*found, strict=True))).of(slice(count))


@functools.cache
def by_jax(generator, count, least=2, size=12, seed=0):
    share = SHARES.get(generator, 0.4)
    mazes = drawing.draw(jax.random.key(seed), count, size, generator, jnp.int32(least), share)
    return law.Mazes(*map(np.asarray, mazes))


def statistics(mazes):
    open, start, goal = mazes
    _, labels, lengths = law.examples(mazes)
    assert (lattice.roll_out(np, open, labels.astype(int) - 1, start, goal) == lengths - 1).all()
    return {
        "labelled": (labels > 0).mean(),
        "degrees": np.bincount(np.bitwise_count(open).reshape(-1), minlength=5),
        "lengths": np.bincount(lengths, minlength=145),
        "edges": lattice.connections(np, open).sum(axis=0),
        "mazes": len(open),
    }


def differences(found, generator):
    """How far from maze-dataset's: shares of degrees, lengths of paths, edges (the largest |z|)."""
    with np.load(STATISTICS) as known:
        theirs = {name: known[f"{generator}_{name}"] for name in ("degrees", "lengths", "edges")}
    mazes = theirs["lengths"].sum()
    shares = [each["degrees"] / each["degrees"].sum() for each in (found, theirs)]
    curves = [each["lengths"].cumsum() / each["lengths"].sum() for each in (found, theirs)]
    p, q = found["edges"] / found["mazes"], theirs["edges"] / mazes
    spread = np.sqrt((p * (1 - p) / found["mazes"] + q * (1 - q) / mazes).clip(1e-9))
    return (
        np.abs(shares[0] - shares[1]).max(),
        np.abs(curves[0] - curves[1]).max(),
        np.abs((p - q) / spread).max(),
    )


SLOW_TO_COMPILE = ("wilson", "percolation", "dfs_percolation")


@pytest.mark.parametrize(
    ("generator", "draw"),
    [(generator, by_numpy) for generator in GENERATORS]
    + [
        pytest.param(name, by_jax, marks=[pytest.mark.slow] * (name in SLOW_TO_COMPILE))
        for name in GENERATORS
    ],
)
def test_a_generator_has_the_law_of_maze_dataset(generator, draw):
    """The measure of pot.md §5.5, on 3,000 mazes; trees have n² - 1 edges and are connected."""
    mazes = draw(generator, 3000)
    found = statistics(mazes)
    degrees, lengths, edges = differences(found, generator)
    assert degrees < 0.004 and lengths < 0.045 and edges < 4.5
    if "percolation" not in generator:
        assert found["edges"].sum() == 3000 * 143
        assert found["labelled"] == 1
    if generator == "dfs":
        assert 0.22 < found["lengths"][50:].sum() / 3000 < 0.265
        tree = mazes.open[:500]
        end = law.distances(tree, mazes.goal[:500]).argmax(axis=1)
        with np.load(STATISTICS) as known:
            wide = known["dfs_diameters"] @ np.arange(145) / known["dfs_diameters"].sum()
        assert abs(law.distances(tree, end).max(axis=1).mean() + 1 - wide) < 1.5


@pytest.mark.parametrize("generator", ["kruskal", "wilson", "dfs_percolation"])
def test_the_measure_of_a_law_tells_other_laws_apart(generator):
    degrees, lengths, edges = differences(statistics(by_numpy(generator, 3000)), "dfs")
    assert degrees > 0.08 and lengths > 0.2 and edges > 7


@pytest.mark.parametrize(("generator", "least"), [("dfs", 50), ("percolation", 12)])
def test_as_many_mazes_as_asked_with_paths_as_long_as_asked(generator, least):
    mazes = by_numpy(generator, 300, least)
    inputs, labels, length = law.examples(mazes)
    assert len(inputs) == 300 and least <= length.min() < least + 3
    for found, shown in zip(law.read(inputs), mazes, strict=True):
        np.testing.assert_array_equal(found, shown)


def test_as_many_are_drawn_under_jit_however_long_and_nothing_is_compiled_again():
    short = by_jax("dfs", 3000)
    before = drawing.draw._cache_size()
    long = by_jax("dfs", 3000, 30, seed=1)
    for one, other in zip(by_jax.__wrapped__("dfs", 3000), short, strict=True):
        np.testing.assert_array_equal(one, other)
    assert drawing.draw._cache_size() == before
    assert [law.examples(mazes.of(slice(-300, None)))[2].min() for mazes in (short, long)] == [2, 30]
    assert len({open.tobytes() for mazes in (short, long) for open in mazes.open}) == 6000


def test_who_asks_for_long_paths_can_know_how_many_mazes_have_them():
    assert 0.22 < law.acceptance(12, "dfs", 50) < 0.27 and law.acceptance(6, "dfs", 37) == 0


# ---------------------------------------------------------------- the kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of mazes with cycles and cut-off cells."""
    out = tmp_path_factory.mktemp("data") / "mazes"
    words = "--size 6 --generator percolation --share 0.6 --shortest 4 --train 20 --test 40 --jobs 1"
    builders.main(["lattice", "--out", str(out), *words.split()])
    return out


def test_a_data_set_has_the_mazes_that_were_asked_for(folder, capsys):
    sets = [kinds.load(folder, split) for split in dataset.SPLITS]
    assert [len(puzzles.inputs) for puzzles in sets] == [20, 40]
    lattices = [{open.tobytes() for open in lattice.masks_of(puzzles.inputs)} for puzzles in sets]
    assert not lattices[0] & lattices[1]
    assert {puzzles.kind for puzzles in sets} == {"lattice"} and (sets[1].labels == 0).any()
    assert dataset.extra(sets[1], "ratings").min() == 4
    builders.main(["statistics", str(folder)])
    assert "lattices shared with train                   0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "array", "token"),
    [(0, "inputs", 48), (7, "inputs", 0), (3, "inputs", 17), ("start", "labels", 5), ("start", "labels", 0)],
)
def test_what_is_no_maze_with_its_labels_is_refused(folder, tmp_path, cell, array, token):
    found = kinds.load(folder, "test")
    pair = {"inputs": found.inputs.copy(), "labels": found.labels.copy()}
    pair[array][5, lattice.marked(found.inputs[5], 1) if cell == "start" else cell] = token
    size = {"height": 6, "width": 6}
    dataset.write_groups(tmp_path, "test", "lattice", *(a[:, None] for a in pair.values()), 49, **size)
    with pytest.raises(RequestError, match="example 5 needs open edges with two sides"):
        kinds.load(tmp_path, "test")


def test_labels_are_checked_as_a_search_would(folder):
    """Every label of every cell in turn is changed to every other."""
    found = kinds.load(folder, "test")
    inputs, labels = np.asarray(found.inputs[:3]), np.asarray(found.labels[:3])
    cell, token = (places.reshape(-1) for places in np.meshgrid(np.arange(36), np.arange(7)))
    for shown, known in zip(inputs, labels, strict=True):
        changed = np.tile(known, (len(cell), 1))
        changed[np.arange(len(cell)), cell] = token
        wrong = answers.wrong(np.tile(shown, (len(cell), 1)), changed, 6, 6)
        assert (wrong == (known[cell] != token)).all()
    swapped = inputs.copy()
    swapped[:, [0, 1]] = swapped[:, [1, 0]]
    assert answers.wrong(swapped, labels, 6, 6).any() and not answers.wrong(inputs, labels, 6, 6).any()
    longer = lattice.masks(np, np.array([[[1, 1], [0, 0]]], bool), np.array([[[1, 0], [1, 0]]], bool))
    maze = law.Mazes(longer, np.array([2]), np.array([1]))
    shown, best, _ = law.examples(maze)
    for detour in ([[4, 5, 4, 1]], [[2, 5, 4, 1]], [[4, 5, 1, 3]]):
        assert answers.wrong(shown, np.array(detour, np.uint8), 2, 2) == ([detour[0]] != best.tolist())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size=1"], "--size"),
        (["--size=6", "--shortest=37"], "2 to 36 cells are possible at 6x6"),
        (["--shortest=1"], "2 to 144"),
        (["--share=0", "--generator=percolation"], "--share 0.0: more than 0"),
        (["--share=0.5"], "--share: only percolation"),
        (["--size=2", "--train=500", "--jobs=1"], "ask for fewer"),
    ],
)
def test_what_cannot_be_built_is_refused(tmp_path, words, message):
    with pytest.raises(RequestError, match=message):
        builders.main(["lattice", "--out", str(tmp_path / "x"), *words])
    assert not (tmp_path / "x").exists()


def test_answers_are_measured_by_rolling_them_out(folder):
    puzzles, kind = kinds.load(folder, "test"), kinds.KINDS["lattice"]
    mazes, labels = law.read(puzzles.inputs), np.asarray(puzzles.labels)
    steps = law.distances(mazes.open, mazes.goal)
    best = lattice.optimal_moves(np, mazes.open, steps)
    other = np.where(best.any(-1), 4 - best[..., ::-1].argmax(-1), labels)  # the last optimal move of each
    other[:, :1] += 2 * (labels[:, :1] == 0)
    assert (other != labels).any()
    rng = np.random.default_rng(0)
    chance = rng.integers(0, 7, labels.shape)
    found = kind.measuring.of(puzzles, slice(None), np.stack([labels, other, chance]))
    right = kind.lenient.right(puzzles, slice(None), np.stack([labels, other, chance]))
    assert right[:2].all() and not right[2].all()
    assert (found["success"][:2] == 1).all() and (found["efficiency"][:2] == 1).all()
    assert np.nanmin(found["forks"][:2]) == 1 > np.nanmean(found["forks"][2]) > 0.1
    for k in range(len(labels)):
        arrived = walked(mazes.open[k], chance[k] - 1, mazes.start[k], mazes.goal[k])
        assert found["success"][2, k] == (arrived < lattice.UNREACHABLE)
        assert right[2, k] == (arrived == steps[k, mazes.start[k]])
    part = kind.measuring.part(puzzles)
    cells = steps[np.arange(40), mazes.start] + 1
    assert (part == 1 + (cells > 9) + (cells > 24)).all()


def test_walls_that_are_not_seen_are_walked_through_by_the_legacy_protocol_alone():
    """Straight to the goal through a wall: nothing by the rules, everything as published."""
    closed = lattice.masks(np, np.zeros((1, 3, 3), bool), np.array([[[1, 0, 0], [1, 1, 0], [1, 1, 0]]], bool))
    down = np.array([[[1, 0, 0], [1, 0, 0], [0, 0, 0]]], bool)
    open = closed | lattice.masks(np, down, np.zeros((1, 3, 3), bool))
    mazes = law.Mazes(open, np.array([1]), np.array([7]))
    inputs, labels, length = law.examples(mazes)
    puzzles = types.SimpleNamespace(inputs=inputs, labels=labels, height=3, width=3)
    south = np.full((1, 9), 1 + lattice.SOUTH)
    found = kinds.KINDS["lattice"].measuring.of(puzzles, slice(None), south)
    assert length == 5 and found["success"] == 0 and found["pot_success"] == 1 == found["pot_optimal"]


# ---------------------------------------------------------------- walkers


def walks_of(mazes, prefer, budget, slack=1.0):
    inputs, labels, length = law.examples(mazes)
    found = answers.walked(walks.walk(mazes, prefer, budget), length - 1, slack)
    return 100 * found.arrived.mean(), 100 * found.optimal.mean()


def test_walkers_have_the_floors_of_unfiltered_mazes():
    """Those of 4,000 12x12 depth-first mazes with 4 N moves; by walls."""
    mazes = by_numpy("dfs", 2000)
    assert walks_of(mazes, walks.uniform(0), 4 * 144) == pytest.approx((57, 10.6), abs=4)
    assert walks_of(mazes, walks.manhattan, 4 * 144) == pytest.approx((33.6, 24.0), abs=4)


def test_a_walk_prefers_what_it_has_not_visited():
    """Into a dead end and back out again: the way on is then the only one left."""
    right = np.array([[[1, 1, 1, 0]] + [[0] * 4] * 3], bool)
    mazes = law.Mazes(lattice.masks(np, np.zeros((1, 4, 4), bool), right), np.array([1]), np.array([3]))
    wall_of_goal = lambda at: at.cells  # noqa: E731  # to the west, while there is a choice
    assert walks.walk(mazes, wall_of_goal, 16).tolist() == [4]
    assert walks.walk(mazes, wall_of_goal, 3).tolist() == [lattice.UNREACHABLE]


def test_models_walk_as_published_with_the_start_moved_along_and_no_wall_shown():
    """A fixed table of scores, like an untrained network: 43.9 +- 10.5 and 33.3 +- 6.8 of the 81 mazes."""
    inputs, labels, _ = law.examples(published.load("test"))
    puzzles = types.SimpleNamespace(inputs=inputs, labels=labels, height=12, width=12)
    goals, seen = lattice.marked(inputs, lattice.GOALS), []

    def scores(inputs):
        assert (lattice.masks_of(inputs) == lattice.everywhere(np, 12)).all()
        assert np.isin(lattice.marked(inputs, lattice.GOALS), goals).all()
        seen.append(lattice.marked(inputs, lattice.STARTS))
        return np.broadcast_to(table, (len(inputs), 144, 4))

    rates = []
    for seed in range(12):
        table = np.random.default_rng(seed).random((144, 4))
        *walkers, (name, budget, found) = walks.judged(puzzles, 81, {"mine": scores})
        rates.append([100 * found.arrived.mean(), 100 * found.optimal.mean()])
    assert (name, budget, len(walkers)) == ("mine, pot/2025-10", 144, 4)
    assert np.mean(rates, axis=0) == pytest.approx([43.9, 33.3], abs=9)  # three standard errors of 12
    at_first = lattice.marked(inputs, lattice.STARTS)
    assert (seen[0] == at_first).all() and (np.abs(seen[1] - at_first[: len(seen[1])]) % 11 == 1).all()


def test_walkers_are_always_in_the_report_and_on_the_page(folder, tmp_path, capsys):
    out = tmp_path / "r.json"
    solve.main(["--data", str(folder), "--out", str(out)])
    printed, found = capsys.readouterr().out, json.loads(out.read_text())
    names = ["random walk", "random walk, pot/2025-10", "Manhattan walk", "Manhattan walk, pot/2025-10"]
    assert list(found["walks"]) == names and all(name in printed for name in names)
    assert [walk["budget"] for walk in found["walks"].values()] == [144, 36, 144, 36]
    assert found["walks"][names[3]]["rate"] == 1 and all(w["n"] == 40 for w in found["walks"].values())
    again = tmp_path / "again.json"
    solve.main(["--data", str(folder), "--out", str(again)])
    assert json.loads(again.read_text())["walks"] == found["walks"]
    capsys.readouterr()
    report.main(["--report", str(out)])
    assert capsys.readouterr().out.strip() in printed
    report.main(["--report", str(out), "--out", str(tmp_path / "page")])
    text = (tmp_path / "page/index.html").read_text()
    assert "Walks from start to goal" in text and "Manhattan walk, pot/2025-10" in text
    for change, message in (
        ({"outcomes": "0" * 40}, "walks.random walk.success is"),
        ({"outcomes": "3" * 40}, "outcomes hold"),
        ({"outcomes": "0"}, "outcomes is 1"),
        (
            {"optimal": {"success": 1, "rate": 1, "interval": [0, 1]}},
            "optimal.success is 1|optimal.rate is 1",
        ),
    ):
        wrong = json.loads(json.dumps(found))
        wrong["walks"][names[0]] |= change
        out.write_text(json.dumps(wrong))
        with pytest.raises(RequestError, match=message):
            report.main(["--report", str(out)])


# ---------------------------------------------------------------- published mazes, and files

ZANJ = {form: HERE / "golden" / f"lattice_{form}.zanj" for form in ("full", "minimal", "soln_cat")}


def test_the_published_mazes_and_their_floors(tmp_path, capsys):
    """As pot.md §2.1 and §2.6 have them: with walls and 144 moves, and without."""
    builders.main(["lattice", "--published", "--out", str(tmp_path / "pot")])
    sets = [kinds.load(tmp_path / "pot", split) for split in dataset.SPLITS]
    cells = [dataset.extra(puzzles, "ratings") for puzzles in sets]
    assert [(len(c), c.min(), c.max()) for c in cells] == [(389, 50, 114), (81, 50, 101)]
    spread = [pytest.approx(pair, abs=0.05) for pair in ((64.4, 11.4), (65.4, 11.7))]
    assert [(c.mean(), c.std()) for c in cells] == spread
    mazes = law.read(np.asarray(sets[1].inputs))
    board = mazes._replace(open=np.tile(lattice.everywhere(np, 12), (81, 1)))
    assert walks_of(mazes, walks.manhattan, 144, 1.05) == pytest.approx((8.6, 4.9), abs=0.05)
    repeats = [[legacy(shown, mazes, walks.uniform(seed)) for seed in range(20)] for shown in (mazes, board)]
    for found, known, spread in zip(
        repeats, [(28.9, 2.4), (69.9, 37.7)], [(4.7, 1.6), (5.3, 5.6)], strict=True
    ):
        # Two means, of 20 and of 50 walks, are within so many of their standard errors.
        assert (
            np.abs(np.mean(found, axis=0) - known) < 3 * np.array(spread) * np.sqrt(1 / 20 + 1 / 50)
        ).all()
    assert legacy(board, mazes, walks.manhattan) == (100, 100)


def legacy(board, mazes, prefer):
    """Walks on the board without walls, by the lengths of the mazes' own paths."""
    found = answers.walked(walks.walk(board, prefer, 144), law.examples(mazes)[2] - 1, 1.05)
    return 100 * found.arrived.mean(), 100 * found.optimal.mean()


@pytest.mark.parametrize("form", ZANJ)
def test_the_files_of_maze_dataset_are_read_in_all_their_forms(form):
    mazes = files.read(ZANJ[form])
    assert mazes.open.shape == ((4, 144) if form == "full" else (110, 16))
    assert lattice.sound(np, mazes.open).all()
    assert (lattice.connections(np, mazes.open).sum(axis=(1, 2, 3)) == mazes.open.shape[1] - 1).all()
    if form != "full":
        lengths = law.paths(mazes)[1]
        assert lengths[:5].tolist() == [5, 12, 3, 5, 7] and lengths.sum() == 669  # as the file has them


def test_a_data_set_and_a_file_of_maze_dataset_become_one_another(tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "test.zanj"
    builders.main(["lattice", "--zanj", str(ZANJ["minimal"]), "--out", str(data)])
    sets = [kinds.load(data, split) for split in dataset.SPLITS]
    assert sum(len(puzzles.inputs) for puzzles in sets) == 110
    builders.main(["convert", str(data), "--out", str(out)])
    again = files.read(out)
    for found, known in zip(again, law.read(np.asarray(sets[1].inputs)), strict=True):
        np.testing.assert_array_equal(found, known)
    other = tmp_path / "train.zanj"
    builders.main(["convert", str(data), "--split", "train", "--out", str(other)])
    builders.main(["lattice", "--zanj", str(other), str(out), "--out", str(tmp_path / "again")])
    for split, known in zip(dataset.SPLITS, sets, strict=True):
        assert (kinds.load(tmp_path / "again", split).labels == known.labels).all()
    builders.main(["lattice", "--zanj", str(other), str(out), "--out", str(data)])
    assert "there already" in capsys.readouterr().out
    assert out.read_bytes() == rewritten(out, tmp_path / "same.zanj")


def rewritten(path, to):
    files.write(to, files.read(path))
    return to.read_bytes()


def changed(path, to, change):
    """The same file with other contents."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(parts["__zanj__.json"])
    change(content, parts)
    parts["__zanj__.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(to, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


LISTS, SOLUTIONS = "maze_connection_lists", "maze_solutions"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, p: c.update(__muutils_format__="Mazes"), "format 'Mazes'; allowed"),
        (lambda c, p: c.pop(LISTS), "maze_connection_lists"),
        (lambda c, p: c.pop(SOLUTIONS), "an array of the format None"),
        (lambda c, p: c[LISTS].update({"$ref": "../x.npy"}), "../x.npy is missing in it"),
        (lambda c, p: p.pop(f"{LISTS}.npy"), "is missing in it"),
        (lambda c, p: p.update({f"{LISTS}.npy": array(np.ones((110, 2, 4, 4), bool))}), "leaves the board"),
        (lambda c, p: p.update({f"{LISTS}.npy": array(np.zeros((110, 2, 4, 4), bool))}), "maze 0: step 1 of"),
        (lambda c, p: p.update({f"{LISTS}.npy": array(np.zeros((110, 2, 4, 3), bool))}), "of the shape"),
        (lambda c, p: p.update({f"{LISTS}.npy": array(np.zeros((0, 2, 4, 4), bool))}), "length of every"),
        (lambda c, p: p.update({f"{LISTS}.npy": array(np.array([{}]))}), "cannot|can be read|Object arrays"),
        (lambda c, p: p.update({f"{LISTS}.npy": b"x"}), "no .zanj file that can be read"),
        (lambda c, p: p.update({f"{SOLUTIONS}.npy": array(np.full((110, 14, 2), 9))}), "leaves the board"),
        (lambda c, p: p.update({f"{SOLUTIONS}.npy": array(np.ones((110, 14, 2), int))}), "starts at its"),
        (lambda c, p: p.update({f"{SOLUTIONS}.npy": array(np.ones((110, 3, 2), int))}), "lengths do not fit"),
        (lambda c, p: c["maze_solution_lengths"].update(data=[1] * 9), "a length of every maze"),
        (lambda c, p: c["maze_solution_lengths"].update(data=["a"]), "a length of every maze"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "bad.zanj"
    changed(ZANJ["minimal"], path, change)
    with pytest.raises(RequestError, match=message) as error:
        builders.main(["lattice", "--zanj", str(path), "--out", str(tmp_path / "x")])
    assert "\n" not in str(error.value) and str(path) in str(error.value) and not (tmp_path / "x").exists()


def test_other_files_and_questions_are_refused_in_one_line(folder, tmp_path):
    text = tmp_path / "text.zanj"
    text.write_text("no ZIP")
    for words, message in (
        (["--zanj", str(text)], "no .zanj file that can be read"),
        (["--zanj", str(tmp_path / "none.zanj")], "no such file"),
        (["--zanj", *[str(ZANJ["full"])] * 3], "3 files"),
        (["--zanj", str(ZANJ["full"]), str(ZANJ["minimal"])], "different sizes"),
        (["--published", "--size=12"], "--size: the mazes of"),
    ):
        with pytest.raises(RequestError, match=message):
            builders.main(["lattice", *words, "--out", str(tmp_path / "x")])
    for words, message in (
        (["--split=train", "--out", str(tmp_path / "x")], "--split: the files of a city have both"),
        (["--out", str(tmp_path / "x.zip")], "its kind is 'lattice'; puzzles of cities are needed"),
        (["--out", "/"], "its kind is 'lattice'"),
    ):
        with pytest.raises(RequestError, match=message):
            builders.main(["convert", str(folder), *words])


def test_a_file_of_mazes_says_their_law_and_shared_lattices_are_told(tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "test.zanj"
    law_of = ["--generator=percolation", "--share=0.6", "--seed=3"]
    builders.main(["lattice", "--size=3", "--train=9", "--test=5", "--jobs=1", *law_of, "--out", str(data)])
    builders.main(["convert", str(data), "--out", str(out)])
    with zipfile.ZipFile(out) as archive:
        told = json.loads(archive.read("__zanj__.json"))["cfg"]
    assert told["maze_ctor"]["__name__"] == "gen_percolation" and told["maze_ctor_kwargs"] == {"p": 0.6}
    assert told["seed"] == 3
    builders.main(["lattice", "--zanj", str(out), str(out), "--out", str(tmp_path / "twice")])
    assert "lattices of test are in train, too" in capsys.readouterr().err
