"""The richer worlds: motions, interaction and observation in NumPy, and under optimised jit bit for bit."""

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
from hrm_jax.gridworld import drawing as jax_drawing
from hrm_jax.gridworld import rollout
from hrm_jax.judging import on_device
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.tasks import exporting
from hrm_jax.worlds import motion
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.motion import PURSUIT_RADIUS, PURSUIT_SPEED, TURN_CHANCE
from hrm_jax.worlds.world import KINDS, WORLDS, World, of_config

STANDARD = PROTOCOLS["standard"]


def _scenarios(name, n=40, **changes):
    return drawing.draw(dataclasses.replace(WORLDS[name], name="test", **changes), range(n))


def _of_kind(kind, n=20):
    return _scenarios("mixed", n, kinds=("bounce", kind) if kind != "bounce" else (kind,), n_obstacles=8)


def _paths(scenarios, steps):
    """Tracks [E, steps + 1, N, 2] of the obstacles of the second kind of the world, as [K, steps + 1, 2]."""
    tracks = dynamics.roll(scenarios, steps)[1]
    chosen = scenarios.kind == KINDS.index(scenarios.world.kinds[-1])
    return np.moveaxis(tracks, 1, 2)[chosen]


# ---------------------------------------------------------------- each motion, in NumPy


def test_circles_keep_their_radius_and_speed():
    scenarios = _of_kind("circular")
    path = _paths(scenarios, 60)
    chosen = scenarios.kind == KINDS.index("circular")
    radius = np.linalg.norm(path - scenarios.anchors[chosen][:, :1], axis=-1)
    np.testing.assert_allclose(radius, np.repeat(radius[:, :1], 61, axis=1), rtol=1e-9)
    assert radius.min() > 1.5 - 1e-9 and radius.max() < 4 + 1e-9 and np.ptp(radius[:, 0]) > 1
    moved = np.linalg.norm(np.diff(path, axis=1), axis=-1)
    assert (moved <= 1 + 1e-9).all() and moved.min() > 0.95


def test_oscillations_are_sines_on_a_line():
    scenarios = _of_kind("oscillating")
    path, chosen = _paths(scenarios, 60), scenarios.kind == KINDS.index("oscillating")
    off = path - scenarios.anchors[chosen][:, :1]
    u, s, vh = np.linalg.svd(off, full_matrices=False)
    assert (s[:, 1] < 1e-6).all()  # on a line through the centre
    along, turn = u[:, :, 0] * s[:, :1], np.arctan2(*scenarios.turn[chosen].T[::-1])
    wave = 2 * np.cos(turn)[:, None] * along[:, 1:-1] - along[:, :-2]
    np.testing.assert_allclose(along[:, 2:], wave, atol=1e-8)


def test_patrols_go_round_their_waypoints_at_their_speed():
    scenarios = _of_kind("patrol", 4)
    path, chosen = _paths(scenarios, 200), scenarios.kind == KINDS.index("patrol")
    for one, anchors in zip(path, scenarios.anchors[chosen], strict=True):
        there = np.isclose(one[:, None], anchors).all(-1)  # [times, way-points]
        at = there.argmax(1)[there.any(1)].tolist()
        assert at[:5] == [0, 1, 2, 3, 0]
    moved = np.linalg.norm(np.diff(path, axis=1), axis=-1)
    assert (moved < 1 + 1e-9).all() and np.isclose(moved, 1).mean() > 0.7


def test_switching_obstacles_go_straight_and_round_in_turns_by_clocks_of_their_own():
    scenarios = _scenarios("clocked", 20)
    seed = scenarios.seed.ravel()
    rounds = np.stack([motion.goes_round(seed, time) for time in range(240)], axis=1)
    switches = [np.flatnonzero(np.diff(row)) for row in rounds.astype(int)]
    lengths = [set(np.diff(at).tolist()) for at in switches]
    assert all(len(one) == 1 for one in lengths)  # each keeps its period
    found = sorted(one.pop() for one in lengths)
    assert (found[0], found[-1]) == motion.CLOCK and len(set(found)) == 26
    assert abs(rounds[:, 0].mean() - 0.5) < 0.08  # and begins anywhere in it
    velocity = np.diff(np.moveaxis(dynamics.roll(scenarios, 60)[1], 1, 2).reshape(400, 61, 2), axis=1)
    turned = np.abs(np.abs(velocity[:, 1:]) - np.abs(velocity[:, :-1])).max(-1) > 1e-9
    moved = np.linalg.norm(velocity, axis=-1)
    free = (np.abs(moved - 1) < 1e-9) & (np.abs(np.roll(moved, -1, axis=1) - 1) < 1e-9)  # no wall in between
    assert (turned == rounds[:, :59])[free[:, :59]].mean() > 0.99


