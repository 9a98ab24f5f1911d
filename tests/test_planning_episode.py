"""The closed loop: published outcomes character by character, and the rules of each protocol."""

import functools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.cells import episode
from hrm_jax.referee.protocols import PROTOCOLS
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.features import Observation
from hrm_jax.worlds.world import WORLDS, World

# Published protocols, measured on an independent implementation of the original's planner and
# world: 1 success, 0 anything else.
OUTCOMES = {
    ("hrm-cloud/2025-12", "oracle"): "01011111111111110111101000100101001101010111111001",
    ("hrm-cloud/2025-12", "constant_velocity"): ("01011101111011100101001000100101001101010011111001"),
    ("hrm-cloud/2025-12", "reflection"): "01011111111011100111101000100101001101010011111001",
    ("hrm-cloud/2025-12", "frozen"): "11001000011011101011101000101100001001110010100000",
    ("hrm-cloud/2025-12", "blind"): "00001000111111110101001000101100001101000011100001",
    ("hrm-cloud/2025-12-index-fixed", "oracle"): "1" * 50,
    ("hrm-cloud/2025-12-index-fixed", "constant_velocity"): (
        "11111101111111111101011111111111111111111111111111"
    ),
    ("hrm-cloud/2025-12-index-fixed", "reflection"): ("11111101111111111101011111111111111111111111111111"),
    ("hrm-cloud/small", "oracle"): "11110111111000111101111111111100111011001111111001",
    ("hrm-cloud/small", "constant_velocity"): "11110011111000001101111101110100111011001011110000",
    ("hrm-cloud/small", "reflection"): "11110111111000001101111111110100111011001111110001",
    ("hrm-cloud/small", "frozen"): "10111001010000101110111101010111110111111111110110",
    ("hrm-cloud/small", "blind"): "11110011011000001001110101010100011111001001110100",
}
COUNTS = {  # protocol with the index as published, right index
    "oracle": (28, 50),
    "constant_velocity": (20, 45),
    "reflection": (24, 46),
    "blind": (19, 19),
}
TOTALS = {  # seeds 20000..21999: index as published, right index
    "oracle": (1421, 1973),
    "constant_velocity": (1189, 1772),
    "reflection": (1340, 1833),
    "frozen": (1296, 1296),
    "blind": (971, 971),
}


STANDARD_WORLD = WORLDS["standard"]


def _predictor(name):
    return name if name in episode.BOUNDS else functools.partial(BASELINES[name], world=STANDARD_WORLD)


def _seen(history):
    """All of `history` [A, H, N, 2] observed, in an empty world."""
    n, steps = history.shape[:2]
    observed = np.ones(history.shape[:3], bool)
    return Observation(history, observed, np.zeros((n, steps, 2)), np.zeros((n, 20, 20), bool))


def _outcomes(protocol, name, seeds=None):
    scenarios = drawing.draw(WORLDS[protocol.world], range(*(seeds or protocol.seeds)))
    return episode.run(scenarios, protocol, _predictor(name)).outcomes


@pytest.mark.parametrize(("protocol", "name"), OUTCOMES)
def test_published_outcomes(protocol, name):
    outcomes = _outcomes(PROTOCOLS[protocol], name)
    assert outcomes.replace("T", "0") == OUTCOMES[protocol, name]


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts_of_8gpu_v2(name):
    protocol = PROTOCOLS["hrm-cloud/8gpu-v2"]
    fixed = replace(protocol, index_shift=0)
    found = tuple(_outcomes(rules, name).count("1") for rules in (protocol, fixed))
    assert found == COUNTS[name]


@pytest.mark.parametrize(
    "name", [name if name == "oracle" else pytest.param(name, marks=pytest.mark.slow) for name in TOTALS]
)
def test_published_totals_of_2000_seeds(name):
    scenarios = drawing.draw(WORLDS["hrm-cloud"], range(20000, 22000))
    protocols = [PROTOCOLS[f"hrm-cloud/2025-12{suffix}"] for suffix in ("", "-index-fixed")]
    found = [episode.run(scenarios, rules, _predictor(name)).outcomes for rules in protocols]
    assert tuple(outcomes.count("1") for outcomes in found) == TOTALS[name]
    if name == "oracle":
        assert (found[1].count("0"), found[1].count("T")) == (19, 8)


def test_standard_tells_predictors_apart():
    successes = {
        name: _outcomes(PROTOCOLS["standard"], name, (0, 200)).count("1")
        for name in ("oracle", "reflection", "constant_velocity", "frozen", "blind")
    }
    assert successes["oracle"] == 200
    assert list(successes.values()) == sorted(successes.values(), reverse=True)


def test_lockstep_changes_nothing(monkeypatch):
    protocol = PROTOCOLS["standard"]
    scenarios = drawing.draw(WORLDS["standard"], range(23))

    def outcomes(some):
        return episode.run(some, protocol, _predictor("frozen")).outcomes

    together = outcomes(scenarios)
    alone = [outcomes(scenarios.select(slice(e, e + 1))) for e in range(23)]
    monkeypatch.setattr(episode, "BLOCK", 5)
    assert together == "".join(alone) == outcomes(scenarios)


def _crossing(obstacle, velocity, goal):
    """A 5x5 field; one obstacle that is at `obstacle` when the agent begins to move at (0, 0)."""
    world = World("crossing", size=5, n_static=0, n_obstacles=1, history=2)
    velocity = np.array([[velocity]], float)
    return replace(
        drawing.resting(world, [0], np.zeros((1, 5, 5), bool)),
        positions=np.array([[obstacle]], float) - 2 * velocity,
        velocities=velocity,
        goal=np.array([goal]),
    )


