"""The two rules that judge paths, by hand-made worlds and by brute force."""

import dataclasses

import numpy as np
import pytest

from hrm_jax.referee import drawing, geometry
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths import field as space_time_field
from hrm_jax.referee.paths.planners import PLANNERS, Planned, line
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.worlds.world import WORLDS

RULES, PUBLISHED = PATH_PROTOCOLS["paths"], PATH_PROTOCOLS["diffusion/2025-12"]


class Fixed:
    """Follows the same path always."""

    def __init__(self, path, replan=0):
        self.path, self.replan, self.asked = path, replan, []

    def plan(self, view, previous):
        self.asked.append((view.time, previous))
        path = np.broadcast_to(self.path, (len(view.ids), *self.path.shape)).astype(float)
        return Planned(path if previous is None else previous)


def _world(position=(40.0, 40.0), velocity=(0.0, 0.0), start=(10, 10), goal=(10, 30)):
    """One scenario: an empty map, an obstacle where it is said to be when the agent sets off."""
    drawn = drawing.draw(WORLDS["discs"], [0])
    positions = np.full_like(drawn.positions, 60.0)
    velocities = np.zeros_like(positions)
    positions[0, 0] = np.array(position) - drawn.world.history * np.array(velocity)
    velocities[0, 0] = velocity
    ends = dict(start=np.array([start]), goal=np.array([goal]))
    static = np.zeros_like(drawn.static)
    return dataclasses.replace(drawn, positions=positions, velocities=velocities, static=static, **ends)


def _straight(goal=(10, 30)):
    return line(np.array([[10.0, 10.0]]), np.array([goal], float), 64, 1.0)[0]


def _outcome(scenario, path, rules=RULES):
    return path_episode.run(scenario, rules, Fixed(path)).outcomes


def test_who_follows_a_free_path_arrives():
    assert _outcome(_world(), _straight()) == "1"


def test_no_agent_goes_faster_than_the_limit():
    jump = np.repeat(np.array([[10.0, 10.0], [10.0, 30.0]]), (63, 1), axis=0)
    assert _outcome(_world(), jump) == "T"
    moments = list(path_episode.play(_world(), RULES, Fixed(jump)))
    assert np.linalg.norm(moments[-1].arrived - moments[-1].agent) <= 1.4143


def test_a_collision_between_two_instants_counts():
    # Obstacle and agent swap places within a step: apart by 2.1 before and after, met in between.
    met = _world(position=(10.0, 20.55), velocity=(0.0, -0.7))
    at_rest = [m.outcomes[0] for m in path_episode.play(met, RULES, Fixed(_straight()))]
    assert at_rest[-1] == "0"
    wide = _world(position=(12.5, 20.0))
    assert _outcome(wide, _straight()) == "1"
    assert _outcome(_world(position=(11.9, 20.0)), _straight()) == "0"


def test_a_collision_comes_before_the_goal():
    blocked = _world(position=(10.0, 30.5))
    assert _outcome(blocked, _straight()) == "0"


def test_the_goal_is_within_two_cells():
    assert _outcome(_world(), _straight(goal=(10.0, 28.1))) == "1"
    assert _outcome(_world(), _straight(goal=(10.0, 28.0))) == "T"


def test_a_planner_is_asked_again_with_what_is_left_of_its_plan():
    planner = Fixed(_straight(), replan=4)
    assert path_episode.run(_world(), RULES, planner).outcomes == "1"
    times = [time for time, _ in planner.asked]
    assert times == [0, 4, 8, 12, 16] and planner.asked[0][1] is None
    np.testing.assert_allclose(planner.asked[1][1][0, 0], [10.0, 14.0])


def test_the_published_rule_tests_points_one_step_late_and_knows_no_speed():
    drawn = drawing.draw(WORLDS["diffusion"], range(1000, 1050))
    path = np.repeat(drawn.start[:, None].astype(float), 64, axis=1)
    path[:, -1] = drawn.goal
    expected = []
    for e in range(50):
        position, velocity, good = drawn.positions[e], drawn.velocities[e], True
        for k in range(64):
            moved = position + velocity
            turned = (moved < 0) | (moved >= 64)
            position, velocity = np.clip(moved, 0, 63.99), np.where(turned, -velocity, velocity)
            good &= not drawn.static[e][tuple(path[e, k].astype(int))]
            good &= bool((np.linalg.norm(position - path[e, k], axis=-1) >= 2).all())
        expected.append("1" if good else "0")
    planner = PLANNERS["stand_still"](PUBLISHED)
    assert path_episode.run(drawn, PUBLISHED, planner).outcomes == "".join(expected)