def test_turns_come_by_chance_and_do_not_depend_on_the_agent():
    scenarios = _scenarios("mixed", 30, kinds=("turning",))
    state, turned, steps = scenarios.obstacles, 0, 40
    for time in range(steps):
        after = dynamics.step(scenarios, state, np.full((30, 2), time), time)
        turned += (~np.isclose(np.abs(after.velocity), np.abs(state.velocity))).any(-1).mean()
        state = after
    assert abs(turned / steps - TURN_CHANCE) < 0.01
    np.testing.assert_array_equal(state.position, dynamics.roll(scenarios, steps)[1][:, -1])


def test_pursuers_come_for_the_agent_within_their_radius_only():
    scenarios = _scenarios("mixed", 30, kinds=("pursuit",))
    state, agent = scenarios.obstacles, np.full((30, 2), 10)
    distance = np.linalg.norm(state.position - agent[:, None], axis=-1)
    near = distance < PURSUIT_RADIUS
    after = dynamics.step(scenarios, state, agent, 0)
    gained = distance - np.linalg.norm(after.position - agent[:, None], axis=-1)
    np.testing.assert_allclose(gained[near & (distance > 1)], 1.0 * PURSUIT_SPEED, rtol=1e-6)
    np.testing.assert_array_equal(np.abs(after.velocity[~near]), np.abs(state.velocity[~near]))
    assert near.any() and (~near).any()


def test_interacting_obstacles_never_enter_static_cells_and_keep_their_speed():
    scenarios = _scenarios("interacting", 30)
    state, turned = scenarios.obstacles, 0
    for time in range(60):
        after = dynamics.step(scenarios, state, scenarios.start, time)
        cells = np.clip(np.floor(after.position + 0.5), 0, 19).astype(int)
        assert not scenarios.static[np.arange(30)[:, None], cells[..., 0], cells[..., 1]].any()
        speed = np.linalg.norm(after.velocity, axis=-1)
        np.testing.assert_allclose(speed, 0.9, rtol=1e-9)
        turned += (np.sign(after.velocity) != np.sign(state.velocity)).any(-1).mean()
        state = after
    alone = _scenarios("interacting", 30, interacting=False)
    assert turned / 60 > 0.1  # walls alone: about 0.05
    assert np.abs(dynamics.roll(scenarios, 30)[1] - dynamics.roll(alone, 30)[1]).max() > 1


def test_two_obstacles_that_meet_turn_back():
    world = World("pair", size=9, n_static=0, n_obstacles=2, speed=0.5, interacting=True)
    scenarios = dataclasses.replace(
        drawing.resting(world, [0], np.zeros((1, 9, 9), bool)),
        positions=np.array([[[4.0, 2], [4, 5.25]]]),
        velocities=np.array([[[0, 0.5], [0, -0.5]]]),
    )
    columns = dynamics.roll(scenarios, 6)[1][0, :, :, 1]
    np.testing.assert_array_equal(columns[:, 0], [2, 2.5, 3, 3.5, 3, 2.5, 2])
    np.testing.assert_array_equal(columns[:, 1], [5.25, 4.75, 4.25, 3.75, 4.25, 4.75, 5.25])


def test_observations_are_noisy_and_gaps_go_straight_on():
    scenarios = _scenarios("noisy", 60)
    state = scenarios.obstacles
    noted = [motion.observe(scenarios.world, state, time) for time in range(40)]
    error = np.stack([position - state.position for position, _ in noted])
    assert abs(error.mean()) < 0.005 and abs(error.std() - 0.15) < 0.003
    assert abs(np.mean([seen for _, seen in noted]) - 0.8) < 0.01
    history = np.array([0.0, 1, 2, 9, 9, 5])[None, :, None, None] * np.ones(2)
    seen = np.array([False, True, True, False, False, True])[None, :, None]
    np.testing.assert_array_equal(dynamics.fill(history, seen)[0, :, 0, 0], [1, 1, 2, 3, 4, 5])


def test_a_scenario_of_any_world_does_not_depend_on_the_others(tmp_path):
    for name in ("mixed", "interacting", "noisy", "clocked"):
        many, few = _scenarios(name, 12), drawing.draw(_scenarios(name, 1).world, range(7, 9))
        for array in scenario_file.SCHEMA:
            np.testing.assert_array_equal(getattr(many, array)[7:9], getattr(few, array), err_msg=array)
        scenario_file.save(tmp_path / "s.npz", few)
        read = scenario_file.load(tmp_path / "s.npz")
        assert read.world == few.world and (read.seed == few.seed).all()


