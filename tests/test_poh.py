"""Pointer over Heads: parameter counts, routing, gradients of its modes, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts import model_file, networks
from hrm_jax.artefacts.networks.poh import PoHConfig
from hrm_jax.models import poh

SMALL = {"name": "poh", "sequence": 16, "width": 16, "heads": 4, "hidden": 32, "passes": 8}


def _model(**fields):
    model = poh.build(SMALL | fields)
    return model, jax.jit(functools.partial(poh.initial_params, model))(jax.random.key(0))


def _tokens(count=3, cells=16, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 17, (count, cells))
    tokens[np.arange(count), rng.integers(0, cells, count)] += 32  # the goal
    return jnp.asarray(tokens, jnp.int32)


def _count(**fields):
    return sum(int(np.prod(shape)) for shape in PoHConfig(**fields).shapes().values())


BASELINE = {
    "sequence": 144, "tokens": "scalar", "head": "cells", "width": 384, "heads": 6, "hidden": 1536,
    "depth": 4, "passes": 1, "routing": "none", "update": "plain", "update_norm": False, "injection": False,
    "norm": "post", "ffn_bias": True, "positions": "none", "mixing": "none", "dropout": 0.1,
}  # fmt: skip
ROUTED = BASELINE | {
    "width": 320, "heads": 5, "hidden": 1280, "passes": 4, "routing": "soft", "scaled": False, "norm": "pre",
    "routed": "slices", "standardised": False, "stateless": True, "update": "rezero", "ffn_bias": False,
    "positions": "each", "position_rows": 512,
}  # fmt: skip
INPUT_NORM = {"tokens": "centred", "input_norm": True}


@pytest.mark.parametrize(
    "fields, count",
    [(BASELINE, 7_210_896), (BASELINE | INPUT_NORM, 7_211_664),
     (ROUTED, 7_040_825), (ROUTED | INPUT_NORM, 7_041_465)],
)  # fmt: skip
def test_the_published_sizes_are_reproduced(fields, count):
    assert _count(**fields) == count


VARIANTS = [
    {},
    {"tokens": "centred", "head": "cells", "input_norm": True, "positions": "first", "position_rows": 20},
    {"routing": "hard", "pooled": False, "slow": "hard", "update": "rezero", "mixing": "depthwise"},
    {"routing": "top_k", "slow": "soft", "update": "residual", "norm": "post", "halting": "probabilistic"},
    {"routing": "none", "depth": 2, "positions": "each", "halting": "q", "start": True, "ffn_bias": True},
]


@pytest.mark.parametrize("fields", VARIANTS)
def test_parameters_have_the_shapes_of_the_config_and_answers_are_finite(fields):
    model, params = _model(passes=2, **fields)
    shapes = {name: leaf.shape for name, leaf in model_file.flatten(params).items()}
    assert shapes == model.config.shapes() and poh.build(poh.describe(model)) == model
    assert networks.config(poh.describe(model)) == model.config
    answers, q = jax.jit(functools.partial(poh.run_passes, model, passes=3))(params, _tokens())
    assert answers.shape == (3, 3, 16) and answers.dtype == jnp.uint8 and jnp.isfinite(q).all()
    assert set(np.unique(answers)) <= {1, 2, 3, 4, 5} and ((answers == 5).sum(axis=2) == 1).all()
