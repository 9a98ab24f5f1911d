"""What a predictor's state does while it runs, and what a run that has not trained says of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark
from hrm_jax.artefacts import health
from hrm_jax.models import predictors as models
from hrm_jax.models.predictors import hrm
from hrm_jax.worlds.features import Context


def _watched(model, history, horizon, bias=None):
    """What `watch` says of a model at initialisation that runs free after histories [G, N, T, 2].

    The world is empty; `bias`: of all gates.
    """
    groups, members, steps = history.shape[:3]
    size = model.config.size
    seen = np.ones((groups, members, steps)), np.full((groups, steps, 2), 0.5), np.zeros((groups, size, size))
    context = Context(*(a.astype(np.float32) for a in seen))

    @jax.jit
    def run():
        params = model.init(jax.random.key(0), history, None, context)["params"]
        if bias is not None:
            for stream in ("low", "high"):
                params[stream]["gate_bias"] = jnp.full_like(params[stream]["gate_bias"], bias)
        tracks = models.forecast(model, params, history, horizon, context=context)
        return model.apply({"params": params}, history, tracks, context, method="watch")

    return run()


# ---------------------------------------------------------------- the loop between the streams


@pytest.mark.parametrize(
    ("name", "least", "most"), [("hrm", 50, 500), ("hrm-stable", 0, 2), ("hrm-quiet", 0, 2)]
)
def test_the_loop_between_the_streams_grows_at_initialisation_as_published_or_not_at_all(
    name, least, most, walks
):
    """The published block about 110 times from t = 9, the last step of the history, to 29."""
    model = models.build({**benchmark.get_config(f"large,{name}").model, "size": 64})
    seen = _watched(model, walks(2, 8, 10), 21)
    assert seen["rms"].shape == (29,)  # from t = 1 on; what is predicted last is not read
    assert least < seen["rms"][28] / seen["rms"][8] < most


# ---------------------------------------------------------------- gates, growth and their verdict


@pytest.mark.parametrize(("bias", "share"), [(0, 0), (9, 1), (-9, 1)])
def test_a_gate_that_is_always_open_or_shut_is_saturated(bias, share, walks):
    model = models.build({**benchmark.get_config("swarm,hrm-stable").model, "width": 8, "blocks": 2})
    saturated = np.mean(_watched(model, walks(2, 3, 6), 4, bias)["saturated"])
    assert saturated == pytest.approx(share, abs=0.02)
    (fault,) = health.faults(dict(WELL, gates_saturated=float(saturated))) or [""]
    assert ("more than half of its gates saturated" in fault) == bool(share)


def test_how_much_of_what_differs_in_the_input_of_the_fast_stream_comes_from_the_slow_one(walks):
    same, apart = jnp.array([[[3.0, 5.0]], [[3.0, 5.0]]]), jnp.array([[[1.0, -3.0]], [[-1.0, 3.0]]])
    cases = [(same, apart, 0), (apart, same, 1), (apart, 2 * apart, 0.2), (same, same, 0)]
    for told, x, share in cases:
        assert hrm.share_heard(told, x) == pytest.approx(share)
    seen = {
        name: _watched(models.build(benchmark.get_config(f"swarm,{name}").model), walks(2, 3, 6), 4)
        for name in ("hrm,k4", "hrm-quiet,k4", "hrm,never", "hrm,no-h", "lstm")
    }
    assert ["h_heard" in one for one in seen.values()] == [True, True, False, False, False]
    loud, quiet = seen["hrm,k4"]["h_heard"], seen["hrm-quiet,k4"]["h_heard"]
    assert np.all(loud[:3] < 1e-6) and np.all(quiet[:3] < 1e-6)  # at t = 0 H has heard nothing yet
    assert np.all(quiet[3:] > 0) and np.all(loud[3:] > 3 * quiet[3:])


@pytest.mark.parametrize("name", ["lstm", "gru", "transformer"])
def test_other_networks_say_how_their_states_grow_where_they_have_some(name, walks):
    model = models.build({**benchmark.get_config(f"swarm,{name}").model, "width": 8})
    seen = _watched(model, walks(2, 3, 6), 4)
    assert set(seen) == ({"rms"} if name != "transformer" else set())
    assert all(rms.shape == (8,) and rms.min() > 0 for rms in seen.values())


WELL = {"steps": 10, "error": 0.1, "constant_velocity": 2.4, "gates_saturated": 0.2, "state_growth": 1.2}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, []),
        (
            dict(error=2.4),
            ["not learned more than constant velocity: held-out error at 10 steps 2.4 cells against 2.4"],
        ),
        (dict(error=2.29), ["2.29 cells against 2.4"]),
        (dict(error=2.27), []),
        (
            dict(error=2.2, frozen=2.0),
            ["more than standing still: held-out error at 10 steps 2.2 cells against 2"],
        ),
        (dict(error=1.8, frozen=2.0), []),
        (dict(error=None), ["is lost: its updates or its held-out error were not finite"]),
        (dict(gates_saturated=0.97), ["more than half of its gates saturated (97 %)"]),
        (dict(state_growth=117.0), ["states that grow 117 times"]),
        (dict(state_growth=None, error=9.0), ["9 cells against 2.4", "states that grow inf times"]),
    ],
)
def test_what_is_wrong_is_named(figures, words):
    found = health.faults({**WELL, **figures})
    assert len(found) == len(words) and all(word in fault for word, fault in zip(words, found, strict=True))


def test_figures_are_those_of_the_record():
    record = {"step": 8, "eval/error_5": 1.0, "eval/error_10": 0.5, "eval/error_20": 3.0}
    record |= {f"eval/constant_velocity/error_{h}": 2.0 for h in (5, 10, 20)} | {"eval/state_growth": np.inf}
    expected = {"steps": 10, "error": 0.5, "constant_velocity": 2.0, "state_growth": None}
    assert health.measured(record) == expected
    assert health.measured(record | {"eval/frozen/error_10": 6.0}) == {**expected, "frozen": 6.0}
    assert health.measured({"step": 3, "loss": 1.0}) is None and health.faults(None) == []
