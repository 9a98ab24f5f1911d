"""What a training step costs: loops count as often as they run."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from hrm_jax.compiled.chips import CHIPS
from hrm_jax.models import predictors as models
from hrm_jax.training import compiling, cost


def _flops(f, *shapes):
    return cost.matmul_cost(jax.make_jaxpr(f)(*map(jnp.zeros, shapes)).jaxpr)


def test_one_matmul():
    flops, moved = _flops(lambda a, b: a @ b, (3, 5), (5, 7))
    assert (flops, moved) == (2 * 3 * 5 * 7, 4 * (3 * 5 + 5 * 7 + 3 * 7))
    assert _flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (4, 3, 5), (4, 5, 7))[0] == 4 * 2 * 3 * 5 * 7
    assert _flops(lambda a: a + 1, (3, 5)) == (0, 0)


def test_scans_multiply_and_nest():
    def powers(a, x):
        def outer(x, _):
            x, _ = jax.lax.scan(lambda x, _: (a @ x, None), x, None, length=6)
            return a @ x, None

        return jax.lax.scan(outer, x, None, length=5)[0]

    once = 2 * 4 * 4 * 3
    assert _flops(powers, (4, 4), (4, 3))[0] == 5 * (6 + 1) * once
    assert _flops(jax.jit(jax.checkpoint(powers)), (4, 4), (4, 3))[0] == 35 * once
    # The backward pass of y = a x multiplies twice more: by a transposed and by x transposed.
    gradient = jax.grad(lambda a, x: powers(a, x).sum(), argnums=(0, 1))
    assert _flops(gradient, (4, 4), (4, 3))[0] == 3 * 35 * once


def test_of_branches_the_largest_counts():
    def either(a, x):
        return jax.lax.cond(x.sum() > 0, lambda: a @ (a @ x), lambda: a @ x)

    assert _flops(either, (4, 4), (4, 3))[0] == 2 * 2 * 4 * 4 * 3

    def by_device(a, x):
        return jax.lax.platform_dependent(a, x, cpu=lambda a, x: a @ x, default=lambda a, x: (x.T @ a.T).T)

    assert _flops(by_device, (4, 4), (4, 3))[0] == 2 * 4 * 4 * 3


def test_bytes_follow_the_type():
    a = jnp.zeros((8, 8), jnp.bfloat16)
    assert cost.matmul_cost(jax.make_jaxpr(lambda a: a @ a)(a).jaxpr) == (2 * 8**3, 3 * 64 * 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_headline_network_costs_what_its_formula_says(dtype):
    model = models.build({"name": "hrm", "dtype": dtype})
    history = jnp.zeros((4096, 1, 20, 2))  # traced only
    params = jax.eval_shape(model.init, jax.random.key(0), history[:1])["params"]

    def loss(params, history):
        return jnp.mean(model.apply({"params": params}, history) ** 2)

    step = jax.value_and_grad(loss)
    flops = cost.matmul_cost(jax.make_jaxpr(step)(params, history).jaxpr)[0] / 4096
    d, f = 512, 1331
    block = d * d + 2 * d * f + f * d + 2 * d * d  # V·out folded, SwiGLU, gate
    floor = 3 * 2 * block * 4 * (20 + 10)  # forward and twice backward; L runs 20 times, H 10 times
    assert floor == pytest.approx(2.04e9, rel=0.01)
    assert floor < flops < 2.4e9


def test_counting_parameters():
    tree = {"a": jnp.zeros((3, 4)), "b": {"c": jnp.zeros(5), "d": jnp.zeros((), jnp.bfloat16)}}
    assert cost.count(tree) == 18


@pytest.mark.parametrize(
    ("model", "tried"),
    [
        ({"remat": False, "recurrence": "auto"}, ["model.recurrence=scan", "model.remat=true"]),
        ({"remat": False, "recurrence": "scan"}, ["model.remat=true"]),
        ({"remat": True, "recurrence": "auto"}, []),  # a scan already
        ({}, []),
    ],
)
def test_what_saves_memory_is_suggested_to_who_does_not_do_it_yet(model, tried):
    config = ConfigDict({"model": model, "optimizer": {"accumulate": 2}})
    needs = compiling.Needs(2**40, 2**30, 1.0, (), None)
    said = cost._memory(needs, CHIPS["h100"], SimpleNamespace(config=config))
    fields = [*tried, "optimizer.accumulate=4"]
    assert said.endswith("does not fit, try " + " or ".join(f"--config.{field}" for field in fields))
