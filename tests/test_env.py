"""The worlds as environments: both halves play by the referee's rules, scenario by scenario."""

import functools
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.env import episode, painting, views
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode as referee
from hrm_jax.referee.cells.space_time_astar import DOWN, LEFT, MOVES, RIGHT, UP, WAIT
from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.world import KINDS, World

gymnasium = pytest.importorskip("gymnasium")
from hrm_jax.env import gym  # noqa: E402  needs gymnasium
from hrm_jax.env.gym import NAME, SEEDS, GridWorldEnv, expert  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
CROWDED = World("crowded", size=9, n_static=6, n_obstacles=5, speed=0.9, history=6)
ALL = {"noise": 0.1, "drop": 0.2, "kinds": KINDS, "interacting": True}  # that the worlds are made of
HAZY = World("hazy", size=11, n_static=8, n_obstacles=5, history=8, **ALL)


def wanted(world, seeds, predictor):
    """The outcomes that `hrm_jax.evaluate` gets."""
    scenarios = world if isinstance(world, Scenarios) else drawing.draw(world, seeds)
    if predictor in BASELINES:
        predictor = functools.partial(BASELINES[predictor], world=scenarios.world)
    return referee.run(scenarios, CELL_PROTOCOLS["standard"], predictor).outcomes


def played(env, seed, act):
    """What an episode with this policy of the observation returns, step by step."""
    seen, info = env.reset(seed=seed)
    steps = []
    while not info["outcome"]:
        seen, reward, terminated, truncated, info = env.step(act(seen))
        assert (terminated or truncated) == bool(info["outcome"])
        steps.append((seen, reward, terminated, truncated, info))
    return steps


# ---------------------------------------------------------------- Gymnasium


@pytest.mark.parametrize("world", [CROWDED, drawing.draw(CROWDED, range(4))], ids=["drawn", "own"])
@pytest.mark.parametrize("observation", views.VIEWS)
def test_gymnasiums_own_checks_pass_without_a_warning(observation, world):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(NAME, world=world, observation=observation, render_mode="rgb_array")
        from gymnasium.utils.env_checker import check_env

        check_env(env.unwrapped)


@pytest.mark.parametrize(
    ("world", "predictor", "count"),
    [(CROWDED, "oracle", 30), (CROWDED, "reflection", 12), (HAZY, "reflection", 4), (HAZY, "oracle", 4)],
)
def test_the_expert_gets_the_referees_outcomes_scenario_by_scenario(world, predictor, count):
    env, seeds = GridWorldEnv(world, observation="ego"), range(count)
    found = [played(env, seed, lambda _: expert(env, predictor))[-1][-1]["outcome"] for seed in seeds]
    assert "".join(found) == wanted(world, seeds, predictor)


def test_the_world_of_these_tests_tells_predictors_apart():
    assert set(wanted(CROWDED, range(12), "reflection")) == {"0", "1"}


@pytest.mark.slow
@pytest.mark.parametrize("world", ["standard", "interacting", "noisy"])
def test_the_expert_gets_the_referees_outcomes_in_the_benchmarks_worlds(world):
    env = gymnasium.make(NAME, world=world)
    for predictor in ("oracle", "reflection"):
        found = [played(env, s, lambda _: expert(env, predictor))[-1][-1]["outcome"] for s in range(30)]  # noqa: B023
        assert "".join(found) == wanted(env.unwrapped.world, range(30), predictor)


def test_a_function_predicts_for_the_expert_as_its_name_does():
    env = GridWorldEnv(CROWDED)
    env.reset(seed=3)
    function = functools.partial(BASELINES["kalman"], world=CROWDED)
    for _ in range(5):
        assert expert(env, function) == (action := expert(env, "kalman"))
        env.step(action)


