"""Cities: the original's to the bit, the law of ours, routes as an independent search says, judgement."""

import collections
import hashlib
import heapq
import json
import shutil
import types

import numpy as np
import pytest

from hrm_jax import solve
from hrm_jax.artefacts import answers_file, archive
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import run_command
from hrm_jax.puzzles import __main__ as command
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.puzzles.city import answers, build, law, original, routes, statistics, tokens
from hrm_jax.reporting import packing

BIKE, CAR, VAN, TRUCK = range(1, 5)
# By vehicle, what entering costs: the roads of docs/puzzles.md, and a jam on whichever of them it may use.
PRICES = {
    BIKE: ({2: 2, 3: 2, 4: 2}, 3),
    CAR: ({2: 3, 3: 1, 4: 2}, 8),
    VAN: ({3: 1, 4: 2}, 10),
    TRUCK: ({3: 1}, 12),
}
LIES_UNDER = {5: 3, 10: 2, 11: 4, 7: 3, 8: 3}  # tokens that cover a road


def price(token, vehicle):
    """What entering a cell costs, None where that is not allowed; without the tables of the package."""
    roads, jam = PRICES[vehicle]
    road = LIES_UNDER.get(token, token)
    if road not in roads:
        return None
    return jam if token in (5, 10, 11) else roads[road]


def a_star(grid, vehicle):
    """The least cost from start to goal of a list of rows, None where there is no way."""
    size = len(grid)
    places = {token: (y, x) for y, row in enumerate(grid) for x, token in enumerate(row) if token in (7, 8)}
    costs = {token: price(token, vehicle) for token in range(12)}
    least = min(cost for cost in costs.values() if cost)
    (start, goal), best = (places[7], places[8]), {places[7]: 0}
    queue = [(0, start)]
    while queue:
        bound, (y, x) = heapq.heappop(queue)
        if (y, x) == goal:
            return best[goal]
        so_far = best[y, x]
        if bound > so_far + least * (abs(y - goal[0]) + abs(x - goal[1])) and (y, x) != start:
            continue
        for i, j in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if not (0 <= i < size and 0 <= j < size):
                continue
            cost = costs[grid[i][j]]
            if cost is not None and so_far + cost < best.get((i, j), 10**9):
                best[i, j] = so_far + cost
                ahead = least * (abs(i - goal[0]) + abs(j - goal[1]))
                heapq.heappush(queue, (best[i, j] + ahead, (i, j)))
    return None


