"""The expert against A* with a queue, and the published figures of its worlds."""

import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths import expert
from hrm_jax.referee.paths.planners import PLANNERS, published_future
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.worlds.world import WORLDS

PUBLISHED = PATH_PROTOCOLS["diffusion/2025-12"]


@pytest.fixture(scope="module")
def worlds():
    return drawing.draw(WORLDS["diffusion"], range(1000, 1050))


def _small(seed, count=12, size=9, points=14, obstacles=3):
    """Crowded little worlds: static [A, R, C], start and goal [A, 2], tracks [A, P, N, 2]."""
    random = np.random.default_rng(seed)
    static = random.random((count, size, size)) < 0.25
    start, goal = random.integers(size, size=(2, count, 2))
    static[np.arange(count), *start.T] = static[np.arange(count), *goal.T] = False
    positions = random.uniform(0, size, (count, obstacles, 2))
    velocities = random.uniform(-0.75, 0.75, (count, obstacles, 2))
    return static, start, goal, published_future(positions, velocities, size, points)


@pytest.mark.parametrize("published", [False, True])
def test_the_plans_are_those_of_a_queue(published):
    options = dict(points=14, radius=1.5)
    if published:
        options |= dict(tolerance=2.0, wait_cost=0.0, cut_corners=True)
    search = expert.Search(**options)
    found = 0
    for seed in range(4):
        world = _small(seed)
        ours, queue = expert.plan(search, *world), expert.queue_search(search, *world, expert.GRAIN)
        np.testing.assert_array_equal(ours.points, queue.points)
        np.testing.assert_array_equal(ours.length, queue.length)
        found += (ours.length >= 0).sum()
    assert 10 < found < 48  # some have a plan, some have none


def test_a_plan_keeps_its_promises():
    search = expert.Search(points=14, radius=1.5)
    static, start, goal, tracks = _small(7, count=40)
    plans = expert.plan(search, static, start, goal, tracks)
    for a in np.flatnonzero(plans.length >= 0):
        points, last = plans.points[a], plans.length[a]
        np.testing.assert_array_equal(points[0], start[a])
        np.testing.assert_array_equal(points[last:], np.broadcast_to(goal[a], (14 - last, 2)))
        for t, (here, there) in enumerate(zip(points[:last], points[1:], strict=False), 1):
            assert np.abs(there - here).max() <= 1 and not static[a][tuple(there)]
            assert not static[a][here[0], there[1]] and not static[a][there[0], here[1]]  # no cut corner
            assert (np.linalg.norm(tracks[a, t] - there, axis=-1) >= 1.5).all()


def test_waiting_is_free_for_the_original_alone():
    static = np.zeros((1, 9, 9), bool)
    static[0, 3:6, 1] = static[0, 3, :] = True  # a wall, and the goal beyond its end
    none = np.zeros((1, 30, 0, 2))
    ends = np.array([[5, 3]]), np.array([[5, 8]])
    ours = expert.plan(expert.Search(points=30), static, *ends, none)
    assert ours.length[0] == 5
    assert (ours.points[0, :6] == [[5, c] for c in range(3, 9)]).all()


def test_the_published_draws_and_experts_give_the_published_counts(worlds):
    assert worlds.static.mean() == pytest.approx(0.093, abs=0.0005)
    tracks = published_future(worlds.positions, worlds.velocities, 64, 64)
    plans = expert.plan(expert.PUBLISHED, worlds.static, worlds.start, worlds.goal, tracks)
    assert worlds.ids[plans.length < 0].tolist() == [1001]


@pytest.mark.parametrize(
    "name, successes", [("straight_line", 23), ("straight_line_refined", 33), ("stand_still", 40)]
)
def test_published_figures(worlds, name, successes):
    outcomes = path_episode.run(worlds, PUBLISHED, PLANNERS[name](PUBLISHED)).outcomes
    assert outcomes.count("1") == successes


@pytest.mark.slow  # 20 seconds: the original's queue
@pytest.mark.parametrize("name, successes", [("expert", 49), ("expert_stretched", 34)])
def test_published_figures_of_the_expert(worlds, name, successes):
    outcomes = path_episode.run(worlds, PUBLISHED, PLANNERS[name](PUBLISHED)).outcomes
    assert outcomes.count("1") == successes and outcomes[1] == "0"


def test_the_corrected_worlds_leave_room():
    drawn = drawing.draw(WORLDS["discs"], range(40))
    far = np.abs(drawn.start - drawn.goal).max(axis=1)
    assert ((far >= 16) & (far <= 56)).all()
    path = dynamics.roll(drawn, drawn.world.history + 2)[1][:, drawn.world.history - 1 :]
    assert (np.linalg.norm(path - drawn.start[:, None, None], axis=-1) >= 4).all()
    again = drawing.draw(WORLDS["discs"], [7])
    np.testing.assert_array_equal(again.positions[0], drawn.positions[7])  # whichever others are drawn


def test_a_path_too_short_for_the_map_is_refused():
    ends = np.array([[0, 0]]), np.array([[0, 20]])
    with pytest.raises(RequestError, match="a path of 10 points makes 9 moves; start and goal are 20 apart"):
        expert.check_reach(expert.Search(points=10), *ends)