def test_a_seed_is_a_scenario_and_what_follows_depends_on_it_alone():
    env = GridWorldEnv(CROWDED, seeds=(5, 9))
    infos = [env.reset(seed=2)[1] for _ in range(2)]
    assert [info["scenario"] for info in infos] == [2, 2]
    later = [env.reset()[1]["scenario"] for _ in range(20)]
    assert set(later) == {5, 6, 7, 8}
    env.reset(seed=2)
    assert later == [env.reset()[1]["scenario"] for _ in range(20)]
    drawn = drawing.draw(CROWDED, [2])
    env.reset(seed=2)
    assert (env.state.static == drawn.static[0]).all() and (env.state.agent == drawn.start[0]).all()


def test_random_scenarios_are_none_that_evaluation_judges_by():
    assert SEEDS[0] == CELL_PROTOCOLS["standard"].seeds[1]
    assert GridWorldEnv(CROWDED).reset()[1]["scenario"] >= SEEDS[0]


def test_scenarios_of_ones_own_are_played_by_their_ids():
    env = GridWorldEnv(drawing.draw(CROWDED, range(40, 43)))
    assert {env.reset()[1]["scenario"] for _ in range(20)} == {40, 41, 42}
    own = played(env, 41, lambda _: expert(env))
    other = GridWorldEnv(CROWDED)
    assert own[-1][-1] == played(other, 41, lambda _: expert(other))[-1][-1]
    by_chance = [env.reset(seed=seed)[1]["scenario"] for seed in range(20)]
    assert set(by_chance) == {40, 41, 42}
    assert by_chance == [env.reset(seed=seed)[1]["scenario"] for seed in range(20)]
    part = GridWorldEnv(drawing.draw(CROWDED, range(40, 43)), seeds=(41, 43))
    assert {part.reset(seed=seed)[1]["scenario"] for seed in range(20)} == {41, 42}


@pytest.fixture(scope="module")
def recorded():
    """Scenarios of obstacles that wander, come and go, on a map of 8 rows and 11 columns."""
    rng = np.random.default_rng(0)
    tracks = rng.uniform(0, (8, 11), (12, 1, 7, 2)) + rng.normal(0, 0.5, (12, 40, 7, 2)).cumsum(axis=1)
    tracks[:, 12:, 0] = tracks[:, :15, 1] = np.nan
    return Scenarios.from_tracks(tracks, np.zeros((8, 11), bool), (0, 0), (7, 10), history=6)


def test_recorded_obstacles_are_played_as_the_referee_plays_them(recorded):
    env = GridWorldEnv(recorded, render_mode="rgb_array")
    for predictor in ("reflection", "blind"):
        played_by = functools.partial(expert, env, predictor)
        found = [played(env, int(i), lambda _: played_by())[-1] for i in recorded.ids]  # noqa: B023
        outcomes = "".join(step[-1]["outcome"] for step in found)
        assert outcomes == wanted(recorded, None, predictor) and len(set(outcomes)) > 1
        assert all(env.observation_space.contains(step[0]) for step in found)
    assert (env.render() != painting.LINE).any() and len(played(env, 0, lambda _: WAIT)) <= 40 - 1 - 6


def test_vectorised():
    envs = gymnasium.make_vec(NAME, num_envs=3, vectorization_mode="sync", world=CROWDED)
    seen, info = envs.reset(seed=5)
    assert info["scenario"].tolist() == [5, 6, 7]
    assert seen["history"].shape == (3, 6, 5, 2)
    for _ in range(60):
        seen, reward, *_ = envs.step(envs.action_space.sample())
    assert reward.shape == (3,) and envs.observation_space.contains(seen)
    envs.close()


def empty(**fields):
    """An environment with one obstacle, which hardly moves, in row 15 and column 4."""
    world = World("empty", size=20, n_static=0, n_obstacles=1, speed=0.01, history=2)
    scenarios = drawing.draw(world, [0])
    scenarios.positions[:] = (15, 4)
    return GridWorldEnv(scenarios, **fields)