def test_the_oracle_survives_every_world():
    """World by world: of 60 fresh scenarios the true future solves 57 or more."""
    for name in ("dense", "swarm", "mixed", "interacting", "noisy", "clocked", "rounds"):
        scenarios = drawing.draw(WORLDS[name], range(2000, 2060))
        assert episode.run(scenarios, STANDARD, "oracle").outcomes.count("1") >= 57, name


# ---------------------------------------------------------------- under jit


def _watched(scenarios, agent):
    """What `rollout.watch` says under jit in float64: positions, noisy ones and whether seen, [E, S, ...]."""
    with on_device.enable_x64(True):
        watch = jax.jit(jax.vmap(functools.partial(rollout.watch, scenarios.world)))
        return jax.tree.map(
            np.asarray,
            watch(
                jax.tree.map(jnp.asarray, scenarios.obstacles),
                jnp.asarray(agent, float),
                jnp.asarray(scenarios.static),
            ),
        )


@pytest.mark.parametrize("name", ["mixed", "interacting", "noisy", "clocked"])
def test_motion_and_observation_equal_numpy(optimised, name):
    scenarios, steps = _scenarios(name, 60), 100
    agent = np.minimum(np.arange(steps)[:, None] // 2, 19) * np.ones((60, 1, 2), np.int64)
    truth, noted, seen = _watched(scenarios, agent)
    state = scenarios.obstacles
    for time in range(steps):
        state = dynamics.step(scenarios, state, agent[:, time], time)
        position, visible = motion.observe(scenarios.world, state, time + 1)
        np.testing.assert_array_equal(truth[:, time], state.position)
        # Noise has a logarithm in it, of which the two libraries differ in the last bits.
        np.testing.assert_allclose(noted[:, time], position, rtol=0, atol=1e-14 if name == "noisy" else 0)
        np.testing.assert_array_equal(seen[:, time], visible)
    with on_device.enable_x64(True):
        fill = jax.jit(jax.vmap(functools.partial(motion.fill, scan=jax.lax.scan)))
        filled = fill(jnp.asarray(noted), jnp.asarray(seen))
    np.testing.assert_array_equal(filled, dynamics.fill(noted, seen))


@pytest.mark.parametrize(
    ("name", "predictor"),
    [("mixed", "oracle"), ("interacting", "constant_velocity"), ("noisy", "reflection")],
)
def test_the_jitted_loop_gives_the_referees_outcomes(name, predictor):
    scenarios = drawing.draw(WORLDS[name], range(40))
    play = predictor
    if predictor in BASELINES:
        play = functools.partial(BASELINES[predictor], world=scenarios.world)
    wanted = episode.run(scenarios, STANDARD, play).outcomes
    assert on_device.run(scenarios, STANDARD, predictor).outcomes == wanted


def _simulated(name):
    return dataclasses.replace(WORLDS[name], generator="jax")


@pytest.mark.parametrize("name", ["mixed", "clocked"])
def test_worlds_drawn_by_jax_are_those_of_numpy(name):
    """Kinds as likely, places inside, starts safe: the same distribution, drawn by other generators."""
    world = _simulated(name)
    reset = jax.jit(jax.vmap(functools.partial(jax_drawing.reset, world)))
    static, obstacles = reset(jax.random.split(jax.random.key(0), 300))
    theirs = drawing.draw(WORLDS[name], range(300))
    mine = np.bincount(np.asarray(obstacles.motion.kind).ravel(), minlength=7)
    assert np.abs(mine - np.bincount(theirs.kind.ravel(), minlength=7)).max() < 200  # of 600 or 1,800
    turns = [np.abs(np.asarray(o.motion.turn)[..., 1]).mean() for o in (obstacles, theirs.obstacles)]
    assert abs(turns[0] - turns[1]) < 0.01

    @jax.jit
    @jax.vmap
    def walk(static, obstacles):
        return motion.roll(world, obstacles, 60, jnp.zeros(2), 0, static, jax.lax.scan)[1]

    path, numpy_path = np.asarray(walk(static, obstacles)), dynamics.roll(theirs, 60)[1][:, 1:]
    assert path.min() >= 0 and path.max() < 20
    np.testing.assert_allclose(path.mean((0, 1, 2)), numpy_path.mean((0, 1, 2)), atol=0.3)
    left = slice(world.history - 2, world.history + 2)  # the agent begins to move
    assert np.linalg.norm(path[:, left], axis=-1).min(initial=2) >= 2 - 1e-4


def test_interacting_worlds_drawn_by_jax_leave_the_start_alone():
    world = _simulated("interacting")

    @jax.jit
    @jax.vmap
    def draw(key):
        static, obstacles = jax_drawing.reset(world, key)
        return motion.threatens_start(world, obstacles, static, jax.lax.scan)

    assert not np.asarray(draw(jax.random.split(jax.random.key(1), 100))).any()


def test_scenes_hold_what_was_seen_and_what_comes():
    world = _simulated("noisy")
    make = jax.jit(
        functools.partial(rollout.fresh_scenes, world, count=64, per_episode=4, history=10, horizon=20)
    )
    scenes = jax.tree.map(np.asarray, make(jax.random.key(0)))
    assert scenes.history.shape == (64, 12, 10, 2) and scenes.future.shape == (64, 12, 20, 2)
    assert scenes.context.static.shape == (64, 20, 20) and set(np.unique(scenes.context.static)) == {0, 1}
    assert abs(scenes.context.observed.mean() - 0.8) < 0.02
    steps = 20 * np.linalg.norm(np.diff(scenes.future, axis=2), axis=-1)
    assert np.median(steps) == pytest.approx(1.0, abs=1e-4) and steps.max() < 1.0001
    # Where the newest position was seen, it lies within a step and the noise of the first true one.
    gap = 20 * np.linalg.norm(scenes.future[:, :, 0] - scenes.history[:, :, -1], axis=-1)
    assert gap[scenes.context.observed[:, :, -1] == 1].max() < 1 + 5 * 0.15
    moved = 20 * np.abs(np.diff(scenes.context.agent, axis=1)).sum(-1)
    assert set(np.unique(moved.round(4))) <= {0, 1}
    again = jax.tree.map(np.asarray, make(jax.random.key(0)))
    jax.tree.map(np.testing.assert_array_equal, scenes, again)


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        (dict(kinds=("bounce", "circlar")), 'did you mean "circular"'),
        (dict(kinds=()), "at least one"),
        (dict(kinds="bounce"), "at least one"),
        (dict(kinds=("bounce", 3)), "kinds: .3.; of bounce, circular"),
        (dict(kinds=("bounce", "circular"), size=8, n_static=0), 'at least 9 for the motion "circular"'),
        (dict(kinds=("oscillating",), size=10, n_static=0), 'at least 11 for the motion "oscillating"'),
        (dict(drop=1.0), "data.world.drop = 1.0: at least 0 and less than 1"),
        (dict(drop=float("nan")), "a finite number"),
        (dict(noise=-0.1), "noise = -0.1: 0 to 1,024"),
        (dict(noise=float("inf")), "a finite number"),
        (dict(speed=float("nan")), "a finite number"),
        (dict(speed=-0.7), "above 0"),
        (dict(speed="0.7"), "a finite number"),
        (dict(size=10**9), "size = 1000000000: 3 to 1,024"),
        (dict(size=20.0), "a whole number"),
        (dict(size=True), "a whole number"),
        (dict(n_obstacles=401), "n_obstacles = 401: at most 400"),
        (dict(n_obstacles=101, interacting=True), "at most 100, a quarter of the cells"),
        (dict(n_obstacles=2.5), "a whole number"),
        (dict(n_static=10**20), "a whole number"),
        (dict(history=1001), "history = 1001: 0 to 1,000"),
        (dict(history=-5), "history = -5"),
        (dict(safe_start=1), "True or False"),
        (dict(layout="a\nb"), 'data.world.layout = "a b"'),
    ],
)
def test_wrong_worlds_are_refused(field, complaint):
    with pytest.raises(RequestError, match=complaint):
        of_config(field)


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 301, 7, "\udcff"])
def test_worlds_are_called_by_a_line_of_text(name):
    with pytest.raises(RequestError, match="the name of a world is a line of text"):
        World(name)


def test_worlds_like_those_of_a_run_can_be_exported(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    config = benchmark.get_config("mixed,hrm").to_dict()
    (run / "config.json").write_text(json.dumps(config))
    scenario_file.save(tmp_path / "s.npz", exporting.draw_scenarios(run, 6))
    scenarios = scenario_file.load(tmp_path / "s.npz")
    assert scenarios.world.kinds == WORLDS["mixed"].kinds and len(np.unique(scenarios.kind)) > 3
    outcomes = episode.run(scenarios, STANDARD, "oracle").outcomes
    assert len(outcomes) == 6 and outcomes.count("1") >= 5