def test_swapping_places_is_a_collision_within_the_step_only():
    swap = _crossing(obstacle=(0, 1), velocity=(0, -1), goal=(0, 4))
    assert episode.run(swap, PROTOCOLS["standard"], "blind").outcomes == "0"
    assert episode.run(swap, PROTOCOLS["hrm-cloud/2025-12"], "blind").outcomes == "1"


def test_collision_on_the_goal():
    """Standard tests the collision first, the published protocols the goal."""
    guarded = _crossing(obstacle=(0.5, 2), velocity=(0, 0), goal=(0, 2))
    assert episode.run(guarded, PROTOCOLS["standard"], "blind").outcomes == "0"
    assert episode.run(guarded, PROTOCOLS["hrm-cloud/2025-12"], "blind").outcomes == "1"


def test_a_goal_that_stays_closed_is_a_timeout():
    closed = _crossing(obstacle=(0.0, 4.0), velocity=(0, 0), goal=(0, 4))
    record = episode.trace(closed, PROTOCOLS["standard"], "oracle")
    assert record.outcome == "T"
    assert len(record.plan) == 20 and record.agent.shape == (21, 2)  # 4 steps a cell of side


def test_trace_records_what_happened():
    scenarios = drawing.draw(WORLDS["standard"], [3])
    record = episode.trace(scenarios, PROTOCOLS["standard"], "oracle")
    steps = len(record.plan)
    assert record.outcome == episode.run(scenarios, PROTOCOLS["standard"], "oracle").outcomes == "1"
    assert record.agent[0].tolist() == [0, 0] and record.agent[-1].tolist() == [19, 19]
    assert np.abs(np.diff(record.agent, axis=0)).sum(axis=1).max() == 1
    np.testing.assert_array_equal(record.obstacles, dynamics.roll(scenarios, 20 + steps)[1][0, 20:])
    np.testing.assert_array_equal(record.predicted[0][:10], record.obstacles[1:11])
    for t, plan in enumerate(record.plan):
        np.testing.assert_array_equal(plan[:2], record.agent[t : t + 2])


def test_a_predictor_sees_the_last_observations():
    """Positions at times 1..20 first, the current one last; one row later at the next step."""
    scenarios = drawing.draw(WORLDS["standard"], range(4))
    seen = []

    def watch(observation, horizon):
        seen.append(observation.history)
        return np.repeat(observation.history[:, -1:], horizon, axis=1)

    episode.run(scenarios, PROTOCOLS["standard"], watch)
    truth = dynamics.roll(scenarios, 21)[1]
    np.testing.assert_array_equal(seen[0], truth[:, 1:21])
    np.testing.assert_array_equal(seen[1], truth[:, 2:22])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_diverged_predictions_are_refused(value):
    scenarios = drawing.draw(WORLDS["standard"], range(2))
    with pytest.raises(RequestError, match="not finite"):
        episode.run(scenarios, PROTOCOLS["standard"], lambda seen, n: np.full((2, n, 6, 2), value))


def test_baselines_on_a_straight_track():
    """Away from the walls all but frozen continue a straight line."""
    times = np.arange(20.0)
    track = np.stack([3 + 0.3 * times, 15 - 0.4 * times], axis=-1)[None, :, None]
    ahead = track[:, -1:] + np.array([0.3, -0.4]) * np.arange(1, 6)[:, None, None]
    for name in ("constant_velocity", "reflection", "kalman"):
        predicted = BASELINES[name](_seen(track), 5, world=STANDARD_WORLD)
        np.testing.assert_allclose(predicted, ahead, atol=1e-3, err_msg=name)
    assert (BASELINES["frozen"](_seen(track), 5, world=STANDARD_WORLD) == track[:, -1:]).all()


def test_reflection_is_exact_after_a_full_step():
    scenarios = drawing.draw(WORLDS["hrm-cloud"], range(200))
    truth = dynamics.roll(scenarios, 60)[1]
    full = (np.abs(np.diff(truth[:, 19:21], axis=1)[:, 0]) == np.abs(scenarios.velocities)).all(-1)
    predicted = BASELINES["reflection"](_seen(truth[:, 1:21]), 40, world=STANDARD_WORLD)
    close = np.isclose(predicted, truth[:, 21:], atol=1e-6).all(axis=(1, 3))
    assert close[full].all() and full.any()


def test_kalman_against_the_textbook_matrices():
    """One obstacle's axis through the filter in full matrix form."""
    observed = np.random.default_rng(0).normal(size=12).cumsum()
    f, h = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    q = 0.1**2 * np.array([[0.25, 0.5], [0.5, 1.0]])
    state, p = np.array([observed[0], 0.0]), np.diag([0.01**2, 1.0])
    for z in observed[1:]:
        state, p = f @ state, f @ p @ f.T + q
        k = p @ h.T / (h @ p @ h.T + 0.01**2)
        state, p = state + k[:, 0] * (z - state[0]), (np.eye(2) - k @ h) @ p
    history = np.stack([observed, -observed], axis=-1)[None, :, None]
    predicted = BASELINES["kalman"](_seen(history), 3, world=STANDARD_WORLD)[0, :, 0]
    wanted = state[0] + state[1] * np.arange(1, 4)
    np.testing.assert_allclose(predicted, np.stack([wanted, -wanted], axis=-1), rtol=1e-9)


def test_planning_never_imports_jax():
    code = (
        "import sys, pkgutil, importlib, hrm_jax.referee as p\n"
        "for module in pkgutil.walk_packages(p.__path__, p.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "import hrm_jax.evaluate, hrm_jax.report\n"
        "sys.exit(any(name.split('.')[0] in ('jax', 'flax', 'scipy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
