"""Exact, lenient and token scores against definitions read cell by cell; the baselines."""

import itertools
import types

import numpy as np
import pytest

from hrm_jax.judging import answers as judging
from hrm_jax.puzzles import dataset, kinds, routes
from hrm_jax.puzzles.maze import grids as maze_grids
from hrm_jax.puzzles.maze.grids import any_route, shortest_routes

SIGNS = {"#": 1, " ": 2, "S": 3, "G": 4, "o": 5}


def maze(*rows):
    return np.array([[SIGNS[sign] for sign in row] for row in rows], np.uint8)


def the_set(folder, kind, inputs, labels, vocabulary, ignored=None, height=1):
    dataset.write_groups(folder, "test", kind, inputs[:, None], labels[:, None], vocabulary,
                         height=height, width=inputs.shape[1] // height)  # fmt: skip
    text = (folder / "test" / "dataset.json").read_text()
    replaced = text.replace(
        '"ignore_label_id": 0', f'"ignore_label_id": {"null" if ignored is None else ignored}'
    )
    (folder / "test" / "dataset.json").write_text(replaced)
    return kinds.load(folder, "test")


def shortest_by_search(grid):
    """All shortest routes, as sets of the cells between S and G, found one by one."""
    start = tuple(np.argwhere(grid == 3)[0])
    routes, front = [], [(start,)]
    while front and not routes:
        longer = []
        for path in front:
            for move in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                cell = (path[-1][0] + move[0], path[-1][1] + move[1])
                inside = 0 <= cell[0] < grid.shape[0] and 0 <= cell[1] < grid.shape[1]
                if inside and grid[cell] != 1 and cell not in path:
                    if grid[cell] == 4:
                        routes.append(frozenset(path[1:]))
                    longer.append((*path, cell))
        front = longer
    return routes


def random_mazes(count, height, width, seed):
    rng = np.random.default_rng(seed)
    grids = np.where(rng.random((count, height, width)) < 0.3, 1, 2).astype(np.uint8)
    for grid in grids:
        ends = rng.choice(grid.size, 2, replace=False)
        grid.flat[ends] = 3, 4
    return grids


# ---------------------------------------------------------------- lenient


def test_every_marking_of_small_mazes_is_judged_as_by_search():
    """All subsets of all free cells of many 3x3 and 2x4 mazes: right is what the search finds."""
    accepted = 0
    for height, width in ((3, 3), (2, 4)):
        for grid in random_mazes(25, height, width, seed=height):
            free = np.argwhere(grid == 2)
            marked = list(itertools.product([False, True], repeat=len(free)))
            answers = np.repeat(grid[None], len(marked), axis=0)
            for answer, marks in zip(answers, marked, strict=True):
                answer[tuple(free[list(marks)].T)] = 5
            wanted = set(shortest_by_search(grid))
            found = shortest_routes(grid[None], answers[:, None])[:, 0]
            right = [frozenset(map(tuple, free[list(marks)])) in wanted for marks in marked]
            np.testing.assert_array_equal(found, right)
            accepted += sum(right)
    assert accepted > 40


def test_a_route_is_no_excuse_for_changed_cells():
    grid = maze("S #", "  G")
    good = maze("S #", "ooG")
    assert shortest_routes(grid[None], good[None]).tolist() == [True]
    for cell, token in itertools.product(np.ndindex(2, 3), range(6)):
        changed = good.copy()
        changed[cell] = token
        found = shortest_routes(grid[None], changed[None]).tolist()
        assert found == [bool((changed == good).all())], (cell, token)


def test_two_pieces_with_as_many_marks_as_a_route_are_no_route():
    grid = maze("S    G", "      ", "      ")
    assert not shortest_routes(grid[None], maze("So  oG", "   o  ", "  o   ")[None])[0]
    assert shortest_routes(grid[None], maze("SooooG", "      ", "      ")[None])[0]
    detour = maze("S    G", "oooooo", "      ")
    assert not shortest_routes(grid[None], detour[None])[0]  # joined, and longer than the shortest
    adjacent = maze("SG", "  ")
    assert shortest_routes(adjacent[None], adjacent[None])[0]  # nothing lies between


def test_grids_of_a_stack_do_not_join():
    """A broken route is not mended by marks of the grid before or after it."""
    grid, broken = maze("S  G"), maze("So G")
    stack = np.stack([maze("SooG"), broken, maze("SooG")])
    found = shortest_routes(np.repeat(grid[None], 3, axis=0), stack)
    assert found.tolist() == [True, False, True]


# ---------------------------------------------------------------- exact and tokens


@pytest.mark.parametrize("ignored", [None, 0])
def test_exact_and_tokens_are_those_of_the_labels_that_count(tmp_path, ignored):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (7, 12)).astype(np.uint8)
    inputs[0, 0] = 0
    labels = rng.integers(0, 4, (7, 12)).astype(np.uint8)
    labels[3] = 0  # under ignore id 0 nothing of it counts
    puzzles = the_set(tmp_path, "", inputs, labels, 4, ignored)
    answers = np.where(rng.random((5, 3, 12)) < 0.2, 1, labels[[6, 3, 2]]).astype(np.uint8)
    answers[0] = labels[[6, 3, 2]]
    scores = judging.score(puzzles, np.array([6, 3, 2]), answers)
    assert scores.lenient is None and scores.exact.shape == scores.tokens.shape == (5, 3)
    for t, (k, row) in itertools.product(range(5), enumerate([6, 3, 2])):
        counted = [i for i in range(12) if ignored is None or labels[row, i] != ignored]
        right = [answers[t, k, i] == labels[row, i] for i in counted]
        assert scores.exact[t, k] == all(right)
        assert scores.tokens[t, k] == pytest.approx(sum(right) / max(len(right), 1))
    assert scores.exact[0].all()


