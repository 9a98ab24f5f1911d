"""The controller of Pointer over Heads alone, whose golden files are recorded step by step."""

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hrm_jax.interop import poh
from hrm_jax.interop.states import State
from hrm_jax.models import poh as networks
from hrm_jax.models import poh_controller

TITLE = "PoH's controller"
GOLDEN = {"poh/controller": ("in/x", "in/weight", "out/alphas_0", "out/z_L_0", "out/z_H_0", "out/loss")}
OPTIONS = {"period": 4}
EXACT: dict[str, Any] = {}


def convert(state: State, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` as (fields of a network with this controller, its parameters)."""
    params = poh.convert_controller(state, "")
    width, controller = params["in_kernel"].shape
    heads = params["out_bias"].shape[0]
    fields = {
        "name": "poh",
        "sequence": 1,
        "width": width,
        "heads": heads,
        "controller": controller,
        "period": options["period"],
        "temperature": poh.temperature(state, [""]),
        "positions": "none",
    }
    return fields, {"controller": poh.stack([params])}


def _initial_params(model: networks.PoH, key: jax.Array) -> dict[str, Any]:
    return {"controller": networks.initial_params(model, key)["controller"]}


models = types.SimpleNamespace(build=networks.build, initial_params=_initial_params)


def compute(
    model: networks.PoH, params: dict[str, Any], arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and states of all steps by their names in a golden file, the loss, and its gradients."""
    c, steps = model.config, sum(name.startswith("out/alphas_") for name in arrays)
    count = arrays["out/alphas_0"].shape[:1]
    poh.expect(arrays, {"in/x": (steps, *count, c.width), "in/weight": (steps, *count, c.heads)})
    (value, found), gradients = _differentiate(model, params, arrays["in/x"], arrays["in/weight"])
    named = zip(("alphas", "z_L", "z_H"), found, strict=True)
    outputs = {f"out/{name}_{s}": row for name, rows in named for s, row in enumerate(rows)}
    return outputs | {"out/loss": value}, {"grad": gradients}


@functools.partial(jax.jit, static_argnums=0, compiler_options=poh.ONCE)
def _differentiate(model: networks.PoH, params: dict[str, Any], x: jax.Array, weight: jax.Array) -> Any:
    """Heard x [S, B, D] to ((loss, (weights of the heads, fast, slow state) of all steps), gradients).

    The loss is the sum of `weight` times the heads' weights, [S, B, H] both.
    """
    c = model.config

    def loss(params):
        w = jax.tree.map(lambda a: a[0], params["controller"])

        def step(carry, heard):
            memory, time = carry
            routing, memory = poh_controller.step(c, w, heard, memory, time, 1.0)
            return (memory, time + 1), (routing.weights, *memory)

        zeros = jnp.zeros((x.shape[1], c.controller_width))
        start = poh_controller.Memory(zeros, zeros), jnp.zeros((), jnp.int32)
        steps = jax.lax.scan(step, start, x)[1]
        return jnp.sum(weight * steps[0]), steps

    return jax.value_and_grad(loss, has_aux=True)(params)
