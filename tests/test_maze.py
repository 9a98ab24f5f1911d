"""Mazes: both definitions of the canonical route, the exact law of the generator, the data sets."""

import collections
import json
import shutil

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import dataset, flood, kinds, routes, symmetries
from hrm_jax.puzzles.maze import build, grids, law
from hrm_jax.tasks import puzzle_data


def _maps(size, count, seed=0, walls=(0.3, 0.5)):
    """Random free cells [M, H, W], drawn in another way than the generator does."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(*walls, (count, 1, 1))
    return rng.random((count, size, size)) >= share


def _all_distances(free):
    """float [S, S]: steps between all cells of one map [H, W], infinite where there is no way; by scipy."""
    height, width = free.shape
    index = np.arange(free.size).reshape(free.shape)
    right = free[:, :-1] & free[:, 1:]
    down = free[:-1] & free[1:]
    a = np.concatenate([index[:, :-1][right], index[:-1][down]])
    b = np.concatenate([index[:, 1:][right], index[1:][down]])
    graph = coo_matrix((np.ones(len(a)), (a, b)), (free.size, free.size))
    return shortest_path(graph, directed=False, unweighted=True)


def _first_in_first_out(free, start, goal):
    """The published labels' route by its other definition: a queue, neighbours down, left, right, up."""
    height, width = free.shape
    parent, queue = {start: None}, collections.deque([start])
    while queue:
        cell = queue.popleft()
        r, c = divmod(cell, width)
        for i, j in ((r + 1, c), (r, c - 1), (r, c + 1), (r - 1, c)):
            if 0 <= i < height and 0 <= j < width and free[i, j] and i * width + j not in parent:
                parent[i * width + j] = cell
                queue.append(i * width + j)
    route, cell = np.zeros(free.shape, bool), goal
    while cell is not None:
        route[divmod(cell, width)] = True
        cell = parent[cell]
    return route


def _packed(cells: np.ndarray) -> np.ndarray:
    """[M, H, W] bool -> [H, M] words."""
    kind = flood.word(cells.shape[2])
    value = kind(1) << np.arange(cells.shape[2], dtype=kind)
    return np.ascontiguousarray((cells * value).sum(axis=2, dtype=kind).T)


def _connected(free, seed=0):
    """Start and goal [M] of maps [M, H, W], connected and different; maps without such are left out."""
    rng = np.random.default_rng(seed)
    kept, starts, goals = [], [], []
    for m, steps in enumerate(map(_all_distances, free)):
        pairs = np.argwhere(np.isfinite(steps) & (steps > 0))
        if len(pairs):
            start, goal = pairs[rng.integers(len(pairs))]
            kept.append(m)
            starts.append(start)
            goals.append(goal)
    return free[kept], np.array(starts), np.array(goals)


# ---------------------------------------------------------------- routes


def test_distances_and_the_number_of_routes_are_those_of_other_methods():
    free, start, goal = _connected(_maps(9, 40, walls=(0.1, 0.5)))
    steps = routes.distances(free, start)
    ways = routes.number(free, start, goal)
    for m in range(len(free)):
        between = _all_distances(free[m])
        expected = np.where(np.isfinite(between[start[m]]), between[start[m]], -1)
        expected[~free[m].ravel()] = -1
        np.testing.assert_array_equal(steps[m].ravel(), expected)
        length = int(between[start[m], goal[m]])
        step = np.zeros((81, 81))
        step[between == 1] = 1
        assert ways[m] == np.linalg.matrix_power(step, length)[start[m], goal[m]]  # walks of that length
    corridor = np.ones((1, 1, 5), bool)
    assert routes.distances(corridor, np.array([2])).tolist() == [[[2, 1, 0, 1, 2]]]
    square = np.ones((1, 4, 4), bool)
    assert routes.number(square, np.array([0]), np.array([15])) == 20