def test_baselines_of_mazes_show_what_exact_measures(tmp_path):
    """In open mazes any shortest route is leniently right, and hardly ever the labelled one."""
    grids = np.full((60, 9, 9), 2, np.uint8)
    grids[:, 4, 4] = 1
    grids[:, 0, 0], grids[:, 8, 8] = 3, 4
    labels = grids.copy()
    labels[:, 1:, 0] = labels[:, 8, :8] = 5  # down, then right: the canonical route
    labels[grids != 2] = grids[grids != 2]
    puzzles = the_set(tmp_path, "maze", grids.reshape(60, -1), labels.reshape(60, -1), 6, height=9)
    everything = slice(0, 60)
    given = puzzles.inputs[everything], puzzles.puzzle_of_example[everything]
    copied, routed = (answer(*given) for answer in kinds.baselines(puzzles).values())
    scores = judging.score(puzzles, everything, np.stack([copied, routed, puzzles.labels[everything]]))
    assert not scores.exact[:2].any() and scores.exact[2].all()
    assert not scores.lenient[0].any() and scores.lenient[1:].all()
    np.testing.assert_allclose(scores.tokens[0], 1 - 15 / 81)
    assert len({row.tobytes() for row in routed}) > 50
    mixed = random_mazes(300, 6, 7, seed=5)
    marked = any_route(types.SimpleNamespace(height=6, width=7))(mixed.reshape(300, -1)).reshape(mixed.shape)
    free, start, goal = maze_grids.read(mixed)
    solvable = routes.at(routes.distances(free, goal), start) > 0
    np.testing.assert_array_equal(shortest_routes(mixed, marked), solvable)
    np.testing.assert_array_equal(marked[~solvable], mixed[~solvable])
    assert 100 < solvable.sum() < 300


def test_only_mazes_have_a_route_to_compare_with(tmp_path):
    rows = [[2, 3, 4, 5], [4, 5, 2, 3], [3, 2, 5, 4], [5, 4, 3, 2]]
    grid = np.array([np.ravel(rows)], np.uint8)
    puzzles = the_set(tmp_path, "sudoku", grid, grid, 6, height=4)
    assert list(kinds.baselines(puzzles)) == ["copy"]