def test_crossed_cells_are_those_that_fine_sampling_finds():
    random = np.random.default_rng(0)
    static = random.random((6, 12, 12)) < 0.3
    start = random.uniform(-0.4, 11.4, (6, 300, 2))
    end = start + random.uniform(-1.4, 1.4, start.shape)
    share = np.linspace(0, 1, 4001)[:, None]
    for world in range(6):
        points = start[world, :, None] * (1 - share) + end[world, :, None] * share
        cell = np.floor(points + 0.5).astype(int)
        outside = ((cell < 0) | (cell > 11)).any(axis=-1)
        inside = np.clip(cell, 0, 11)
        expected = (outside | static[world][inside[..., 0], inside[..., 1]]).any(axis=-1)
        one = slice(world, world + 1)
        found = geometry.crosses(static[one], start[one], end[one])[0]
        assert (found != expected).sum() <= 1  # a corner cut by less than the sampling sees


def test_a_diagonal_between_two_cells_touches_their_corner_only():
    static = np.zeros((1, 5, 5), bool)
    static[0, 2, 3] = static[0, 3, 2] = True
    assert not geometry.crosses(static, np.array([[2.0, 2.0]]), np.array([[3.0, 3.0]]))[0]
    assert geometry.crosses(static, np.array([[2.0, 2.0]]), np.array([[2.6, 2.6 + 0.1]]))[0]


def test_descents_lead_out_of_an_obstacle_s_way_and_leave_the_ends():
    static = np.zeros((1, 64, 64), bool)
    tracks = np.full((1, 64, 1, 2), (10.5, 30.0))
    field = space_time_field.make(static, tracks)
    path = line(np.array([[10.0, 10.0]]), np.array([[10.0, 50.0]]), 64, 1.0)[:, None]
    before = np.linalg.norm(path[0, 0] - tracks[0, :, 0], axis=-1).min()
    refined = space_time_field.refine(field, path, 60, 1.41)
    after = np.linalg.norm(refined[0, 0] - tracks[0, :, 0], axis=-1).min()
    assert before < 1 < 2 < after
    np.testing.assert_array_equal(refined[:, :, [0, -1]], path[:, :, [0, -1]])
    cost = space_time_field.costs(
        field, static, np.array([[10.0, 50.0]]), np.concatenate([path, refined], axis=1), RULES, 63
    )
    assert cost[0, 1] < cost[0, 0] - 500


@pytest.mark.parametrize("name", list(PLANNERS))
def test_every_planner_plans_under_both_rules(name):
    for rules in (RULES, PUBLISHED):
        if name.startswith("expert") and rules is PUBLISHED:
            continue  # in test_expert, slow
        drawn = drawing.draw(WORLDS[rules.world], range(1002, 1004))
        result = path_episode.run(drawn, rules, PLANNERS[name](rules))
        assert len(result.outcomes) == 2
        if name == "oracle":
            assert result.outcomes == "11"


def test_a_trace_tells_the_episode():
    drawn = drawing.draw(WORLDS["discs"], [3])
    planner = PLANNERS["guided_line_replanned"](RULES)
    trace = path_episode.trace(drawn, RULES, planner)
    steps = len(trace.agent) - 1
    assert trace.outcome == path_episode.run(drawn, RULES, planner).outcomes
    assert trace.obstacles.shape == (steps + 1, 8, 2)
    assert trace.planned_at.tolist() == list(range(0, steps, 4))
    np.testing.assert_allclose(trace.plans[:, 0], trace.agent[trace.planned_at], atol=1e-5)
    assert trace.samples.shape == trace.refined.shape == (len(trace.planned_at), 2, 64, 2)
    assert trace.believed.shape == (len(trace.planned_at), 64, 8, 2)