def test_actions_move_the_agent_and_a_move_off_the_map_is_a_wait():
    env = empty()
    env.reset()
    for action, cell in ((UP, (0, 0)), (LEFT, (0, 0)), (RIGHT, (0, 1)), (DOWN, (1, 1)), (WAIT, (1, 1))):
        seen, reward, *_ = env.step(action)
        assert tuple(seen["agent"][-1]) == cell and reward == pytest.approx(episode.STEP_REWARD)
    assert episode.ACTIONS == ("right", "left", "down", "up", "wait")
    assert MOVES[[RIGHT, LEFT, DOWN, UP, WAIT]].tolist() == [[0, 1], [0, -1], [1, 0], [-1, 0], [0, 0]]


def test_a_move_into_a_static_cell_is_a_wait():
    env = empty()
    env.reset()
    env.state.static[0, 1] = True
    assert tuple(env.step(RIGHT)[0]["agent"][-1]) == (0, 0)


def test_waiting_ends_with_the_protocols_limit_and_no_termination():
    steps = played(empty(), 0, lambda _: WAIT)
    assert len(steps) == 80
    seen, reward, terminated, truncated, info = steps[-1]
    assert (terminated, truncated, info["outcome"]) == (False, True, "T")
    assert not info["is_success"] and reward == pytest.approx(episode.STEP_REWARD)


def test_success_and_collision_are_rewarded():
    env = empty()
    won = played(env, 0, lambda seen: RIGHT if seen["agent"][-1][1] < 19 else DOWN)
    assert len(won) == 38 and won[-1][1] == pytest.approx(0.99) and won[-1][2] and won[-1][-1]["is_success"]
    lost = played(env, 0, lambda seen: DOWN if seen["agent"][-1][0] < 15 else RIGHT)
    assert lost[-1][1] == pytest.approx(-1.01) and lost[-1][2:4] == (True, False)
    assert lost[-1][-1]["outcome"] == "0"
    with pytest.raises(RequestError, match="reset comes before"):
        env.step(WAIT)


def test_shaping_depends_on_the_ends_of_an_episode_alone():
    rng = np.random.default_rng(0)
    actions = rng.integers(5, size=30)
    plain, shaped = empty(), empty(shaping=0.25)
    plain.reset(), shaped.reset()
    more = sum(shaped.step(a)[1] - plain.step(a)[1] for a in actions)
    assert more == pytest.approx(0.25 * plain.state.agent.sum(), abs=1e-4)


def test_observations_tell_what_a_predictor_sees():
    env = GridWorldEnv(HAZY)
    seen, _ = env.reset(seed=1)
    running = referee._wait(drawing.draw(HAZY, [1]))
    assert (seen["observed"] == running.past.observed[0]).all() and 0 < seen["observed"].mean() < 1
    noted = running.past.history[0][running.past.observed[0]]
    np.testing.assert_array_equal(seen["history"][seen["observed"] == 1], noted.astype(np.float32))
    assert seen["static"].tolist() == running.past.static[0].astype(int).tolist()
    assert seen["goal"].tolist() == [10, 10]


def test_ego_sees_the_nearest_obstacles_the_cells_around_and_the_way_to_the_goal():
    env = empty(observation="ego")
    seen, _ = env.reset()
    assert seen.shape == (2 + 25 + 5 + 4,)
    np.testing.assert_allclose(seen[:2], 19 / 20)
    around = seen[2:27].reshape(5, 5)
    assert around[2:, 2:].sum() == 0 and around[:2].all() and around[:, :2].all()
    np.testing.assert_array_equal(seen[27:32], 1)  # every move keeps away
    np.testing.assert_allclose(seen[32:34], (1, 4 / views.REACH), atol=0.01)  # 15 rows away: out of reach
    for action in (*14 * (DOWN,), *3 * (RIGHT,)):
        seen, *_ = env.step(action)
    assert tuple(env.state.agent) == (14, 3)  # diagonally next to the obstacle
    kept = dict(zip(range(5), seen[27:32] * views.CLOSE, strict=True))
    away = 2**0.5
    assert kept == pytest.approx({RIGHT: 1, LEFT: away, DOWN: 1, UP: away, WAIT: away}, abs=0.3)