def walked(grid, label, vehicle):
    """The cost of a label's path, followed from the start; None unless it is one allowed way, no more."""
    changed = {(y, x) for y, row in enumerate(label) for x, token in enumerate(row) if token != grid[y][x]}
    if any(label[y][x] != 9 or grid[y][x] in (7, 8) for y, x in changed):
        return None
    place = {t: (y, x) for y, row in enumerate(grid) for x, t in enumerate(row) if t in (7, 8)}
    here, cost, left = place[7], 0, set(changed)
    while True:
        sides = [(here[0] + i, here[1] + j) for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        if place[8] in sides and not left:
            return cost + price(8, vehicle)
        following = [side for side in sides if side in left]
        if len(following) != 1 or price(grid[following[0][0]][following[0][1]], vehicle) is None:
            return None
        here = following[0]
        cost += price(grid[here[0]][here[1]], vehicle)
        left.remove(here)


def agrees(puzzles):
    """Every label is legal, and as cheap as the independent search says; the number of routes."""
    shape = puzzles.height, puzzles.width
    rows = zip(puzzles.inputs, puzzles.labels, puzzles.puzzle_of_example.tolist(), strict=True)
    for question, answer, vehicle in rows:
        grid, label = (array.reshape(shape).tolist() for array in (question, answer))
        cost = walked(grid, label, vehicle)
        assert cost is not None and cost == a_star(grid, vehicle)
    return len(puzzles.inputs)


def _build(out, *words):
    return command.main(["city", "--out", str(out), "--jobs", "1", *map(str, words)])


def _bytes(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


SMALL = ("--size", 12, "--train", 40, "--test", 30, "--hours", 6, 8, 17, 18)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("city") / "twelve"
    _build(out, *SMALL)
    return out


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The default data set."""
    out = tmp_path_factory.mktemp("city") / "usual"
    _build(out)
    return out


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """The original's data set."""
    out = tmp_path_factory.mktemp("city") / "fixed"
    _build(out, "--layout", "fixed")
    return out


def both(folder):
    return [kinds.load(folder, split) for split in dataset.SPLITS]


# ---------------------------------------------------------------- the original


def test_the_originals_map_is_the_published_one():
    roads = original.roads()
    assert np.bincount(roads.ravel()).tolist() == [492, 266, 775, 67]  # buildings, small, large, diagonal
    expected = "0a3c65976260978fe8df97d27c8f61a8134589c6ba743537edf8fb6ea8fb3ce5"
    assert hashlib.sha256(roads.tobytes()).hexdigest() == expected


def test_the_originals_generator_loses_the_bits_that_a_double_loses():
    rng = original.Lcg(1_000_000)
    expected = [0.3295561640, 0.9099352960, 0.6381225589, 0.5866146090, 0.7115058902]
    assert [rng.draw() for _ in range(5)] == pytest.approx(expected, abs=5e-11)


@pytest.mark.parametrize(
    "split, number, start, goal, hour, seed",
    [
        ("train", 0, (13, 15), (13, 36), 17, 586614),
        ("train", 1, (4, 33), (24, 18), 12, 194328),
        ("train", 2, (28, 16), (4, 37), 10, 802043),
        ("test", 10000, (8, 14), (32, 2), 20, 222248),
        ("test", 10001, (13, 32), (24, 18), 17, 168011),
        ("test", 10002, (13, 15), (4, 4), 17, 253240),
    ],
)
def test_the_originals_scenarios(split, number, start, goal, hour, seed):
    found = original.scenario(split, number)
    assert [divmod(cell, 40)[::-1] for cell in found[:2]] == [start, goal]  # published as (x, y)
    assert (found.hour, found.traffic_seed) == (hour, seed)


@pytest.mark.parametrize(
    "split, number, expected",
    [
        ("train", 0, [(28, 74), (28, 74), (24, 87), (24, 87)]),
        ("train", 1, [(36, 55), (36, 55), (38, 61), (38, 80)]),
        ("train", 2, [(46, 48), (46, 48), (46, 48), (72, 86)]),
    ],
)
def test_the_originals_routes_and_their_costs(split, number, expected):
    scenario = original.scenario(split, number)
    found = [original.variant(scenario, vehicle) for vehicle in range(4)]
    assert [(len(route), cost) for _, route, cost, _ in found] == expected
    assert not any(relaxed for *_, relaxed in found)


def test_the_original_breaks_its_rule_where_a_vehicle_finds_no_way():
    _, route, cost, relaxed = original.variant(original.scenario("test", 10002), 3)
    assert (len(route), cost, relaxed) == (21, 24, True)


def test_the_originals_data_are_the_same_to_the_bit(fixed):
    expected = {
        "train": ("b60107de51d3e42fabb0f9fe36b181d70ebe226683c78527e3409609cdc61607",
                  "b54e9354cafa114f19590e4cfc340c612b5356304b87761398d4b556732a5920"),
        "test": ("2307b9f1bd9bda880bee464ba9cc314eab760aeb1ebb19f513eff0b78d7fef15",
                 "3f5054ff1e7c1523975d605d5ab5bc58a179cdd83a1bf366ef5b493080fd3b65"),
    }  # fmt: skip
    inputs, labels = np.zeros(12, int), np.zeros(12, int)
    for puzzles in both(fixed):
        arrays = puzzles.inputs, puzzles.labels
        digests = (hashlib.sha256(a.astype(np.int32).tobytes()).hexdigest() for a in arrays)
        assert tuple(digests) == expected[puzzles.split]
        assert (puzzles.meta.vocab_size, puzzles.meta.ignore_label_id) == (10, None)
        assert puzzles.meta.num_puzzle_identifiers == 1 and not puzzles.puzzle_of_example.any()
        assert (np.diff(puzzles.group_indices) == 4).all()
        inputs += np.bincount(puzzles.inputs.ravel(), minlength=12)
        labels += np.bincount(puzzles.labels.ravel(), minlength=12)
    assert inputs[1:9].tolist() == [669120, 341498, 864502, 74719, 223441, 0, 1360, 1360]
    assert (labels[0], labels[9]) == (2129488, 46512)


def test_the_originals_data_contradict_themselves(fixed):
    """F2 of the facts: 139 training inputs have several labels; 77.1 % and 74.0 % are the most there is."""
    train, test = both(fixed)
    assert statistics.contradictions(train) == (139, 740)
    assert statistics.contradictions(test)[1] == 296
    pairs = [len({(a.tobytes(), b.tobytes()) for a, b in zip(p.inputs, p.labels, strict=True)})
             for p in (train, test)]  # fmt: skip
    assert pairs == [501, 219]
    hours = dataset.extra(train, "hours")
    assert collections.Counter(hours.tolist())[20] == 52 and collections.Counter(hours.tolist())[23] == 16
    assert dataset.extra(test, "scenario_ids").tolist() == list(range(10_000, 10_100))


# ---------------------------------------------------------------- routes


def test_what_a_vehicle_pays_is_its_table():
    for vehicle in PRICES:
        for token in range(1, 12):
            found = int(tokens.COSTS[vehicle, token])
            assert found == (price(token, vehicle) or tokens.NOWHERE)
    assert (tokens.COSTS[:, [0, 1, 6, 9]] == tokens.NOWHERE).all()  # padding, buildings, closures, path


def open_square(start, goal, size=4):
    grid = np.full((1, size, size), tokens.LARGE, np.uint8)
    grid[0][start], grid[0][goal] = tokens.START, tokens.GOAL
    return grid


def test_the_canonical_route_goes_down_then_up_then_right_then_left():
    vehicle = np.array([CAR])
    for start, goal, expected in (
        ((0, 0), (2, 2), [(1, 0), (2, 0), (2, 1)]),  # down before right
        ((0, 2), (2, 0), [(1, 2), (2, 2), (2, 1)]),  # down before left
        ((2, 0), (0, 2), [(1, 0), (0, 0), (0, 1)]),  # up before right
        ((2, 2), (0, 0), [(1, 2), (0, 2), (0, 1)]),  # up before left
    ):
        label = answers.solved(open_square(start, goal, 3), vehicle)[0]
        assert set(map(tuple, np.argwhere(label == tokens.PATH))) == set(expected)
    entering = tokens.entering(open_square((0, 0), (3, 3)), vehicle)
    assert routes.number(entering, np.array([0]), np.array([15])) == 20


def test_costs_of_random_grids_are_those_of_another_search():
    """Any tokens at all, dead ends and unreachable goals among them."""
    rng = np.random.default_rng(0)
    grids = rng.choice([1, 1, 2, 3, 3, 4, 5, 6, 10, 11], (120, 9, 9)).astype(np.uint8)
    cells = np.array([rng.permutation(81)[:2] for _ in grids])
    flat = grids.reshape(120, 81)
    flat[np.arange(120), cells[:, 0]], flat[np.arange(120), cells[:, 1]] = tokens.START, tokens.GOAL
    vehicles = rng.integers(1, 5, 120)
    found = answers.least_cost(grids, vehicles)
    expected = [a_star(grid.tolist(), vehicle) for grid, vehicle in zip(grids, vehicles, strict=True)]
    assert found.tolist() == [tokens.NOWHERE if cost is None else cost for cost in expected]
    reachable = found < tokens.NOWHERE
    assert 20 < reachable.sum() < 100
    labels = answers.solved(grids, vehicles)
    for m in np.flatnonzero(reachable):
        assert walked(grids[m].tolist(), labels[m].tolist(), vehicles[m]) == found[m]
    np.testing.assert_array_equal(labels[~reachable], grids[~reachable])


# ---------------------------------------------------------------- our law


def test_the_default_is_what_was_asked_for(usual):
    train, test = both(usual)
    for puzzles, groups, first in ((train, 240, 0), (test, 100, 10_000)):
        assert (puzzles.kind, puzzles.height, puzzles.width) == ("city", 40, 40)
        assert puzzles.inputs.shape == (4 * groups, 1600) and puzzles.meta.mean_puzzle_examples == 1
        assert (puzzles.meta.vocab_size, puzzles.meta.total_groups) == (12, groups)
        assert puzzles.puzzle_of_example.tolist() == [BIKE, CAR, VAN, TRUCK] * groups
        assert dataset.extra(puzzles, "scenario_ids").tolist() == list(range(first, first + groups))
        shared = puzzles.inputs.reshape(groups, 4, -1)
        assert (shared == shared[:, :1]).all()  # one traffic for the four vehicles
        assert statistics.contradictions(puzzles) == (0, 4 * groups)
        assert puzzles.labels.min() > 0  # the ignored label hides nothing
    found = statistics.statistics(test, train)
    assert found["street plans"] == 100 and found["street plans shared with train"] == 0
    assert found["closed cells"] > 500 and found["as cheap as the label: path everywhere, %"] == 0
    assert found["tokens right by copying the input, %"] < 98.5
    names = json.loads((usual / "identifiers.json").read_text())
    assert names == ["<blank>", "bike", "car", "van", "truck"]
    counts = collections.Counter(int(h) for p in (train, test) for h in dataset.extra(p, "hours"))
    assert set(counts) == set(law.HOURS)
    chi_square = sum((count - 42.5) ** 2 / 42.5 for count in counts.values())
    assert chi_square < 18.5  # the 99 % point with 7 degrees of freedom; of the original's train, 48.4
    labels = np.concatenate([train.labels, test.labels]).reshape(340, 4, -1)
    distinct = np.mean([len({row.tobytes() for row in four}) / 4 for four in labels])
    assert 0.58 < distinct < 0.68  # 0.633 in the facts
    differ = [(labels[:, a] != labels[:, a + 1]).any(axis=1).mean() for a in range(3)]
    np.testing.assert_allclose(differ, [0.87, 0.50, 0.17], atol=0.06)
    freed = tokens.FREED[np.concatenate([train.inputs, test.inputs])]
    shares = np.bincount(freed.ravel(), minlength=5)[1:5] / freed.size
    np.testing.assert_allclose(shares, [0.33, 0.15, 0.51, 0.016], atol=0.015)


def test_the_default_is_the_same_everywhere(usual):
    """The stream of draws is a function of the seed alone: the page draws the same."""
    expected = {
        "train": ["c96c60a84ab73d5d", "af94723eb03f6ba9"],
        "test": ["4d613fdd4ec23097", "c32ff893785ed382"],
    }
    for puzzles in both(usual):
        arrays = puzzles.inputs, puzzles.labels
        assert [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in arrays] == expected[puzzles.split]


def test_all_1360_routes_are_legal_and_cheapest_by_another_search(usual):
    assert sum(agrees(puzzles) for puzzles in both(usual)) == 1360


def test_small_cities_have_cheapest_routes_and_share_no_plan(small):
    train, test = both(small)
    assert agrees(train) == 160 and agrees(test) == 120
    assert statistics.statistics(train, test)["street plans shared with test"] == 0
    assert {int(h) for p in (train, test) for h in dataset.extra(p, "hours")} == {6, 8, 17, 18}


@pytest.mark.parametrize("size", [8, 9, 10, 13, 19, 20, 27, 40])
def test_a_city_of_any_size_has_everything_that_a_city_has(size):
    of = law.measures(size)
    drawn = [law.draw(law.Law(size=size, hours=(8, 23)), "train", n)[0] for n in range(24)]
    freed = tokens.FREED[np.stack(drawn)]
    for token in (tokens.BUILDING, tokens.SMALL, tokens.LARGE, tokens.DIAGONAL):
        assert (freed == token).any(axis=(1, 2)).mean() > 0.6, token
    assert 0.2 < (freed == tokens.BUILDING).mean() < 0.45
    assert 0.3 < (freed == tokens.LARGE).mean() < 0.6
    assert (np.stack(drawn) == tokens.CLOSURE).any() and (np.stack(drawn) == tokens.JAM).any()
    for grid in drawn:
        (a, b), (c, d) = (np.argwhere(grid == token)[0] for token in (tokens.START, tokens.GOAL))
        assert of.apart[0] <= abs(a - c) + abs(b - d) <= of.apart[1]
        assert min(a, b, c, d) >= of.margin and max(a, b, c, d) < size - of.margin


def test_the_measures_of_forty_cells_are_those_of_the_facts():
    assert law.measures(40) == law.Measures(2, (1, 3), 2, (4, 6), 8, (28, 40), (7, 11), (8, 13), 3, (15, 50))


def test_a_scenario_depends_on_its_own_number_and_the_seed_alone(small, tmp_path):
    _build(tmp_path / "more", *SMALL[:2], "--train", 45, "--test", 31, *SMALL[6:])
    for few, more in zip(both(small), both(tmp_path / "more"), strict=True):
        np.testing.assert_array_equal(more.inputs[: len(few.inputs)], few.inputs)
    other = law.draw(law.Law(size=12, seed=1), "train", 0)[0]
    assert (other != law.draw(law.Law(size=12), "train", 0)[0]).any()


@pytest.mark.parametrize("jam", [0.0, 0.5])
def test_the_share_of_jams_is_that_which_is_asked_for(jam):
    grids = np.stack([law.draw(law.Law(size=20, jam=jam, hours=(8,)), "test", n)[0] for n in range(60)])
    on_large = (grids == tokens.JAM).sum() / np.isin(grids, (tokens.JAM, tokens.LARGE)).sum()
    on_small = (grids == tokens.JAM_SMALL).sum() / np.isin(grids, (tokens.JAM_SMALL, tokens.SMALL)).sum()
    assert on_large == pytest.approx(jam, abs=0.03) and on_small == pytest.approx(0.3 * jam, abs=0.03)


def test_start_and_goal_are_as_far_apart_as_is_asked_for():
    for number in range(20):
        grid, _ = law.draw(law.Law(size=10, apart=(7, 8)), "train", number)
        ends = [np.argwhere(grid == token)[0] for token in (tokens.START, tokens.GOAL)]
        assert 7 <= abs(ends[0] - ends[1]).sum() <= 8


def test_ten_tokens_keep_the_class_of_every_road(tmp_path):
    ours = law.Law(size=20, vocabulary=10, hours=(8,))
    grids = np.stack([law.draw(ours, "test", n)[0] for n in range(20)])
    assert (grids == tokens.JAM).any() and grids.max() < 9
    _build(tmp_path / "ten", "--size", 12, "--vocab", 10, "--train", 4, "--test", 8)
    test = kinds.load(tmp_path / "ten", "test")
    assert test.meta.vocab_size == 10 and agrees(test) == 32


# ---------------------------------------------------------------- the data set


def test_the_data_set_does_not_depend_on_processes_nor_on_interruptions(small, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "CELLS", 12 * 12 * 16)  # parts of 16 scenarios: 40 and 30 make five
    asked, drawn = [], law.draw

    def interrupted(ours, split, number):
        asked.append(number)
        if len(asked) == 40:
            raise KeyboardInterrupt
        return drawn(ours, split, number)

    monkeypatch.setattr(law, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path / "one", *SMALL)
    assert not (tmp_path / "one").exists() and len(list((tmp_path / "one.parts").glob("*.npz"))) == 2
    _build(tmp_path / "one", *SMALL)
    assert len(asked) == 40 + 70 - 32  # two parts were not made again
    assert _bytes(tmp_path / "one") == _bytes(small)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    monkeypatch.setattr(law, "draw", drawn)
    command.main(["city", "--out", str(tmp_path / "two"), "--jobs", "2", *map(str, SMALL)])
    assert _bytes(tmp_path / "two") == _bytes(small)


def test_a_folder_that_is_there_is_left_alone(small, capsys):
    before = _bytes(small)
    _build(small, *SMALL)
    assert "there already" in capsys.readouterr().out and _bytes(small) == before
    with pytest.raises(RequestError, match="with other settings"):
        _build(small, *SMALL, "--seed", 1)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--size", 7], "--size 7: 8 to 40 are allowed"),
        (["--size", 41], "--size 41: 8 to 40 are allowed"),
        (["--train", 0], "--train 0: at least 1"),
        (["--test", 10**7], "--test 10000000: at most 1,000,000"),
        (["--hours", 6, 24], "--hours 6 24: hours are from 0 to 23"),
        (["--jam", 1], "--jam 1.0: from 0 on, and less than 1"),
        (["--jam", "nan"], "--jam nan: from 0 on, and less than 1"),
        (["--vocab", 11], "argument --vocab: invalid choice: 11"),
        (["--layout", "fixed", "--size", 40], "--size: the fixed layout is the original's, which has none"),
        (["--layout", "fixed", "--jam", 0], "--jam: the fixed layout is"),
        (["--layout", "fixed", "--seed", 1], "--seed: the fixed layout is"),
        (["--size", 8, "--train", 2, "--test", 2, "--jam", 0.9999], "give a lower --jam, a wider --apart"),
        (["--size", 8, "--apart", "0:0"], "--apart 0:0: start and goal are 1 to 14 apart"),
        (["--size", 8, "--apart", "15:"], "start and goal are 1 to 14 apart"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(words, told, tmp_path, capsys):
    given = ["city", "--out", tmp_path / "c", "--jobs", 1, *words]
    assert run_command(command.main, [str(word) for word in given]) == 2
    error = capsys.readouterr().err.splitlines()
    assert told in error[-1] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["repaired", "fixed"])
@pytest.mark.parametrize("form", ["grid", "path_only"])
def test_both_formats_of_labels_can_be_judged(layout, form, tmp_path):
    size = () if layout == "fixed" else ("--size", 12)
    words = ("--layout", layout, "--label-format", form, "--train", 3, "--test", 2, *size)
    _build(tmp_path / "c", *words)
    for puzzles in both(tmp_path / "c"):
        used = set(np.unique(puzzles.labels))
        assert used == {0, 9} if form == "path_only" else {1, 7, 8, 9} < used
        ignored = puzzles.meta.ignore_label_id
        assert ignored is (None if form == "path_only" else 0) or ignored == 0
        whole = slice(0, len(puzzles.inputs))
        assert answers.lenient(puzzles, whole, puzzles.labels).all()
        assert not answers.lenient(puzzles, whole, puzzles.inputs).any()
        given = puzzles.inputs, puzzles.puzzle_of_example
        assert not answers.lenient(puzzles, whole, answers.everywhere(puzzles)(*given)).any()
        by_car = answers.lenient(puzzles, whole, answers.of_the_car(puzzles)(*given))
        assert by_car.reshape(-1, 4)[:, CAR - 1].all()


@pytest.mark.parametrize("change", ["vehicle", "label", "building", "start"])
def test_data_that_break_the_rules_are_refused(small, tmp_path, change):
    folder = tmp_path / "c"
    shutil.copytree(small, folder)
    place = folder / "test"
    inputs, labels = (np.load(place / f"all__{name}.npy") for name in ("inputs", "labels"))
    if change == "vehicle":
        np.save(place / "all__puzzle_identifiers.npy", np.tile(np.array([4, 3, 2, 1], np.int32), 30))
    if change == "label":
        labels[5] = inputs[5]
    if change == "building":  # a short cut through a building
        labels[5][np.flatnonzero(inputs[5] == tokens.BUILDING)[0]] = tokens.PATH
    if change == "start":
        inputs[5][inputs[5] == tokens.START] = tokens.LARGE
    np.save(place / "all__inputs.npy", inputs)
    np.save(place / "all__labels.npy", labels)
    with pytest.raises(RequestError, match=r"kind is 'city', but example \d+ needs one start, one goal"):
        kinds.load(folder, "test")


def test_labels_that_are_ignored_but_for_the_path_are_refused(tmp_path):
    """The original's own metadata: nothing but PATH is left to learn."""
    _build(tmp_path / "c", "--layout", "fixed", "--train", 2, "--test", 2)
    for split in dataset.SPLITS:
        path = tmp_path / "c" / split / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ignore_label_id": 0}))
    with pytest.raises(RequestError, match="ignore_label_id 0 hides the answer"):
        kinds.load(tmp_path / "c", "test")


def test_the_originals_data_without_a_kind_are_recognised(tmp_path):
    _build(tmp_path / "c", "--layout", "fixed", "--train", 2, "--test", 2)
    for split in dataset.SPLITS:
        path = tmp_path / "c" / split / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": ""}))
    assert kinds.load(tmp_path / "c", "test").kind == "city"


# ---------------------------------------------------------------- judgement


CITY = """
    S---G
    .###.
    .#j-.
    .....
    """
SIGNS = {"S": 7, "G": 8, "-": 3, ".": 2, "#": 1, "j": 10, "o": 9}


def drawn(text):
    return np.array([[SIGNS[sign] for sign in row] for row in text.split()], np.uint8)


@pytest.mark.parametrize(
    "vehicle, answer, forbidden, valid, cost",
    [
        (TRUCK, "SoooG .###. .#j-. .....", 0, True, 4),
        (BIKE, "SoooG .###. .#j-. .....", 0, True, 8),
        (CAR, "SoooG .###. .#j-. .....", 0, True, 4),
        (TRUCK, "S---G o###o o#j-o ooooo", 9, False, None),  # by small roads
        (CAR, "S---G o###o o#j-o ooooo", 0, True, 28),  # a detour is a way
        (CAR, "SooG- .###. .#j-. .....", 0, False, None),  # the goal elsewhere
        (CAR, "Soo-G .###. .#j-. .....", 0, False, None),  # a gap
        (CAR, "SoooG o###. .#j-. .....", 0, False, None),  # a branch
        (CAR, "SoooG .###. .#j-. ....o", 0, False, None),  # a cell apart
        (CAR, "SoooG .#o#. .#j-. .....", 1, False, None),  # a building
        (CAR, "SoooG .###. .#--. .....", 0, False, None),  # a jam taken away
        (CAR, "oooog .###. .#j-. .....".replace("g", "o"), 0, False, None),  # the ends overwritten
        (CAR, "S---G o###o o#ooo ooooo", 0, False, None),  # two ways
    ],
)  # fmt: skip
def test_the_verdict_on_an_answer(vehicle, answer, forbidden, valid, cost):
    grid = drawn(CITY)[None]
    vehicles = np.array([vehicle])
    labels = answers.solved(grid, vehicles)
    found = answers.judge(grid, labels, vehicles, drawn(answer)[None, None])
    assert found.valid.tolist() == [[valid]] and found.forbidden.tolist() == [[forbidden]]
    if valid:
        assert found.cost.tolist() == [[cost]]
        least = answers.least_cost(grid, vehicles).item()
        puzzles = types.SimpleNamespace(
            inputs=grid.reshape(1, -1), labels=labels.reshape(1, -1), height=4, width=5,
            puzzle_of_example=vehicles,
        )  # fmt: skip
        right = answers.lenient(puzzles, slice(None), drawn(answer).reshape(1, -1))
        assert right.tolist() == [cost == least]


def test_baselines_are_solved_and_recorded_with_their_vehicles(small, tmp_path, capsys, monkeypatch):
    """The command prints them; of recorded answers, the page says what the table says."""
    solve.main(["--data", str(small)])
    table = capsys.readouterr().out
    assert all(name in table for name in ("copy", "no traffic", "the car's route", "path everywhere"))
    puzzles, index = kinds.load(small, "test"), np.arange(40)
    answer = kinds.baselines(puzzles)["no traffic"](puzzles.inputs[index], puzzles.puzzle_of_example[index])
    none = np.full((1, 40, 1), np.nan, np.float32)
    recorded = answers_file.Answers(
        models=["no traffic"], index=index, inputs=puzzles.inputs[index], labels=puzzles.labels[index],
        puzzle_of_example=puzzles.puzzle_of_example[index], predictions=answer[None, :, None], q_halt=none,
        q_continue=none, kind="city", height=12, width=12,
    )  # fmt: skip
    answers_file.write(tmp_path / "a.npz", recorded)
    read = answers_file.load(tmp_path / "a.npz")
    shown = packing.answers(read, 0, {})["examples"]
    right = [e["answers"][0]["exact"][0] + e["answers"][0]["another"][0] for e in shown]
    assert right == answers.lenient(puzzles, index, answer).astype(int).tolist() and 5 < sum(right) < 40
    with archive.reading(tmp_path / "a.npz", "", "") as arrays:
        old = {name: array for name, array in arrays.items() if name != "puzzle_of_example"}
    archive.write(tmp_path / "old.npz", old)  # before vehicles were kept
    assert not answers_file.load(tmp_path / "old.npz").puzzle_of_example.any()
    archive.write(tmp_path / "bad.npz", old | {"puzzle_of_example": -np.ones(40, int)})
    with pytest.raises(RequestError, match="numbers below 0"):
        answers_file.load(tmp_path / "bad.npz")