def test_the_canonical_route_goes_down_then_left_then_right_then_up():
    free = np.ones((4, 3, 3), bool)
    found = routes.shortest(free, np.array([0, 8, 2, 6]), np.array([8, 0, 6, 2]))
    assert found.astype(int).tolist() == [
        [[1, 0, 0], [1, 0, 0], [1, 1, 1]],  # from the upper left: down first
        [[1, 0, 0], [1, 0, 0], [1, 1, 1]],  # from the lower right: left before up
        [[0, 0, 1], [0, 0, 1], [1, 1, 1]],  # from the upper right: down before left
        [[0, 0, 1], [0, 0, 1], [1, 1, 1]],  # from the lower left: right before up
    ]


@pytest.mark.parametrize("size,count,walls", [(8, 200, (0.0, 0.4)), (15, 60, (0.1, 0.5))])
def test_both_definitions_of_the_canonical_route_agree(size, count, walls):
    free, start, goal = _connected(_maps(size, count, 1, walls))
    found = routes.shortest(free, start, goal)
    assert len(free) > 0.9 * count
    for m in range(len(free)):
        np.testing.assert_array_equal(found[m], _first_in_first_out(free[m], int(start[m]), int(goal[m])))


def test_a_goal_out_of_reach_is_an_error():
    with pytest.raises(ValueError, match="cannot be reached"):
        routes.shortest(np.array([[[True, False, True]]]), np.array([0]), np.array([2]))


# ---------------------------------------------------------------- floods


@pytest.mark.parametrize("size", [5, 30, 32, 33, 64])
def test_sets_of_cells_as_integers_are_packed_and_unpacked(size):
    free = _maps(size, 7)
    words = _packed(free)
    assert words.shape == (size, 7) and words.dtype == (np.uint32 if size <= 32 else np.uint64)
    np.testing.assert_array_equal(flood.unpack(words, size), free)
    np.testing.assert_array_equal(flood.count(words), free.sum(axis=(1, 2)))