def test_a_picture_shows_agent_goal_obstacles_and_static_cells():
    env = empty(render_mode="rgb_array")
    assert env.render() is None
    env.reset()
    env.state.static[3, 7] = True
    picture, cell = env.render(), painting.CELL
    assert picture.shape == (22 * cell, 22 * cell, 3) and picture.dtype == np.uint8

    def colour(row, col):
        return tuple(picture[int((row + 1.5) * cell), int((col + 1.5) * cell)])

    assert colour(0, 0) == painting.AGENT and colour(3, 7) == painting.WALL
    assert colour(19, 19) == painting.PAPER and colour(19, 19.375) == painting.GOAL
    assert colour(15, 4) != painting.PAPER and colour(8, 8) == painting.PAPER


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"world": "standrad"},
            'unknown world "standrad"; did you mean "standard"?; allowed: standard, dense',
        ),
        ({"world": "discs"}, 'world "discs" is one of discs, for planners of whole paths'),
        ({"world": World("now", history=0)}, 'world "now": history = 0; at least 2 are needed'),
        ({"world": World("x", generator="jax")}, 'generator = "jax"; NumPy draws those of philox'),
        ({"observation": "eggo"}, 'unknown observation "eggo"; did you mean "ego"?; allowed: scene, ego'),
        ({"observation": None}, 'unknown observation "None"; allowed: scene, ego'),
        ({"world": None}, "world is a NoneType; wanted is a World, or the name of one"),
        ({"seeds": 5}, "seeds = 5: (A, B) is needed"),
        ({"seeds": 0}, "seeds = 0: (A, B) is needed"),
        ({"seeds": (0,)}, "seeds = (0,): (A, B) is needed"),
        ({"seeds": (0, 1.5)}, "seeds = (0, 1.5): (A, B) is needed"),
        ({"shaping": "a"}, "shaping = 'a': a finite number is needed"),
        ({"shaping": float("nan")}, "shaping = nan: a finite number is needed"),
        ({"seeds": (3, 3)}, "seeds = (3, 3): (A, B) is needed, with 0 <= A < B <= 4294967296"),
        ({"render_mode": "human"}, "render_mode = 'human': None or rgb_array is allowed"),
    ],
)
def test_wrong_environments_are_refused(fields, said):
    with pytest.raises(RequestError, match=re.escape(said)):
        GridWorldEnv(**fields)


def test_true_is_the_action_1():
    env = GridWorldEnv(CROWDED)
    seen = [(env.reset(seed=2), env.step(action))[1][0] for action in (True, 1)]
    assert all((seen[0][name] == seen[1][name]).all() for name in seen[1])


def test_wrong_calls_are_refused():
    env = GridWorldEnv(CROWDED)
    with pytest.raises(RequestError, match="reset comes before the first step"):
        env.step(WAIT)
    with pytest.raises(RequestError, match="a GridWorldEnv after its reset"):
        expert(env)
    with pytest.raises(RequestError, match="seed = 4294967296: scenarios have the ids 0 to 4294967295"):
        env.reset(seed=2**32)
    env.reset()
    for action in (5, -1, 1.5, "up"):
        with pytest.raises(RequestError, match="allowed are 0 right, 1 left, 2 down, 3 up, 4 wait"):
            env.step(action)
    with pytest.raises(RequestError, match='unknown predictor "oracel"; did you mean "oracle"?'):
        expert(env, "oracel")
    with pytest.raises(RequestError, match='unknown predictor "None"'):
        expert(env, None)
    with pytest.raises(RequestError, match=r"returns shape \[20, 5, 2\]; .*\[1, 20, 5, 2\] are expected"):
        expert(env, lambda seen, horizon: np.zeros((horizon, 5, 2)))
    with pytest.raises(RequestError, match="not finite"):
        expert(env, lambda seen, horizon: np.full((1, horizon, 5, 2), np.nan))


# ---------------------------------------------------------------- jax


# As users have it, XLA compiles for longer than all other tests here take.
OPTIMISED = pytest.mark.parametrize(
    "compiled", ["quickly", pytest.param("optimised", marks=pytest.mark.slow)]
)


