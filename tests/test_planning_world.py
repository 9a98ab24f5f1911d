"""Scenarios: the published draws number by number, and what the standard draw promises."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing, dynamics, geometry
from hrm_jax.worlds import motion
from hrm_jax.worlds.geometry import swept_distance
from hrm_jax.worlds.world import WORLDS, World

STATIC_100 = (
    "1,14 2,2 2,9 2,12 2,14 2,17 3,7 4,1 4,4 4,11 7,15 7,16 8,3 13,19 14,17 16,9 16,10 16,15 17,15 19,2"
)
STATIC_5000 = (
    "0,19 1,2 1,13 2,1 3,0 3,6 3,17 5,2 6,9 7,0 7,12 7,16 7,17 8,11 12,12 13,16 14,3 14,10 17,11 18,14"
)


def _cells(text):
    return [tuple(map(int, cell.split(","))) for cell in text.split()]


def test_published_world_of_seed_100():
    drawn = drawing.draw(WORLDS["hrm-cloud"], [100])
    assert list(map(tuple, np.argwhere(drawn.static[0]).tolist())) == _cells(STATIC_100)
    assert drawn.positions[0].tolist() == [[7, 13], [17, 4], [13, 12], [15, 3], [4, 5], [2, 10]]
    velocities = [
        [0.66724741579, 0.211614947775],
        [0.690545380064, 0.114660708492],
        [0.530126569589, -0.457127794184],
        [0.414688089111, 0.563944845485],
        [0.465237748579, 0.523023744487],
        [-0.69105060136, 0.111575384202],
    ]
    np.testing.assert_allclose(drawn.velocities[0], velocities, atol=1e-11)
    after_20 = [
        [19.99, 17.232299],
        [9.631819, 6.293214],
        [16.809241, 2.857444],
        [17.087183, 14.278897],
        [13.304755, 15.460475],
        [11.74786, 12.231508],
    ]
    np.testing.assert_allclose(dynamics.roll(drawn, 20)[1][0, 20], after_20, atol=1e-6)


def test_published_world_of_seed_5000():
    drawn = drawing.draw(WORLDS["hrm-cloud/small"], [5000])
    assert list(map(tuple, np.argwhere(drawn.static[0]).tolist())) == _cells(STATIC_5000)
    assert drawn.positions[0, 0].tolist() == [6, 8]
    velocity = [0.652087132769, 0.254523812789]
    np.testing.assert_allclose(drawn.velocities[0, 0], velocity, atol=1e-11)


def test_a_wall_cuts_the_step_short_and_turns_it_back():
    position, velocity = np.array([[0.3, 19.9]]), np.array([[-0.5, 0.4]])
    once, turned = motion.bounce(position, velocity, 20)
    twice, _ = motion.bounce(once, turned, 20)
    np.testing.assert_allclose(once, [[0.0, 19.99]])
    np.testing.assert_allclose(twice, [[0.5, 19.59]])


def test_standard_scenarios_keep_their_promises():
    drawn = drawing.draw(WORLDS["standard"], range(300))
    assert (drawn.static.sum(axis=(1, 2)) == 12).all()
    assert not drawn.static[:, 0, 0].any() and not drawn.static[:, 19, 19].any()
    assert all(_has_path(static) for static in drawn.static)
    row, col = drawn.positions.astype(int).transpose(2, 0, 1)
    assert (drawn.positions == np.stack([row, col], axis=-1)).all()
    assert not drawn.static[np.arange(300)[:, None], row, col].any()
    np.testing.assert_allclose(np.linalg.norm(drawn.velocities, axis=-1), 0.7)
    paths = dynamics.roll(drawn, 22)[1]
    assert swept_distance(paths[:, 19:22], paths[:, 20:23]).min() >= 2
    assert swept_distance(paths[:, 0:3], paths[:, 1:4]).min() < 2  # it is a matter of timing


def _has_path(static):
    """Flood fill, cell by cell."""
    seen, border = {(0, 0)}, [(0, 0)]
    while border:
        r, c = border.pop()
        for cell in ((r, c + 1), (r, c - 1), (r + 1, c), (r - 1, c)):
            if min(cell) >= 0 and max(cell) < len(static) and cell not in seen and not static[cell]:
                seen.add(cell)
                border.append(cell)
    return (len(static) - 1, len(static) - 1) in seen


def test_connected_agrees_with_flood_fill():
    generator = np.random.default_rng(0)
    verdicts = []
    for _ in range(300):
        static = generator.random((7, 7)) < 0.4
        static[0, 0] = static[-1, -1] = False
        verdicts.append(_has_path(static))
        assert geometry.connected(static, (0, 0), (6, 6)) == verdicts[-1]
    assert 50 < sum(verdicts) < 250


@pytest.mark.parametrize("name", WORLDS)
def test_a_scenario_depends_on_its_world_and_id_only(name):
    every, some = drawing.draw(WORLDS[name], range(40)), drawing.draw(WORLDS[name], range(31, 34))
    for field in scenario_file.SCHEMA:
        np.testing.assert_array_equal(getattr(every, field)[31:34], getattr(some, field))
    other = drawing.draw(replace(WORLDS[name], name="other"), range(31, 34))
    same = (other.velocities == some.velocities).all()
    assert same == WORLDS[name].generator.endswith("mt19937")  # a published seed is a seed in any world


def test_a_standard_scenario_stays_what_it_is():
    """Tables of results lean on these numbers; they change under a new world name only."""
    drawn = drawing.draw(WORLDS["standard"], [0])
    assert np.flatnonzero(drawn.static).tolist() == [
        18, 29, 128, 163, 177, 191, 230, 241, 249, 315, 343, 386,
    ]  # fmt: skip
    assert drawn.positions[0].tolist() == [[9, 18], [14, 5], [2, 8], [15, 6], [13, 17], [9, 6]]
    velocity = [-0.022692287767718575, 0.6996320890838749]
    np.testing.assert_allclose(drawn.velocities[0, 0], velocity, rtol=1e-12)


def test_impossible_worlds_are_refused():
    with pytest.raises(RequestError, match="n_static = 399: 0 to 398"):
        drawing.draw(World("full", n_static=399), [0])
    with pytest.raises(RequestError, match="no static path in 1000 maps of 14 static cells"):
        drawing.draw(World("walled", size=4, n_static=14), [0])
    with pytest.raises(RequestError, match="size = 65"):
        drawing.draw(World("wide", size=65), [0])


def test_scenarios_survive_a_file(tmp_path):
    drawn = drawing.draw(World("small", size=9, n_static=3, n_obstacles=2), range(5, 9))
    scenario_file.save(tmp_path / "scenarios.npz", drawn)
    loaded = scenario_file.load(tmp_path / "scenarios.npz")
    assert loaded.world == drawn.world
    for field in scenario_file.SCHEMA:
        np.testing.assert_array_equal(getattr(loaded, field), getattr(drawn, field))


def test_damaged_scenario_files_are_refused(tmp_path):
    path = tmp_path / "scenarios.npz"
    scenario_file.save(path, drawing.draw(WORLDS["standard"], range(3)))
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], whole[:-30], b"text\n"):
        path.write_bytes(damaged)
        with pytest.raises(RequestError, match="scenarios.npz"):
            scenario_file.load(path)
    with pytest.raises(RequestError, match="no such"):
        scenario_file.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("name", WORLDS)
def test_files_of_before_the_flags_load_with_the_same_meaning(tmp_path, name):
    """Until 2026 the world in a file did not say how static cells were drawn."""
    drawn, path = drawing.draw(WORLDS[name], [3]), tmp_path / "scenarios.npz"
    said = asdict(WORLDS[name])
    for flag in ("distinct_static", "connected", "safe_start"):
        del said[flag]
    arrays = {field: getattr(drawn, field) for field in scenario_file.SCHEMA}
    np.savez(path, world=json.dumps(said), **arrays)
    assert scenario_file.load(path).world == WORLDS[name]
    np.savez(path, world=json.dumps(said | {"name": "a run's", "generator": "jax"}), **arrays)
    assert scenario_file.load(path).world.layout == WORLDS[name].layout