@pytest.mark.parametrize("size", [12, 32, 40])
def test_floods_are_breadth_first_searches(size, monkeypatch):
    monkeypatch.setattr(flood, "BLOCK", 16)
    free = _maps(size, 60, walls=(0.2, 0.45))
    free[0] = False
    free[0, size // 2] = True  # a corridor
    words = _packed(free)
    seed = flood.first_cell(words, size // 2, size // 2)
    assert (flood.count(seed) == 1).all() and not (seed & ~words).any()
    source = flood.unpack(seed, size).reshape(60, -1).argmax(axis=1)
    steps = routes.distances(free, source)
    everything, rim, radius = flood.farthest(seed, words)
    np.testing.assert_array_equal(flood.unpack(everything, size), steps >= 0)
    np.testing.assert_array_equal(radius, steps.max(axis=(1, 2)))
    np.testing.assert_array_equal(flood.unpack(rim, size), steps == radius[:, None, None])
    for n in (0, 1, 7, 8, 9, 30, 5000):
        near, beyond = flood.reach(seed, words, n)
        np.testing.assert_array_equal(flood.unpack(near, size), (steps >= 0) & (steps <= n))
        np.testing.assert_array_equal(beyond, radius > n)
    each = np.arange(60) % 14 - 1
    near = flood.unpack(flood.within_each(seed, words, each), size)
    np.testing.assert_array_equal(near, (steps >= 0) & (steps <= each[:, None, None]))
    other = flood.first_cell(rim)
    target = flood.unpack(other, size).reshape(60, -1).argmax(axis=1)
    back = routes.distances(free, target)
    half = flood.unpack(flood.middle(seed, other, words), size)
    on_route = (steps + back == radius[:, None, None]) & (steps >= 0)
    np.testing.assert_array_equal(half, on_route & (steps == (radius[:, None, None] + 1) // 2))


# ---------------------------------------------------------------- the law


@pytest.mark.parametrize("size,count", [(30, 20000), (5, 40000)])
def test_the_number_of_walls_is_uniform_and_so_are_their_places(size, count):
    maps = law.draw(size, count, np.random.default_rng(0))
    free = flood.unpack(maps, size)
    number = (~free).sum(axis=(1, 2))
    low, high = law.walls(size)
    assert (low, high) == {30: (270, 450), 5: (8, 12)}[size]
    bins = np.bincount(number - low, minlength=high - low + 1)
    expected = len(free) / len(bins)
    assert len(free) > 0.15 * count and bins.min() > 0
    chi2 = ((bins - expected) ** 2 / expected).sum()
    assert abs(chi2 - (len(bins) - 1)) < 5 * (2 * (len(bins) - 1)) ** 0.5
    share = (~free).mean(axis=0)
    error = (share.mean() * (1 - share.mean()) / len(free)) ** 0.5
    assert np.abs(share - share.mean()).max() < 5 * error
    # No two neighbours know of one another, beyond what the number of walls says.
    walls = ~free - number[:, None, None] / size**2
    for a, b in ((walls[:, 1:], walls[:, :-1]), (walls[:, :, 1:], walls[:, :, :-1])):
        expected = -(number * (size**2 - number) / size**4 / (size**2 - 1)).mean()
        assert abs((a * b).mean() - expected) < 5 * 0.25 / (a.size) ** 0.5


@pytest.mark.parametrize("size,shortest,count", [(6, 3, 60), (9, 16, 300), (14, 30, 300), (34, 90, 30)])
def test_every_qualifying_pair_is_counted_and_only_these(size, shortest, count, monkeypatch):
    monkeypatch.setattr(flood, "BLOCK", 64)
    free = _maps(size, count, 2, (0.25, 0.55))
    words = _packed(free)
    found = law.ends(words, shortest)
    far = flood.unpack(law.far_cells(found, np.arange(len(found.map)), shortest), size).reshape(
        len(found.map), -1
    )
    ends = flood.unpack(found.cell, size).reshape(len(found.map), -1).argmax(axis=1)
    counted = {(m, s, g) for m, s, row in zip(found.map, ends, far, strict=True) for g in np.flatnonzero(row)}
    expected = set()
    for m in range(count):
        steps = _all_distances(free[m])
        expected |= {(m, s, g) for s, g in np.argwhere(np.isfinite(steps) & (steps >= shortest - 1))}
    assert counted == expected and len(expected) > 50
    assert (np.diff(found.map) >= 0).all()


def test_pairs_of_a_map_are_equally_likely_and_as_many_as_its_weight_says():
    free = _maps(7, 400, 3, (0.35, 0.45))
    between = [_all_distances(f) for f in free]
    pairs = [np.argwhere(np.isfinite(steps) & (steps >= 13)) for steps in between]
    m = int(np.argmax([8 <= len(p) <= 14 for p in pairs]))
    weight = len(pairs[m]) / (free[m].sum() * (free[m].sum() - 1))
    rng, times = np.random.default_rng(0), 20000
    which, start, goal = law.sample(np.repeat(_packed(free[m : m + 1]), times, axis=1), 14, 3, rng)
    mean, sigma = 3 * weight * times, (3 * weight * times) ** 0.5
    assert abs(len(which) - mean) < 5 * sigma
    found = collections.Counter(zip(start.tolist(), goal.tolist(), strict=True))
    assert set(found) == {tuple(p) for p in pairs[m].tolist()}
    even = len(which) / len(pairs[m])
    assert max(abs(n - even) for n in found.values()) < 5 * even**0.5
    drawn = list(zip(which.tolist(), start.tolist(), goal.tolist(), strict=True))
    assert len(set(drawn)) == len(drawn) and max(collections.Counter(which.tolist()).values()) > 1


def test_the_law_is_that_of_rejection_sampling():
    rng = np.random.default_rng(5)
    size, shortest = 7, 12
    low, high = law.walls(size)
    kept = []  # (walls, cells of the route), plainly by rejection
    for _ in range(40):
        free = np.ones((1000, 49), bool)
        for row in free:
            row[rng.choice(49, rng.integers(low, high + 1), replace=False)] = False
        pairs = np.array([rng.choice(np.flatnonzero(row), 2, replace=False) for row in free])
        steps = routes.distances(free.reshape(-1, 7, 7), pairs[:, 0]).reshape(1000, 49)
        length = steps[np.arange(1000), pairs[:, 1]] + 1
        kept += [((~free[i]).sum(), length[i]) for i in np.flatnonzero(length >= shortest)]
    maps = law.draw(size, 150_000, rng)
    which, start, goal = law.sample(maps, shortest, 1, rng)
    assert len(set(which.tolist())) == len(which)
    free = flood.unpack(maps[:, which], size)
    length = routes.distances(free, start).reshape(len(free), 49)[np.arange(len(free)), goal] + 1
    ours = np.stack([(~free).sum(axis=(1, 2)), length], axis=1).astype(float)
    plain = np.array(kept, float)
    rate = len(plain) / 40_000
    assert abs(len(ours) / maps.shape[1] - rate) < 5 * (rate / 40_000) ** 0.5
    error = (plain.var(axis=0) / len(plain) + ours.var(axis=0) / len(ours)) ** 0.5
    assert (np.abs(plain.mean(axis=0) - ours.mean(axis=0)) < 4.5 * error).all()
    assert len(plain) > 500 and ours[:, 1].min() == shortest


def test_maps_without_a_long_route_bring_no_maze():
    free = np.zeros((5, 6, 6), bool)
    free[:, 2] = True
    for shortest, found in ((7, 0), (6, 5)):
        which, start, goal = law.sample(_packed(free), shortest, 500, np.random.default_rng(0))
        assert len(start) == len(goal) == len(which)
        ends = set(zip(which.tolist(), start.tolist(), goal.tolist(), strict=True))
        assert ends == {(m, *pair) for m in range(found) for pair in ((12, 17), (17, 12))}


# ---------------------------------------------------------------- augmentation


def test_a_key_is_common_to_the_turns_of_a_map_and_to_nothing_else():
    free = _maps(6, 50)
    keys = grids.map_keys(free)
    assert len(set(keys)) == 50
    assert all(grids.map_keys(np.ascontiguousarray(symmetries.apply(free, t))) == keys for t in range(8))


def _solved(inputs, labels, size):
    """Every label is its input with the canonical route, by the definition with the queue."""
    for question, answer in zip(inputs, labels, strict=True):
        assert (question == 3).sum() == (question == 4).sum() == 1 and set(question) <= {1, 2, 3, 4}
        free = (question != 1).reshape(size, size)
        route = _first_in_first_out(free, int((question == 3).argmax()), int((question == 4).argmax()))
        expected = np.where(route.ravel() & (question == 2), 5, question)
        np.testing.assert_array_equal(answer, expected)
    return True


def test_augmented_mazes_are_turned_and_solved_anew():
    free, start, goal = _connected(_maps(8, 30, 4, (0.2, 0.35)))
    inputs, labels = grids.tokens(free, start, goal)
    found = grids.augmented(inputs, labels, 8, 15, 0)
    assert found.shape == (2, len(free), 16, 64)
    assert _solved(found[0].reshape(-1, 64), found[1].reshape(-1, 64), 8)
    turned_labels = 0
    for g in range(len(free)):
        aspects = set()
        for which in range(8):
            grid = symmetries.apply(inputs[g].reshape(1, 8, 8), which).ravel()
            aspects |= {grid.tobytes(), np.array([0, 1, 2, 4, 3], np.uint8)[grid].tobytes()}
        assert {row.tobytes() for row in found[0, g]} == aspects  # each once, the maze itself first
        np.testing.assert_array_equal(found[:, g, 0], [inputs[g], labels[g]])
        turned_labels += sum(
            any((symmetries.apply(labels[g].reshape(1, 8, 8), t).ravel() == row).all() for t in range(8))
            for row in found[1, g]
        )
    assert turned_labels < 16 * len(free)  # the reason for solving anew
    few = grids.augmented(inputs, labels, 8, 4, 0)
    assert all(len({r.tobytes() for r in few[0, g]}) == 5 for g in range(len(free)))
    np.testing.assert_array_equal(grids.augmented(inputs[:3], labels[:3], 8, 4, 0), few[:, :3])


# ---------------------------------------------------------------- data sets


def _build(out, *arguments):
    return command.main(["maze", "--out", str(out), "--jobs", "1", *map(str, arguments)])


def _bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


SMALL = ("--size", 8, "--shortest", 14, "--train", 150, "--test", 50, "--augment", 2)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("maze") / "eight"
    _build(out, *SMALL)
    return out


@pytest.mark.parametrize("change", ["height", "kind", "labels", "longer"])
def test_a_folder_that_was_changed_since_is_neither_there_already_nor_judged(small, tmp_path, change):
    """Also to be trained on: its test split is what that would be judged by."""
    place = tmp_path / "m" / "test"
    shutil.copytree(small, tmp_path / "m")
    described = json.loads((place / "dataset.json").read_text())
    if change == "height":
        described |= {"height": 64, "width": 1}
    if change == "kind":
        described |= {"kind": "sudoku"}
    (place / "dataset.json").write_text(json.dumps(described))
    labels = np.load(place / "all__labels.npy")
    if change == "labels":
        labels = np.load(place / "all__inputs.npy")
    if change == "longer":
        labels[labels == grids.FREE] = grids.ROUTE
    np.save(place / "all__labels.npy", labels)
    with pytest.raises(RequestError, match="m/test was changed: (example 0 needs|its kind is 'sudoku')"):
        _build(tmp_path / "m", *SMALL)
    for load in (lambda: kinds.load(tmp_path / "m", "test"), lambda: puzzle_data.load(tmp_path / "m", 6, 64)):
        with pytest.raises(RequestError, match="dataset.json: kind is .*, but (example 0|there are)"):
            load()


def test_a_folder_that_has_fewer_puzzles_than_were_asked_for_is_not_there_already(small, tmp_path):
    shutil.copytree(small, tmp_path / "m")
    few = dataset.load(small, "test")
    cells = few.inputs[:9, None], few.labels[:9, None]
    dataset.write_groups(tmp_path / "m", "test", "maze", *cells, 6, height=8, width=8)
    with pytest.raises(RequestError, match="m/test was changed: it has 9 puzzles, not 50; remove"):
        _build(tmp_path / "m", *SMALL)


def test_a_data_set_is_what_was_asked_for(small):
    train, test = dataset.load(small, "train"), dataset.load(small, "test")
    assert (train.kind, train.meta.vocab_size, train.meta.seq_len, train.height) == ("maze", 6, 64, 8)
    assert train.inputs.shape == (450, 64) and train.group_indices.tolist() == list(range(0, 451, 3))
    assert test.inputs.shape == (50, 64) and test.meta.mean_puzzle_examples == 1
    assert _solved(train.inputs, train.labels, 8) and _solved(test.inputs, test.labels, 8)
    base, ratings = train.inputs[::3], np.load(small / "train/all__ratings.npy")
    assert len(np.unique(base, axis=0)) == 150
    np.testing.assert_array_equal((train.labels[::3] >= 3).sum(axis=1), ratings)
    assert ratings.min() >= 14
    walls = (base == 1).sum(axis=1)
    assert walls.min() >= 20 and walls.max() <= 32
    sides = [set(grids.map_keys((np.asarray(p.inputs) != 1).reshape(-1, 8, 8))) for p in (train, test)]
    assert not sides[0] & sides[1] and len(sides[0]) == 150  # also of the augmented mazes


def test_mazes_that_hardly_exist_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PATIENCE", 2)
    with pytest.raises(RequestError, match="0 of 9 train and 0 of 3 test 5x5 mazes found, and no new one"):
        _build(tmp_path / "m", "--size", 5, "--shortest", 17, "--train", 9, "--test", 3)
    assert not list(tmp_path.iterdir())


def _text(tokens):
    return "".join(" # SGo"[t] if t != 2 else " " for t in tokens)


def test_the_hubs_files_are_converted_and_no_space_is_lost(small, tmp_path):
    made = dataset.load(small, "train")
    rows = [i for i in range(450) if made.inputs[i, 0] == 2 and made.inputs[i, -1] == 2][:4]
    assert len(rows) == 4
    for split in ("train", "test"):
        lines = [f"x,{_text(made.inputs[i])},{_text(made.labels[i])},{i}" for i in rows]
        (tmp_path / f"{split}.csv").write_text("source,question,answer,rating\n" + "\n".join(lines) + "\n")
    _build(tmp_path / "out", "--size", 8, "--csv", tmp_path)
    for split in ("train", "test"):
        found = dataset.load(tmp_path / "out", split)
        np.testing.assert_array_equal(found.inputs, made.inputs[rows])
        np.testing.assert_array_equal(found.labels, made.labels[rows])
    assert json.loads((tmp_path / "out/build.json").read_text())["csv"] == str(tmp_path)
    _build(tmp_path / "two", "--size", 8, "--csv", tmp_path, "--subsample", 2, "--augment", 15)
    two = dataset.load(tmp_path / "two", "train")
    assert two.inputs.shape == (32, 64) and _solved(two.inputs, two.labels, 8)
    with pytest.raises(RequestError, match="line 2: the question has 64 signs, not 81"):
        _build(tmp_path / "nine", "--size", 9, "--csv", tmp_path)
    (tmp_path / "train.csv").write_text(
        "source,question,answer,rating\nx," + " " * 64 + "," + "o" * 64 + ",1\n"
    )
    with pytest.raises(RequestError, match="row 1 needs one S, one G"):
        _build(tmp_path / "bad", "--size", 8, "--csv", tmp_path)


def test_statistics_are_those_of_mazes_that_can_be_counted_by_hand(tmp_path):
    free = np.ones((2, 3, 3), bool)
    free[1, 1, 1] = False
    inputs, labels = grids.tokens(free, np.array([0, 0]), np.array([8, 8]))
    labels[1] = np.array([3, 5, 5, 2, 1, 5, 2, 2, 4], np.uint8)  # as short, not canonical
    dataset.write_groups(tmp_path, "test", "maze", inputs[:, None], labels[:, None], 6, height=3, width=3)
    found = build.statistics(dataset.load(tmp_path, "test"), None)
    assert found["mazes (groups)"] == 2 and found["wall maps"] == 2
    assert found["wall fraction, mean"] == pytest.approx(1 / 18) and found["free cells, mean"] == 8.5
    assert found["route cells 'o', mean"] == 3 and found["share with 3 or 4 'o'"] == 1
    assert (found["shortest routes, least"], found["shortest routes, most"]) == (2, 6)
    assert found["Manhattan distance, median"] == 4
    assert found["labels that are the canonical route, %"] == 50
    assert found["labels that are as short as can be, %"] == 100
    assert found["tokens right by copying the input, %"] == pytest.approx(100 * 6 / 9)


def test_statistics_of_a_maze_without_a_route_are_refused_in_one_line(tmp_path, capsys):
    inputs = np.array([[3, 2, 2, 4], [3, 1, 1, 4]], np.uint8)[:, None]
    labels = np.array([[3, 5, 2, 4], [3, 1, 1, 4]], np.uint8)[:, None]
    dataset.write_groups(tmp_path, "test", "maze", inputs, labels, 6, height=2, width=2)
    assert run_command(command.main, ["statistics", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "but example 1 needs one S, one G" in error and error.count("\n") == 1


@pytest.mark.slow
def test_two_thousand_mazes_of_30x30_have_the_published_statistics(tmp_path):
    command.main(["maze", "--out", str(tmp_path / "m")])
    train, test = (dataset.load(tmp_path / "m", split) for split in dataset.SPLITS)
    for splits in ((train, test), (test, train)):
        found = build.statistics(*splits)
        assert found[f"wall maps shared with {splits[1].split}"] == 0
        assert 0.370 < found["wall fraction, mean"] < 0.376  # docs/puzzles.md: .371, .373, .3725, .3730
        assert 112.2 < found["route cells 'o', mean"] < 113.7  # 113.1, 112.5, 112.7 to 113.2
        assert found["route cells 'o', least"] == 108
        assert 0.26 < found["share with 108 or 109 'o'"] < 0.36  # .298, .294 to .326; standard error .015
        assert 558 < found["free cells, mean"] < 567  # 564, 563, 562.5
        assert 2e6 < found["shortest routes, median"] < 9e6  # 3.8e6, 4.7e6
        assert 15 < found["Manhattan distance, median"] < 21  # 18
        assert found["labels that are the canonical route, %"] == 100
        assert _solved(splits[0].inputs, splits[0].labels, 30)