@pytest.fixture
def exact():
    """jax in float64, in which it computes as NumPy does."""
    on_device = pytest.importorskip("hrm_jax.judging.on_device")
    with on_device.enable_x64(True):
        yield


@OPTIMISED
def test_jitted_steps_equal_gymnasiums(compiled, exact, request):
    """The same scenarios and actions: the same observations, rewards and ends."""
    import jax

    if compiled == "optimised":
        request.getfixturevalue("optimised")

    from hrm_jax.env.jitted import GridWorld

    seeds, length = range(6), 40
    actions = np.random.default_rng(0).integers(5, size=(len(seeds), length))
    jitted, narrow = GridWorld(HAZY, shaping=0.05), GridWorld(HAZY, observation="ego")

    def along(state, moves):
        def body(state, move):
            seen, state, *rest = jitted.step_env(jax.random.key(0), state, move)
            return state, ((seen, narrow.view(state)), *rest)

        return (jitted.view(state), narrow.view(state)), jax.lax.scan(body, state, moves)[1]

    begun = jitted.of(drawing.draw(HAZY, seeds))
    first, (seen, rewards, done, info) = jax.tree.map(np.asarray, jax.jit(jax.vmap(along))(begun, actions))
    env = GridWorldEnv(HAZY, shaping=0.05)
    for e, seed in enumerate(seeds):
        alike(first, e, (env.reset(seed=seed)[0], views.ego(HAZY, env.state)))
        for t in range(length):
            now, reward, terminated, truncated, said = env.step(int(actions[e, t]))
            alike(seen, (e, t), (now, views.ego(HAZY, env.state)))
            assert rewards[e, t] == pytest.approx(reward, abs=1e-6)
            assert done[e, t] == (terminated or truncated)
            assert info["success"][e, t] == said["is_success"] and info["timeout"][e, t] == truncated
            assert info["discount"][e, t] == 1 - terminated
            if done[e, t]:
                break


def alike(found, index, expected):
    """Both views equal to the bit, data types included; `found` is at `index` of its arrays."""
    (scene, ego), (wanted_scene, wanted_ego) = found, expected
    assert scene.keys() == wanted_scene.keys()
    for one, other in ((ego, wanted_ego), *((scene[name], wanted_scene[name]) for name in scene)):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one[index], other)


@pytest.mark.parametrize("predictor", ["reflection", pytest.param("oracle", marks=pytest.mark.slow)])
def test_the_jitted_expert_gets_the_referees_outcomes(predictor, exact):
    import jax
    import jax.numpy as jnp

    from hrm_jax.env.jitted import GridWorld

    env, seeds = GridWorld(CROWDED), range(30)

    def play(state):
        def body(carry):
            state, *_ = carry
            _, state, _, done, info = env.step_env(jax.random.key(0), state, env.expert(state, predictor))
            ended = jnp.stack([info["collision"], info["success"], info["timeout"]])
            return state, ended, done

        return jax.lax.while_loop(lambda carry: ~carry[2], body, (state, jnp.zeros(3, bool), False))[1]

    ended = np.asarray(jax.jit(jax.vmap(play))(env.of(drawing.draw(CROWDED, seeds))))
    assert (ended.sum(axis=1) == 1).all()
    assert "".join("01T"[i] for i in ended.argmax(axis=1)) == wanted(CROWDED, seeds, predictor)


