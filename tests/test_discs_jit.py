"""The world of discs under jit: its draw, its motion against the referee's, its scenarios, its errors."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import drawing
from hrm_jax.judging import on_device
from hrm_jax.referee import dynamics
from hrm_jax.tasks import exporting
from hrm_jax.worlds import motion
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import of_config

DISCS = of_config(benchmark.get_config("discs,lstm").data.world)
MAPS = 500


@pytest.fixture(scope="module")
def drawn():
    """Maps [500, 64, 64], discs [500, 10, 3], obstacles, start and goal [500, 2] of 500 worlds."""

    @jax.jit
    @jax.vmap
    def draw(key):
        discs = drawing.draw_static(DISCS, jax.random.split(key)[0])
        cells, obstacles = drawing.reset(DISCS, key)
        return cells, discs, obstacles, *drawing.ends(DISCS, cells, key)

    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(3), MAPS)))


def test_a_map_is_the_union_of_its_discs(drawn):
    line = np.arange(64)
    for cells, discs in zip(drawn[0][:20], drawn[1][:20], strict=True):
        expected = np.zeros((64, 64), bool)
        for row, col, radius in discs:
            expected |= (line[:, None] - row) ** 2 + (line - col) ** 2 <= radius**2
        np.testing.assert_array_equal(cells, expected)


def test_the_draw_has_the_published_statistics(drawn):
    static, discs, obstacles, _, _ = drawn
    share = static.mean(axis=(1, 2))
    # 9.3 % of the cells of 50 published maps (docs/worlds.md); 9.48 % of 2,000 maps of NumPy's draw.
    assert abs(share.mean() - 0.0948) < 4 * share.std() / MAPS**0.5
    assert discs[..., :2].min() == 0 and discs[..., :2].max() == 63
    assert set(np.unique(discs[..., 2])) == {2, 3, 4, 5}
    for values, low, high in ((obstacles.position, 0, 64), (obstacles.velocity, -0.75, 0.75)):
        assert values.min() >= low and values.max() < high
        sides = values.reshape(-1, 2)
        error = (high - low) / (12 * len(sides)) ** 0.5
        assert np.all(np.abs(sides.mean(axis=0) - (low + high) / 2) < 4 * error)
        assert abs(sides.std() - (high - low) / 12**0.5) < 4 * error
    rows, cols = np.floor(np.clip(obstacles.position, 0, 63)).astype(int).reshape(MAPS, -1, 2).T
    assert static[np.arange(MAPS), rows, cols].mean() > 0.05  # obstacles start among static cells too


def test_ends_are_free_and_distinct(drawn):
    static, _, _, start, goal = drawn
    for cells in (start, goal):
        assert cells.dtype == np.int32 and cells.min() >= 0 and cells.max() <= 63
        assert not static[np.arange(MAPS), *cells.T].any()
    assert np.all((start != goal).any(axis=1))
    assert np.linalg.norm(start - goal, axis=1).mean() > 25  # 33 cells, if both are uniform


def test_every_pair_of_free_cells_is_drawn_as_often():
    config = dataclasses.replace(DISCS, size=3, n_static=0)
    occupancy = jnp.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], bool)
    draw = jax.jit(jax.vmap(functools.partial(drawing.ends, config, occupancy)))
    start, goal = (np.asarray(cells) for cells in draw(jax.random.split(jax.random.key(0), 6000)))
    pairs, counts = np.unique(np.concatenate([start, goal], axis=1), axis=0, return_counts=True)
    free = [(0, 1), (1, 2), (2, 0)]
    assert {tuple(pair) for pair in pairs.tolist()} == {(*a, *b) for a in free for b in free if a != b}
    assert np.abs(counts - 1000).max() < 120  # four standard deviations


def test_obstacles_move_as_the_referee_says(drawn):
    position, velocity = (a[:40].astype(np.float64) for a in drawn[2][:2])
    scenarios = scenario_file.Scenarios(
        world=DISCS,
        ids=np.arange(40),
        static=drawn[0][:40],
        **scenario_file.obstacle_arrays(Obstacles(position, velocity)),
        start=drawn[3][:40].astype(np.int64),
        goal=drawn[4][:40].astype(np.int64),
    )
    theirs = dynamics.roll(scenarios, 100)[1][:, 1:]
    for dtype, tolerance in (
        (np.float64, 1e-9),
        (np.float32, 1e-3),
    ):  # a float32 near 64 is good to 4e-6 a step
        with on_device.enable_x64(dtype == np.float64):
            roll = jax.jit(jax.vmap(functools.partial(motion.roll, DISCS, steps=100, scan=jax.lax.scan)))
            ours = roll(Obstacles(jnp.asarray(position, dtype), jnp.asarray(velocity, dtype)))[1]
            assert ours.dtype == dtype and np.abs(np.asarray(ours) - theirs).max() < tolerance


def test_scenarios_of_a_run_have_drawn_ends(tmp_path):
    config = benchmark.get_config("discs,lstm").to_dict()
    (tmp_path / "config.json").write_text(json.dumps(config))
    scenario_file.save(tmp_path / "scenarios.npz", exporting.draw_scenarios(tmp_path, 6))
    scenarios = scenario_file.load(tmp_path / "scenarios.npz")  # refuses ends that are not free
    assert scenarios.world.generator == "jax" and scenarios.world.size == 64
    assert len({tuple(cells) for cells in scenarios.start.tolist() + scenarios.goal.tolist()}) == 12
    assert np.abs(scenarios.velocities).max() <= 0.75 and scenarios.static.any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"layout": "disks"}, 'data.world.layout = "disks": one of cells, discs; did you mean "discs"'),
        ({"connected": True}, "connected = True"),
        ({"safe_start": True}, "safe_start = True"),
        ({"distinct_static": True}, "distinct_static = True"),
        ({"kinds": ("bounce", "patrol")}, "obstacles bounce"),
        ({"interacting": True}, "interacting = False"),
        ({"noise": 0.1}, "noise = drop = 0"),
        ({"n_static": 51}, "n_static = 51: 0 to 50 discs"),
        ({"n_static": -1}, "n_static = -1"),
    ],
)
def test_an_impossible_world_is_refused_in_one_line(changes, complaint):
    with pytest.raises(RequestError) as error:
        dataclasses.replace(DISCS, **changes)
    assert complaint in str(error.value) and "\n" not in str(error.value)
