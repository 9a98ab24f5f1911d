"""Scenarios as no generator draws them: own starts, goals, maps and obstacles, on every backend alike."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import benchmark
from hrm_jax.artefacts import model_file, traces_file
from hrm_jax.artefacts import scenarios as scenario_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.judging import entrants, evaluation, on_device
from hrm_jax.models import predictors as models
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.tasks.forecast import Forecast
from hrm_jax.worlds import shapes
from hrm_jax.worlds.baselines import BASELINES, frozen
from hrm_jax.worlds.rules import FAILURES
from hrm_jax.worlds.world import KINDS, World

STANDARD = PROTOCOLS["standard"]
CASES = 20  # scenarios at a time: all are of one shape, and one program plays them
PLAIN = World("plain", n_static=0, n_obstacles=5, speed=0.9, history=3)
RICH = replace(PLAIN, name="rich", kinds=KINDS, interacting=True, noise=0.1, drop=0.1)


def _own(world, starts, goals, static=None):
    """CASES scenarios, the last one repeated; the obstacles rest in the lower left corner."""
    starts, goals = (_repeated(np.array(cells)) for cells in (starts, goals))
    maps = np.zeros((CASES, world.size, world.size), bool) if static is None else _repeated(static)
    corner = np.broadcast_to((world.size - 1, 0.0), (CASES, world.n_obstacles, 2)).copy()
    return replace(drawing.resting(world, range(CASES), maps), positions=corner, start=starts, goal=goals)


def _repeated(array):
    return np.concatenate([array, np.repeat(array[-1:], CASES - len(array), axis=0)])


def _judges(scenarios, entrant):
    """The referee and the jitted loop, ready to play."""
    entered = entrants.read_predictor(entrant, None, "numpy").enter(scenarios.world)
    referee = functools.partial(episode.run, scenarios, STANDARD, entered.play)
    return referee, functools.partial(on_device.run, scenarios, STANDARD, entered.source)


def _outcomes(scenarios, entrant="reflection"):
    """What both judges say."""
    return [play() for play in _judges(scenarios, entrant)]


def test_an_agent_goes_from_the_scenarios_own_start_to_its_goal():
    scenarios = _own(PLAIN, [(10, 2), (0, 19), (19, 19), (3, 3)], [(10, 15), (18, 0), (0, 0), (3, 4)])
    assert [result.outcomes for result in _outcomes(scenarios)] == 2 * ["1" * CASES]
    alone = [scenarios.select(slice(e, e + 1)) for e in range(4)]
    assert [len(episode.trace(one, STANDARD, "oracle").plan) for one in alone] == [13, 37, 38, 1]


def test_only_a_goal_that_is_walled_off_has_no_static_path():
    corners = np.zeros((20, 20), bool)
    for row, col in ((0, 1), (1, 0), (18, 19), (19, 18)):
        corners[row, col] = True
    walled = corners.copy()
    walled[10, [14, 16]] = walled[[9, 11], 15] = True
    static = np.array([corners, corners, walled, corners])
    starts, goals = [(10, 2), (5, 5), (10, 2), (0, 0)], [(10, 15), (5, 5), (10, 15), (19, 19)]
    referee, jitted = _outcomes(_own(PLAIN, starts, goals, static))
    assert referee.outcomes == jitted.outcomes == "11T" + "T" * (CASES - 3)
    assert referee.failures == {"no_static_path": CASES - 2, **dict.fromkeys(FAILURES[1:], 0)}
    # A guarded goal is no wall, though the way from corner to corner is.
    guarded = _own(PLAIN, [(10, 2)], [(10, 15)], corners[None])
    guarded = replace(guarded, positions=np.full_like(guarded.positions, (10.0, 15.0)))
    referee, jitted = _outcomes(guarded)
    assert referee.outcomes == jitted.outcomes == "T" * CASES
    assert (referee.failures["no_static_path"], referee.failures["horizon"]) == (0, CASES)


def test_who_starts_on_the_goal_stays_and_succeeds():
    cells = [(0, 0), (10, 15), (19, 19), (7, 0)]
    scenarios = _own(PLAIN, cells, cells)
    assert [result.outcomes for result in _outcomes(scenarios)] == 2 * ["1" * CASES]
    record = episode.trace(scenarios.select(slice(1, 2)), STANDARD, "oracle")
    assert record.agent.tolist() == [[10, 15], [10, 15]] and (record.plan == (10, 15)).all()
    # What meets it there is a collision, as in any other step.
    positions, velocities = np.empty((2, *scenarios.positions.shape))
    positions[:], velocities[:] = (0.0, 1.0), (0.0, -0.15)
    met = replace(scenarios, positions=positions, velocities=velocities)
    assert [result.outcomes for result in _outcomes(met)] == 2 * ["0" + "1" * (CASES - 1)]
    for name in ("hrm-cloud/2025-12", "hrm-cloud/8gpu-v2"):  # whose originals stay as well
        assert episode.run(met, PROTOCOLS[name], "oracle").outcomes == "1" * CASES


def test_a_world_without_history_is_played_by_those_who_need_none():
    scenarios = _own(replace(PLAIN, history=0), [(10, 2)], [(10, 15)])
    assert [result.outcomes for result in _outcomes(scenarios, "blind")] == 2 * ["1" * CASES]
    for history in (0, 1):
        with pytest.raises(RequestError, match=f"needs 2 observed steps.*gives {history}"):
            _outcomes(replace(scenarios, world=replace(PLAIN, history=history)), "frozen")


@pytest.mark.parametrize("value", [np.nan, pytest.param(1e9, marks=pytest.mark.slow)])
def test_a_prediction_that_diverges_is_refused_by_every_judge(value, monkeypatch):
    """NaN is nowhere, so that nothing would ever be near it."""
    scenarios = _own(replace(PLAIN, name=f"diverging to {value}"), [(10, 2)], [(10, 15)])
    monkeypatch.setitem(BASELINES, "frozen", lambda seen, n, **_: 0 * frozen(seen, n, world=PLAIN) + value)
    for judge in (0, 1):
        with pytest.raises(RequestError, match="predicts positions that are not finite, or over 1e.06 cells"):
            _judges(scenarios, "frozen")[judge]()


def test_a_recorded_episode_has_its_own_ends(tmp_path):
    scenarios = _own(PLAIN, [(10, 2)], [(10, 15)])
    entered = {"blind": entrants.read_predictor("blind", None, "numpy").enter(PLAIN)}
    evaluation.record(tmp_path / "t.npz", scenarios, STANDARD, entered, {"blind": "1"}, [0])
    assert traces_file.load(tmp_path / "t.npz").episodes[0].ends == [[10, 2], [10, 15]]


def test_an_episode_that_ends_otherwise_than_it_was_judged_is_not_recorded(tmp_path, capsys):
    scenarios = _own(PLAIN, [(10, 2)], [(10, 15)])
    entered = {"blind": entrants.read_predictor("blind", None, "numpy").enter(PLAIN)}
    evaluation.record(tmp_path / "t.npz", scenarios, STANDARD, entered, {"blind": "01"}, [0, 1])
    assert [episode.id for episode in traces_file.load(tmp_path / "t.npz").episodes] == [1]
    assert "1 of 2 episodes came out otherwise" in capsys.readouterr().err
    with pytest.raises(RequestError, match="nothing is recorded: 1 of 1 episodes came out otherwise"):
        evaluation.record(tmp_path / "u.npz", scenarios, STANDARD, entered, {"blind": "0"}, [0])
    assert not (tmp_path / "u.npz").exists()


# ---------------------------------------------------------------- every backend alike


@st.composite
def _scenarios(draw, world):
    """CASES scenarios: any share of walls, any two free cells, obstacles of every motion anywhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = np.array(draw(st.lists(st.floats(0, 0.6), min_size=CASES, max_size=CASES)))
    apart = np.array(draw(st.lists(st.integers(0, 3), min_size=CASES, max_size=CASES)))  # 0: one cell
    static = rng.random((CASES, world.size, world.size)) < share[:, None, None]
    ends = rng.integers(world.size, size=(2, CASES, 2))
    ends[1] = np.where(apart[:, None] == 0, ends[0], ends[1])
    static[np.arange(CASES), *ends.transpose(0, 2, 1)] = False
    u = rng.random((CASES, world.n_obstacles, shapes.UNIFORMS))
    place = rng.uniform(0, world.size - 0.01, (*u.shape[:2], 2))
    place[:5] = np.floor(place[:5])  # exact distances are where rules differ, if they do
    seed = rng.integers(2**32, size=u.shape[:2], dtype=np.uint32)
    drawn = shapes.draw(world, u, place, seed)
    velocity = rng.choice([0.0, 0.5, 1.0, 2.5], size=(CASES, world.n_obstacles, 1)) * drawn.velocity
    velocity = np.where(drawn.motion.kind[..., None] == KINDS.index("bounce"), velocity, drawn.velocity)
    arrays = scenario_file.obstacle_arrays(drawn._replace(velocity=velocity))
    return scenario_file.Scenarios(world, np.arange(CASES), static, **arrays, start=ends[0], goal=ends[1])


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A small random LSTM that sees the scene, as {backend: it}."""
    config = benchmark.get_config("noisy,lstm").to_dict()
    config["model"]["width"], config["data"]["history"] = 8, 3
    config["data"]["world"] |= {"size": RICH.size, "n_obstacles": RICH.n_obstacles}
    description = Forecast.describe(config)
    model = models.build(description["model"])
    context = models.Context(*(np.zeros(s, np.float32) for s in ((1, 5, 3), (1, 3, 2), (1, 20, 20))))
    params = model.init(jax.random.key(0), np.zeros((1, 5, 3, 2), np.float32), None, context)["params"]
    path = tmp_path_factory.mktemp("model") / "m.npz"
    model_file.write(path, params, {**description, "step": 0, "config": config})
    return {backend: entrants.read_predictor("m", path, backend).enter(RICH) for backend in entrants.BACKENDS}


def _check_alike(world, name, learned, examples):
    """NumPy, jax and jit give the same outcomes in `examples` times CASES drawn scenarios."""
    built_in = entrants.read_predictor(name, None, "numpy").enter(world) if name != "learned" else None
    entered = learned if name == "learned" else dict.fromkeys(entrants.BACKENDS, built_in)
    seen = set()

    @settings(max_examples=examples)
    @given(_scenarios(world))
    def alike(scenarios):
        wanted = episode.run(scenarios, STANDARD, entered["numpy"].play).outcomes
        assert on_device.run(scenarios, STANDARD, entered["jit"].source).outcomes == wanted
        if name == "learned":
            assert episode.run(scenarios, STANDARD, entered["jax"].play).outcomes == wanted
        seen.update(wanted)

    alike()
    assert seen == {"0", "1", "T"}


def test_backends_agree_on_drawn_scenarios():
    _check_alike(PLAIN, "reflection", None, 3)


@pytest.mark.slow
@pytest.mark.hostile
@pytest.mark.parametrize(
    ("world", "name"),
    [(PLAIN, name) for name in entrants.PREDICTORS]
    + [(RICH, name) for name in (*entrants.PREDICTORS, "learned")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_backends_agree_on_1000_drawn_scenarios(world, name, learned, optimised, counted):
    _check_alike(world, name, learned, 1000 // CASES)
    counted(f"{world.name}, {name}: 1,000 of 1,000 drawn scenarios alike on every backend")