@pytest.mark.parametrize("worlds_are", ["given", pytest.param("drawn", marks=pytest.mark.slow)])
def test_a_jitted_episode_that_is_over_begins_anew(worlds_are):
    jax = pytest.importorskip("jax")
    from hrm_jax.env.jitted import GridWorld

    env, count, steps = GridWorld(CROWDED, observation="ego"), 32, 12
    given = env.of(drawing.draw(CROWDED, range(4))) if worlds_are == "given" else None

    @jax.jit
    def play(key, worlds):

        def body(state, key):
            keys = jax.random.split(key, count)
            actions = np.full(count, RIGHT)
            seen, after, reward, done, info = jax.vmap(env.step, (0, 0, 0, None))(
                keys, state, actions, worlds
            )
            time, shown = (state.time, after.time), jax.vmap(env.view)(after)
            return after, (seen, shown, time, after.static, reward, done, info["collision"])

        keys = jax.random.split(key, count)
        first, state = jax.vmap(env.reset, (0, None))(keys, worlds)
        return first, jax.lax.scan(body, state, jax.random.split(key, steps))[1]

    first, record = jax.tree.map(np.asarray, play(jax.random.key(0), given))
    seen, shown, (before, after), static, reward, done, collision = record
    assert first.shape == (count, views.ego_length(CROWDED)) and (before[0] == CROWDED.history).all()
    assert done.any() and not done.all()
    np.testing.assert_array_equal(after, np.where(done, CROWDED.history, before + 1))
    np.testing.assert_allclose(seen, shown, atol=1e-6)
    assert reward.dtype == np.float32 and (reward[collision] < -1).all()
    maps = {each.tobytes() for each in static.reshape(-1, 9, 9)}
    if given is None:
        assert len(maps) > count  # new ones
    else:
        assert maps == {each.tobytes() for each in np.asarray(given.static)}


def test_jitted_environments_are_refused_as_gymnasiums_are():
    pytest.importorskip("jax")
    from hrm_jax.env.jitted import GridWorld

    with pytest.raises(RequestError, match='world "discs" is one of discs'):
        GridWorld("discs")
    with pytest.raises(RequestError, match='unknown observation "all"'):
        GridWorld(observation="all")
    with pytest.raises(RequestError, match='scenarios of "crowded", not of world "standard"'):
        GridWorld("standard").of(drawing.draw(CROWDED, [0]))
    with pytest.raises(RequestError, match=r"world is a Scenarios: give its \.world here"):
        GridWorld(drawing.draw(CROWDED, [0]))
    with pytest.raises(RequestError, match="shaping = nan: a finite number"):
        GridWorld(shaping=float("nan"))
    assert GridWorld("dense") == GridWorld("dense") and hash(GridWorld("dense")) == hash(GridWorld("dense"))


@pytest.mark.parametrize(
    ("predicted", "said"),
    [
        (lambda seen, horizon: seen.history[:, -1:], r"shape \[1, 1, 5, 2\]"),
        (lambda seen, horizon: np.zeros((2, horizon, 5, 2)), r"shape \[2, 20, 5, 2\]"),
        (lambda seen, horizon: None, "NoneType"),
    ],
)
def test_the_jitted_expert_refuses_predictions_of_another_shape(predicted, said):
    jax = pytest.importorskip("jax")
    from hrm_jax.env.jitted import GridWorld

    env = GridWorld(CROWDED)
    worlds = jax.eval_shape(lambda: env.draw(jax.random.key(0), 3))
    wanted = rf"returns {said}; positions \[A, horizon, N, 2\] = \[1, 20, 5, 2\] are wanted"
    with pytest.raises(RequestError, match=wanted):
        jax.eval_shape(jax.vmap(lambda state: env.expert(state, predicted)), worlds)


# ---------------------------------------------------------------- scripts


def ran(*command):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_planners_example_runs():
    out = ran("examples/planner_agent.py", "--episodes", "2", "--predictor", "oracle")
    assert out.startswith("planner, oracle") and "2/2  100.0%" in out


@pytest.mark.slow
def test_the_other_examples_and_the_benchmark_run():
    assert "of 300 scenarios solved" in ran("examples/random_agent.py")
    out = ran("benchmarks/env.py", *"--envs 64 --steps 8 --rounds 1 --least 0".split())
    assert out.count("Gymnasium, a loop") == 2
    pytest.importorskip("stable_baselines3")
    assert "PPO" in ran("examples/ppo.py", "--steps", "4096", "--episodes", "5")


def test_gymnasium_is_asked_for_where_it_is_missing():
    script = "import sys; sys.modules['gymnasium'] = None; import hrm_jax.env.gym"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "ImportError: hrm_jax.env.gym needs Gymnasium: pip install 'hrm_jax[env]'" in done.stderr
    assert gym.NAME in gymnasium.registry
