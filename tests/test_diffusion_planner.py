"""The planner around a denoiser: what it asks of a sampler, what it believes, and what it chooses."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from configs import base
from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging.backend import JaxSampler
from hrm_jax.models.denoisers import networks as denoisers
from hrm_jax.referee import drawing
from hrm_jax.referee.paths import denoising as diffusion
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths import field as space_time_field
from hrm_jax.referee.paths.denoising import DiffusionPlanner, Sampler
from hrm_jax.referee.paths.planners import Planned, View, line
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.worlds import raster
from hrm_jax.worlds.path_frame import PathFrame, straight
from hrm_jax.worlds.world import WORLDS

SIZE, POINTS, OBSTACLES, HISTORY = 16, 12, 3, 4
RULES = dataclasses.replace(PATH_PROTOCOLS["paths"], points=POINTS)
PUBLISHED = dataclasses.replace(PATH_PROTOCOLS["diffusion/2025-12"], points=POINTS)
ALL = ("occupancy", "static", "obstacles", "velocity", "forecast")


def _config(plan=(), **model):
    """What a model file says, of a small world and a small model."""
    c = base.get_config()
    base.diffusion(c)
    small = {"size": SIZE, "points": POINTS, "width": 8, "groups": 8, "heads": 2, "slices": 3}
    c.model.update({**small, **model})
    c.plan.update({"steps": 2, "samples": 2, "refine": 3, **dict(plan)})
    return {"model": denoisers.describe(denoisers.build(c.model.to_dict())), "plan": c.plan.to_dict()}


def _params(config, seed=0):
    """Parameters about as large as initial ones; none is 0 or 1."""
    shapes = jax.eval_shape(
        functools.partial(denoisers.initial_params, denoisers.build(config["model"])), jax.random.key(0)
    )
    rng = np.random.default_rng(seed)

    def leaf(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 4
        return (rng.standard_normal(shape.shape) / np.sqrt(fan_in)).astype(np.float32)

    return model_file.flatten(jax.tree.map(leaf, shapes))


def _view(episodes=5, time=0, seed=0, obstacles=OBSTACLES):
    """Episodes in a map with few static cells; obstacles go straight on, and may leave the map."""
    rng = np.random.default_rng(seed)
    now = rng.uniform(2, SIZE - 2, (episodes, obstacles, 2))
    velocity = rng.uniform(-0.7, 0.7, now.shape)
    steps = np.arange(1 - HISTORY, POINTS)[:, None, None]
    track = now[:, None] + steps * velocity[:, None]
    return View(
        ids=np.arange(100, 100 + episodes),
        time=time,
        agent=rng.uniform(1, SIZE - 2, (episodes, 2)),
        goal=rng.integers(1, SIZE - 1, (episodes, 2)).astype(float),
        static=rng.random((episodes, SIZE, SIZE)) < 0.05,
        history=track[:, :HISTORY],
        velocities=velocity,
        future=track[:, HISTORY - 1 :],
    )


def _some(view, index):
    return view._replace(**{name: part[index] for name, part in view._asdict().items() if name != "time"})


def _straight_on(seen, horizon):
    """A predictor: the last displacement, repeated; the truth of `_view`."""
    now, before = seen.history[:, -1:], seen.history[:, -2:-1]
    return now + np.arange(1, horizon + 1)[:, None, None] * (now - before)


def _free(**options):
    """A view of empty maps with goals that are near, and obstacles far away."""
    view = _view(**options)
    view = view._replace(history=0 * view.history + 99.0, future=0 * view.future + 99.0)
    near = np.random.default_rng(1).uniform(-5, 5, view.agent.shape)
    return view._replace(static=np.zeros_like(view.static), goal=np.clip(view.agent + near, 1, SIZE - 2))


class Stub:
    """A sampler that keeps the requests; it draws noise, or the `paths` [A, S, P, 2], in cells, of a view."""

    parameters = 0

    def __init__(self, config, paths=None, view=None):
        self.config, self.paths, self.requests = config, paths, []
        if paths is not None:
            self.ends = PathFrame.of(config["model"]).ends(view.agent, view.goal).astype(np.float32)

    def __call__(self, request, speed):
        self.requests.append(request)
        if self.paths is None:
            return 0.1 * request.noise[:, :, 0]
        rows = [np.flatnonzero((self.ends == ends).all(axis=1))[0] for ends in request.ends]
        return PathFrame.of(self.config["model"]).to_units(self.paths[rows], request.line)


# ---------------------------------------------------------------- the map


@pytest.mark.parametrize("radius, slices", [(2.0, 3), (2.5, 1)])
def test_planning_draws_the_maps_that_training_draws(radius, slices):
    rng = np.random.default_rng(1)
    static = rng.random((6, SIZE, SIZE)) < 0.1
    tracks = rng.uniform(-1, SIZE + 1, (6, POINTS, OBSTACLES, 2)).astype(np.float32)
    tracks[3:] = tracks[3:].round()  # cells exactly at the radius
    tracks[5, :, 1] = tracks[5, :, 0]  # two nearest obstacles
    velocity = rng.uniform(-1, 1, (6, OBSTACLES, 2)).astype(np.float32)
    ours = raster.draw(ALL, static, tracks, velocity, radius, slices)
    draw = jax.jit(lambda *world: raster.draw(ALL, *world, radius, slices))
    theirs = np.asarray(draw(static, tracks, velocity))
    assert ours.dtype == theirs.dtype == np.float32 and ours.shape == (6, SIZE, SIZE, 5 + slices)
    assert all(0 < np.abs(ours[..., i]).mean() < 0.9 for i in range(5 + slices))
    np.testing.assert_array_equal(ours, theirs)


def test_planning_looks_beside_the_line_as_training_does():
    view = _view(seed=2)
    lines = straight(view.agent, view.goal, POINTS)
    world = (view.static, view.future, view.velocities, lines)
    world = [a if a.dtype == bool else a.astype(np.float32) for a in world]
    ours = raster.corridor(ALL, *world, 2.0)
    theirs = jax.jit(lambda *world: raster.corridor(ALL, *world, 2.0))(*world)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    walls, there = ours[..., :17], ours[..., 17:34]
    assert ours.shape == (5, POINTS, 4 * 17) and {0, 1} == set(walls.ravel()) and (there > 0).mean() > 0.05
    gap = np.linalg.norm(lines[:, :, None] - view.future, axis=-1).min(axis=-1)
    np.testing.assert_allclose(there[..., 8], np.clip(3 - gap, 0, 1), atol=1e-4)  # the line itself


@pytest.mark.parametrize("coordinates", ["line", "unit"])
def test_the_request_is_what_the_model_was_trained_on(coordinates):
    view, size = _view(), SIZE
    config = _config({"forecast": "predictor"}, channels=ALL, coordinates=coordinates)
    stub = Stub(config)
    DiffusionPlanner(stub, RULES, _straight_on).plan(view, None)
    (request,) = stub.requests
    believed = np.concatenate([view.future[:, :1], view.future[:, 1:].clip(0, SIZE)], axis=1)
    velocity = view.history[:, -1] - view.history[:, -2]
    np.testing.assert_allclose(velocity, view.velocities, atol=1e-9)
    expected = raster.draw(ALL, view.static, believed, view.velocities, 2.0, 3)
    np.testing.assert_allclose(request.map, expected, atol=1e-6)
    ends = np.concatenate([view.agent, view.goal], axis=1) / size
    np.testing.assert_allclose(request.ends, 2 * ends - 1 if coordinates == "line" else ends, atol=1e-6)
    assert request.level == 1.0 and request.initial.dtype == request.ends.dtype == np.float32
    if coordinates == "unit":
        assert request.sight.shape == (5, POINTS, 0)
        return
    corridor = raster.corridor(ALL, view.static, believed, view.velocities, request.line, 2.0)
    np.testing.assert_allclose(request.sight[..., :2], 2 * request.line / size - 1, atol=1e-6)
    np.testing.assert_allclose(request.sight[..., 2:], corridor, atol=1e-4)
    cells = request.line  # at the pace of king's moves
    np.testing.assert_allclose(cells[:, 0], view.agent, atol=1e-5)
    np.testing.assert_allclose(cells[:, -1], view.goal, atol=1e-5)
    moves = np.abs(view.goal - view.agent).max(axis=1)
    pace = np.abs(np.diff(cells, axis=1)).max(axis=2)
    assert (moves > 1).all() and (pace <= 1 + 1e-5).all()
    np.testing.assert_allclose(pace[:, 0], 1, atol=1e-5)


@pytest.mark.parametrize("coordinates", ["line", "unit"])
def test_units_and_cells_are_inverse(coordinates):
    frame, view = PathFrame(coordinates, SIZE), _view()
    lines = straight(view.agent, view.goal, POINTS)
    cells = np.random.default_rng(0).uniform(0, SIZE, (5, 4, POINTS, 2))
    units = frame.to_units(cells, lines)
    np.testing.assert_allclose(frame.to_cells(units, lines), cells, atol=1e-5)
    assert np.abs(units).max() < 8 and np.abs(units - cells).max() > 1
    zero = frame.to_cells(np.zeros_like(cells), lines)
    ends = zero[:, 0, [0, -1]].swapaxes(0, 1)
    np.testing.assert_allclose(
        ends, [view.agent, view.goal] if coordinates == "line" else 0 * ends, atol=1e-5
    )


# ---------------------------------------------------------------- samplers


SAMPLERS = {
    "all guidance": ({"map_guidance": 2.0, "cost_guidance": 2, "steps": 3}, {"channels": ALL}),
    "warm": ({"warm": 0.6, "steps": 4, "cost_guidance": 1}, {"name": "path_convnet"}),
    "published": (
        {"sampler": "published", "steps": 4},
        {**denoisers.PUBLISHED, "condition": "full", "name": "path_convnet"},
    ),
}


@pytest.mark.parametrize("case", SAMPLERS)
def test_numpy_and_jax_draw_the_same_paths(case):
    plan, model = SAMPLERS[case]
    config = _config({**plan, "refine": 0}, **model)
    view = (_free if case == "warm" else _view)(episodes=3)  # jax pads to 4
    params = _params(config)
    previous = line(view.agent, view.goal, POINTS, None) if case == "warm" else None
    drawn = []
    for make in (Sampler, JaxSampler):
        sampler = make(config, params)
        assert sampler.parameters == sum(a.size for a in params.values())
        drawn.append(DiffusionPlanner(sampler, RULES).plan(view, previous).samples)
    assert drawn[0].shape == (3, 2, POINTS, 2) and np.isfinite(drawn[0]).all()
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-3)
    np.testing.assert_allclose(drawn[0][:, :, 0], np.repeat(view.agent[:, None], 2, axis=1), atol=1e-5)
    np.testing.assert_allclose(drawn[0][:, :, -1], np.repeat(view.goal[:, None], 2, axis=1), atol=1e-5)
    assert np.abs(drawn[0][:, 0] - drawn[0][:, 1]).max() > 0.01  # samples differ


def test_an_episode_s_paths_do_not_depend_on_the_others(monkeypatch):
    config, view = _config({"cost_guidance": 1, "warm": 0.5}, name="path_convnet"), _view()
    previous = line(view.agent, view.goal, POINTS, None)
    planner = DiffusionPlanner(Sampler(config, _params(config)), RULES)
    whole = planner.plan(view, previous)
    alone = planner.plan(_some(view, slice(3, 4)), previous[3:4])
    backwards = planner.plan(_some(view, slice(None, None, -1)), previous[::-1])
    monkeypatch.setattr(diffusion, "BLOCK", 2)
    blocks = planner.plan(view, previous)
    for name in ("path", "samples", "refined", "chosen", "believed"):
        expected = getattr(whole, name)
        np.testing.assert_allclose(getattr(alone, name)[0], expected[3], atol=1e-4)
        np.testing.assert_allclose(getattr(backwards, name)[::-1], expected, atol=1e-4)
        np.testing.assert_allclose(getattr(blocks, name), expected, atol=1e-4)
    assert whole.length is None and len(np.unique(whole.samples[:, :, 5])) > 10


def test_noise_is_a_function_of_seed_scenario_and_time():
    def noise(seed=0, time=0, **view):
        stub = Stub(_config({"seed": seed}))
        DiffusionPlanner(stub, RULES).plan(_view(time=time, **view), None)
        return stub.requests[0].noise

    first = noise()
    assert first.shape == (5, 2, 1, POINTS, 2) and abs(first.mean()) < 0.2 and 0.8 < first.std() < 1.2
    np.testing.assert_array_equal(noise(), first)
    np.testing.assert_array_equal(noise(episodes=3), first[:3])
    for other in (noise(seed=1), noise(time=1), np.roll(first, 1, axis=0)):
        assert (np.abs(other - first).max(axis=(1, 2, 3, 4)) > 0.1).all()


def test_a_warm_start_stays_near_the_last_plan_as_far_as_asked():
    view = _free()
    previous = line(view.agent, view.goal, POINTS, None)
    previous[:, 1:-1] += np.random.default_rng(3).uniform(-0.25, 0.25, (5, POINTS - 2, 2))
    away = {}
    for warm in (0.02, 0.2, 1.0):
        plan = {"warm": warm, "steps": 5, "refine": 0}
        config = _config(plan, name="path_convnet", predict="velocity")
        planner = DiffusionPlanner(Sampler(config, _params(config)), RULES)
        samples = planner.plan(view, previous).samples
        away[warm] = np.linalg.norm(samples - previous[:, None], axis=-1).mean()
        if warm == 1.0:  # nothing is left of it, and the noise is that of a first plan
            np.testing.assert_allclose(samples, planner.plan(view, None).samples, atol=1e-4)
    assert away[0.02] < 0.3 < away[0.2] < away[1.0]


def test_what_is_no_longer_a_way_is_planned_from_scratch():
    view = _free(episodes=6)
    previous = line(view.agent, view.goal, POINTS, None)
    blocked = np.array([False, True, False, False, True, False])
    static = view.static.copy()
    static[blocked] = True  # whatever the plan, it leads through walls
    stub = Stub(_config({"warm": 0.25, "refine": 0, "samples": 1}))
    planned = DiffusionPlanner(stub, RULES).plan(view._replace(static=static), previous)
    assert [(r.level, len(r.map)) for r in stub.requests] == [(0.25, 4), (1.0, 2)]
    for request, members in zip(stub.requests, (~blocked, blocked), strict=True):
        np.testing.assert_array_equal(request.map[..., 0], static[members])
        assert len(request.field.distance) == len(request.noise) == members.sum()
        drawn = PathFrame.of(stub.config["model"]).to_cells(0.1 * request.noise[:, :, 0], request.line)
        np.testing.assert_allclose(planned.samples[members], drawn, atol=1e-5)
    warm = stub.requests[0]
    begun = PathFrame.of(stub.config["model"]).to_cells(warm.initial, warm.line)
    np.testing.assert_allclose(begun[:, 0], previous[~blocked], atol=1e-4)


# ---------------------------------------------------------------- beliefs


class Asked:
    """A predictor that says `answer` of every obstacle."""

    def __init__(self, answer):
        self.answer, self.seen = answer, []

    def __call__(self, seen, horizon):
        self.seen.append((seen, horizon))
        return np.full((len(seen.history), horizon, *seen.history.shape[2:]), self.answer)


@pytest.mark.parametrize("answer, believed", [(-7.0, 0.0), (5.25, 5.25), (1e9, SIZE)])
def test_a_predictor_is_asked_with_the_history_and_kept_inside_the_map(answer, believed):
    view, predictor = _view(), Asked(answer)
    stub = Stub(_config({"forecast": "predictor"}))
    planned = DiffusionPlanner(stub, RULES, predictor).plan(view, None)
    ((seen, horizon),) = predictor.seen
    assert horizon == POINTS - 1
    np.testing.assert_array_equal(seen.history, view.history)
    np.testing.assert_array_equal(seen.static, view.static)
    np.testing.assert_array_equal(seen.agent, np.repeat(view.agent[:, None], HISTORY, axis=1))
    assert seen.observed.shape == (5, HISTORY, OBSTACLES) and seen.observed.all()
    np.testing.assert_array_equal(planned.believed[:, 0], view.history[:, -1])
    np.testing.assert_array_equal(planned.believed[:, 1:], believed)
    np.testing.assert_array_equal(stub.requests[0].field.tracks, planned.believed.astype(np.float32))


def test_a_predictor_gone_astray_is_refused():
    planner = DiffusionPlanner(Stub(_config({"forecast": "predictor"})), RULES, Asked(np.nan))
    with pytest.raises(RequestError, match="positions that are not finite"):
        planner.plan(_view(), None)


def test_without_a_predictor_obstacles_stay_or_are_not_believed_in():
    view = _view()
    stays = DiffusionPlanner(Stub(_config()), RULES).plan(view, None).believed
    np.testing.assert_array_equal(stays, np.repeat(view.history[:, -1:], POINTS, axis=1))
    stub = Stub(_config({"forecast": "ignore"}, channels=("obstacles",)))
    assert DiffusionPlanner(stub, RULES).plan(view, None).believed.shape == (5, POINTS, 0, 2)
    drawn = raster.discs(view.history[:, -1], SIZE, 2.0)
    np.testing.assert_array_equal(stub.requests[0].map[..., 0], drawn)  # the map shows them all the same
    with pytest.raises(RequestError, match="--predictor"):
        DiffusionPlanner(Stub(_config({"forecast": "predictor"})), RULES)


# ---------------------------------------------------------------- guidance


class Straight:
    """A network that has the clean path straight through everything, whatever it is shown."""

    def __init__(self, model, path, parameters=0):
        self.path, self.parameters, self.levels = path, parameters, []

    def encode(self, maps, ends):
        return np.zeros((len(maps), 4), np.float32)

    def denoise(self, x, t, code):
        self.levels.append(float(t[0]))
        return np.repeat(self.path, len(x) // len(self.path), axis=0).astype(np.float32)


@pytest.mark.parametrize("coordinates", ["line", "unit"])
def test_cost_guidance_leads_predicted_paths_around_what_is_believed(coordinates):
    points, size = 32, 32
    rules = dataclasses.replace(RULES, points=points)
    start, goal = np.array([[16.0, 4.0]]), np.array([[16.0, 28.0]])
    path = line(start, goal, points, 1.0)
    # It crosses the line from above, and is there when the agent is.
    track = np.stack([4.4 + np.arange(points), np.full(points, 16.0)], axis=-1)[:, None]
    track = np.clip(track, 0, size)[None]
    view = View(np.array([7]), 0, start, goal, np.zeros((1, size, size), bool),
                np.repeat(track[:, :1], 2, axis=1), np.zeros((1, 1, 2)), track)  # fmt: skip
    clearance = {}
    for guidance in (0, 12):
        plan = {"forecast": "predictor", "cost_guidance": guidance, "samples": 1, "steps": 3}
        config = _config(plan, size=size, points=points, coordinates=coordinates)
        sampler = Sampler(config, _params(config))
        lines = straight(start, goal, points)
        units = PathFrame.of(config["model"]).to_units(path[:, None], lines)[:, 0]
        stub = sampler.network = Straight(config["model"], units)
        planner = DiffusionPlanner(sampler, rules, lambda seen, horizon: track[:, 1:])
        sample = planner.plan(view, None).samples[0, 0]
        np.testing.assert_allclose(stub.levels, [1, 2 / 3, 1 / 3], atol=1e-6)
        gap = np.linalg.norm(sample - track[0, :, 0], axis=-1)
        clearance[guidance] = gap.min()
        np.testing.assert_allclose(sample[[0, -1]], [start[0], goal[0]], atol=1e-5)
        if not guidance:
            np.testing.assert_allclose(sample, path[0], atol=1e-4)
        else:  # elsewhere in time and space it is left alone
            np.testing.assert_allclose(sample[-4:], path[0, -4:], atol=0.05)
    assert clearance[0] < 0.5 and clearance[12] > rules.collision_radius + 0.2


# ---------------------------------------------------------------- the choice


def _ways(view):
    """Three paths [A, 3, P, 2] from agent to goal: slow, quick, and never moving."""
    slow, quick = (line(view.agent, view.goal, POINTS, speed) for speed in (None, RULES.speed))
    return np.stack([slow, quick, np.repeat(view.agent[:, None], POINTS, axis=1)], axis=1)


def test_the_cheapest_path_is_chosen_be_it_the_last_plan():
    view = _view(episodes=50)
    ways = _ways(view)
    config = _config({"refine": 0, "forecast": "predictor"})
    make = functools.partial(DiffusionPlanner, rules=RULES, predict=_straight_on)
    planned = make(Stub(config, ways, view)).plan(view, None)
    np.testing.assert_allclose(planned.samples, ways, atol=1e-5)
    field = space_time_field.make(view.static, planned.believed)
    cost = space_time_field.costs(field, view.static, view.goal, planned.refined, RULES, POINTS - 1)
    np.testing.assert_array_equal(planned.chosen, cost.argmin(axis=1))
    worlds = np.arange(50)
    np.testing.assert_array_equal(planned.path, planned.refined[worlds, planned.chosen])
    assert len(set(planned.chosen)) == 3  # each is the best somewhere

    again = make(Stub(config, ways[:, [0, 2]], view)).plan(view, ways[:, 1])
    was_best = planned.chosen == 1
    assert 5 < was_best.sum() < 45
    np.testing.assert_array_equal(again.chosen, np.where(was_best, -1, planned.chosen // 2))
    np.testing.assert_allclose(again.path, planned.path, atol=1e-4)
    assert again.samples.shape == again.refined.shape == (50, 2, POINTS, 2)


def test_refinement_makes_paths_cheaper_and_the_samples_are_kept_as_they_were():
    view = _view(episodes=40)._replace(static=np.zeros((40, SIZE, SIZE), bool))
    plans = {}
    for refine in (0, 40):
        stub = Stub(_config({"refine": refine}), _ways(view), view)
        plans[refine] = DiffusionPlanner(stub, RULES).plan(view, None)
    np.testing.assert_array_equal(plans[0].samples, plans[40].samples)
    field = space_time_field.make(view.static, plans[0].believed)
    before, after = (
        space_time_field.costs(field, view.static, view.goal, plans[n].path[:, None], RULES, POINTS - 1)
        for n in (0, 40)
    )
    free = before < 1000  # the others begin inside an obstacle
    assert free.sum() > 20 and after[free].mean() < 0.6 * before[free].mean()


def test_the_published_way_scores_by_the_map_of_now():
    view = _view(episodes=40)
    ways = _ways(view)
    config = _config({"sampler": "published", "refine": 5}, **{**denoisers.PUBLISHED, "coordinates": "unit"})
    planned = DiffusionPlanner(Stub(config, ways, view), RULES).plan(view, None)
    distance = space_time_field.distance_map(view.static, view.history[:, -1])
    refined = space_time_field.repair(distance, planned.samples, 5)
    np.testing.assert_array_equal(planned.refined, refined)
    scores = space_time_field.nearness(distance, refined)
    np.testing.assert_array_equal(planned.chosen, scores.argmin(axis=1))
    np.testing.assert_array_equal(planned.path, refined[np.arange(40), planned.chosen])


# ---------------------------------------------------------------- in the loop


@pytest.fixture(scope="module")
def worlds():
    rules = PATH_PROTOCOLS.values()
    return {rule: drawing.draw(WORLDS[rule.world], range(1000, 1004)) for rule in rules}


@pytest.mark.parametrize("replan", [0, 7])
@pytest.mark.parametrize("protocol", PATH_PROTOCOLS)
def test_a_new_plan_every_so_many_steps_but_one_by_the_published_rule(worlds, protocol, replan):
    rules = PATH_PROTOCOLS[protocol]
    config = _config({"replan": replan, "warm": 0.25, "refine": 2}, size=64, points=64)
    views = []

    class Watched(DiffusionPlanner):
        def plan(self, view, previous):
            planned: Planned = super().plan(view, previous)
            views.append((view, previous, planned))
            return planned

    stub = Stub(config)
    planner = Watched(stub, rules)
    moments = list(path_episode.play(worlds[rules], rules, planner))
    again = bool(replan) and not rules.published
    assert planner.replan == (replan if again else 0)
    times = [view.time for view, *_ in views]
    last_alive = len(moments)
    assert times == (list(range(0, last_alive, replan)) if again else [0])
    assert last_alive > 7
    assert stub.requests[0].level == 1.0
    assert {0.25} <= {request.level for request in stub.requests[1:]} <= {0.25, 1.0} or not again
    assert sum(len(r.map) for r in stub.requests) == sum(len(view.ids) for view, *_ in views)
    for view, *_ in views[1:]:
        np.testing.assert_array_equal(view.agent, moments[view.time].agent)
    if again:  # what is left of a plan: `replan` points are behind
        (first, _, planned), (second, previous, _) = views[:2]
        alive = np.isin(first.ids, second.ids)
        kept = planned.path[alive]
        expected = np.concatenate([kept[:, 7:], kept[:, -1:].repeat(7, axis=1)], axis=1)
        np.testing.assert_array_equal(previous, expected)


# ---------------------------------------------------------------- what a file may say


@pytest.mark.parametrize(
    "plan, complaint",
    [
        ({"forecast": "oracle"}, 'plan.forecast = "oracle": one of none, ignore, predictor'),
        ({"sampler": "ddpm"}, 'plan.sampler = "ddpm": one of ddim, published; did you mean "ddim"?'),
        ({"steps": 0}, "plan.steps = 0: at least 1"),
        ({"samples": 0}, "plan.samples = 0: at least 1"),
        ({"cost_guidance": -1}, "plan.cost_guidance = -1: at least 0"),
        ({"refine": -1}, "plan.refine = -1: at least 0"),
        ({"replan": -4}, "plan.replan = -4: at least 0"),
        ({"seed": -1}, "plan.seed = -1: at least 0"),
        ({"sampler": "published"}, 'plan.sampler = "published": for models that predict noise alone'),
        *(
            ({name: 10**9}, f"plan.{name} = 1000000000: at most 10,000")
            for name in ("steps", "samples", "cost_guidance", "refine", "replan")
        ),
        (
            {"map_guidance": 10**400},
            "plan.map_guidance = a number of more than 40 digits: a finite number, up to 3.4e+38",
        ),
        ({"refines": 1}, 'plan.refines is no field of a plan; did you mean "refine"?'),
        ({"warm": 0.0}, "plan.warm = 0.0: above 0, at most 1"),
        ({"warm": 1.5}, "plan.warm = 1.5: above 0, at most 1"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_in_one_line(plan, complaint):
    config = _config()
    with pytest.raises(RequestError) as error:
        diffusion.check_plan({"model": config["model"], "plan": {**config["plan"], **plan}})
    assert str(error.value) == complaint


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(diffusion.Plan)])
def test_a_plan_that_says_too_little_is_refused(name):
    config = _config()
    assert dataclasses.asdict(diffusion.check_plan(config)) == config["plan"]
    del config["plan"][name]
    with pytest.raises(RequestError, match=f"plan.{name} is missing"):
        diffusion.check_plan(config)
    with pytest.raises(RequestError, match="plan.sampler is missing"):
        diffusion.check_plan({"model": config["model"]})
