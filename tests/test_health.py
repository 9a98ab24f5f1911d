"""What a predictor's state does while it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark
from hrm_jax.models import predictors as models
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


@pytest.mark.parametrize(("name", "least", "most"), [("hrm", 50, 500), ("hrm-stable", 0, 2)])
def test_the_loop_between_the_streams_grows_at_initialisation_as_published_or_not_at_all(
    name, least, most, walks
):
    """The published block about 110 times from t = 9, the last step of the history, to 29."""
    model = models.build({**benchmark.get_config(f"large,{name}").model, "size": 64})
    seen = _watched(model, walks(2, 8, 10), 21)
    assert seen["rms"].shape == (29,)  # from t = 1 on; what is predicted last is not read
    assert least < seen["rms"][28] / seen["rms"][8] < most
