"""Why the published HRM loses to repeating the last step: one thing changed at a time (docs/faults.md#f41).

    python benchmarks/plateau.py [--parts trivial linear trained] [--rates 6e-4 3e-3] [--only NAME ...]

All losses are the published one, mean (displacement error / size)², on the same 16,384 windows of episodes of
`hrm-cloud` that no training sees.

trivial: predictors without parameters.
linear: least squares from the last two positions, and from what the gated block's residual path can hold of
    the positions. There a channel of state s hears x and keeps 1 - g (1 - r) of itself a step, where
    h = 0.7071 x + r s, r = 0.7071 as published and g is its gate: 64 channels with gates from 0 to 1, read
    with weights of at most so much Euclidean norm.
trained: one gated block, by default without H, width 32, AdamW under OneCycle, 2,000 updates of 256 windows;
    then how the output depends on the position so many steps back (the mean derivative, own axis).
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from configs import base  # noqa: E402
from hrm_jax.gridworld import rollout  # noqa: E402
from hrm_jax.models import predictors  # noqa: E402
from hrm_jax.models.predictors import hrm_block as block  # noqa: E402
from hrm_jax.training import optimizer  # noqa: E402
from hrm_jax.worlds import world  # noqa: E402

WORLD = world.of_config(base.world("hrm-cloud"))
SIZE, STEPS, HISTORY, HELD_OUT = WORLD.size, 70, 20, 16_384
FURTHEST = (SIZE - world.WALL_GAP) / SIZE
CHANNELS, NORMS = 64, (0.1, 1.0, 10.0, 1000.0)
PARTS = ("trivial", "linear", "trained")
propose = block.propose  # as published


class Change(NamedTuple):
    """What differs from the published block, its inputs or its training."""

    model: dict[str, Any] = {}
    state: float = block.MIX  # r in h = 0.7071 message + r state
    branch: bool = True  # False: the candidate is h itself, without the maps behind the norms
    inputs: Callable[[jax.Array], jax.Array] = lambda history: history
    bfloat16: bool = False  # weights and both moments are rounded to it after every update (F11)


def displacements(history: jax.Array) -> jax.Array:
    """Of positions [..., T, 2] over size: the last step in cells in the place of each, 0 for the first."""
    return SIZE * jnp.diff(history, axis=-2, prepend=history[..., :1, :])


CHANGES = {
    "published": Change(),
    "no branch": Change(branch=False),
    "norm multiplies (F6)": Change(model={"norm": "rms"}),
    "state weighs 0": Change(state=0.0),
    "state subtracted": Change(state=-block.MIX),
    "reads last steps": Change(inputs=displacements),
    "reads cells, centred": Change(inputs=lambda history: SIZE * (history - 0.5)),
    "bfloat16 (F11)": Change(bfloat16=True),
    "LSTM": Change(model={"name": "lstm", "layers": 2}),
}


def main() -> None:
    """Print the parts asked for."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rates", nargs="+", type=float, default=[6e-4, 3e-3], help="OneCycle's peak")
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES), help="trainings")
    parser.add_argument("--updates", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--k_step", type=int, default=0, help="of H; 0: no H")
    parser.add_argument("--episodes", type=int, default=4_096, help="and a quarter as many held out")
    options = parser.parse_args()
    train, held_out = (draw(stream, options.episodes // share) for stream, share in ((0, 1), (1, 4)))
    test = jax.jit(windows, static_argnums=2)(held_out, jax.random.key(5), HELD_OUT)
    if "trivial" in options.parts:
        trivial(*test)
    if "linear" in options.parts:
        linear(*jax.jit(windows, static_argnums=2)(train, jax.random.key(6), 2 * HELD_OUT), *test)
    if "trained" in options.parts:
        print("trained, peak rate / loss / derivative by the position 0, 1, … 9 steps back", flush=True)
        for name in options.only:
            for rate in options.rates:
                loss, taps = trained(CHANGES[name], rate, train, *test, options)
                print(f"{name:22}{rate:8.0e}{loss:10.2e} ", *(f"{t:6.3f}" for t in taps[:10]), flush=True)


def draw(stream: int, episodes: int) -> jax.Array:
    """Episodes [E, steps, obstacles, 2] over size."""
    key, one = jax.random.fold_in(jax.random.key(0), stream), lambda k: rollout.episode(WORLD, k, STEPS)
    return jax.jit(lambda: rollout.episodes(key, episodes, one))() / SIZE


def windows(episodes: jax.Array, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Random windows of random obstacles: histories [count, T, 2] and the displacements [count, 2] after."""
    most = (len(episodes), episodes.shape[2], STEPS - HISTORY)
    episode, obstacle, start = (
        jax.random.randint(k, (count,), 0, n) for k, n in zip(jax.random.split(key, 3), most, strict=True)
    )
    steps = start[:, None] + jnp.arange(HISTORY + 1)
    cut = episodes[episode[:, None], steps, obstacle[:, None]]
    return cut[:, :-1], cut[:, -1] - cut[:, -2]


def trivial(history: jax.Array, target: jax.Array) -> None:
    """Losses of predictors without parameters."""
    last, step = history[:, -1], history[:, -1] - history[:, -2]
    turned = jnp.clip(last + step, 0, FURTHEST) - last
    for name, move in (("stands still", 0 * step), ("repeats last step", step), ("… to the wall", turned)):
        print(f"{name:38}{jnp.mean((move - target) ** 2):10.2e}")


def linear(history, target, test_history, test_target) -> None:
    """Least losses of linear readouts, fitted to one set of windows and judged on another."""
    train, test = (
        (np.asarray(h, float).transpose(0, 2, 1).reshape(-1, HISTORY), np.asarray(t, float).ravel())
        for h, t in ((history, target), (test_history, test_target))
    )
    last_two = np.eye(HISTORY)[:, -2:]
    print(f"{'linear in the last two positions':38}{ridge(last_two, 0, train, test)[1]:10.2e}")
    gates = np.linspace(1e-3, 1 - 1e-3, CHANNELS)
    for state in (block.MIX, 0.0, -block.MIX):
        kept = 1 - gates * (1 - state)
        filters = block.MIX * gates * kept ** np.arange(HISTORY - 1, -1, -1)[:, None]  # [T, channels]
        fits = [ridge(filters, 10.0**p, train, test) for p in range(-15, 3)]
        best = [min(loss for norm, loss in fits if norm <= limit) for limit in NORMS]
        cells = ", ".join(f"{loss:.2e} (norm {limit:g})" for loss, limit in zip(best, NORMS, strict=True))
        print(f"{f'exponential averages, r = {state:.4g}':38}  {cells}", flush=True)


def ridge(filters: np.ndarray, penalty: float, train, test) -> tuple[float, float]:
    """Of the readout of positions [B, T] @ filters [T, C]: its weights' norm, and the loss on `test`."""
    (x, y), (test_x, test_y) = train, test
    centre, mean = x.mean(0), y.mean()
    gram = filters.T @ ((x - centre).T @ (x - centre) / len(x)) @ filters
    moment = filters.T @ ((x - centre).T @ (y - mean) / len(x))
    weights = np.linalg.lstsq(gram + penalty * np.eye(len(gram)), moment, rcond=None)[0]
    loss = np.mean(((test_x - centre) @ (filters @ weights) + mean - test_y) ** 2)
    return float(np.linalg.norm(weights)), float(loss)


def trained(change: Change, rate: float, episodes, history, target, options) -> tuple[float, np.ndarray]:
    """The held-out loss of a network trained with `change`, and its mean derivatives, latest first."""

    def changed(config, weights, message, state):
        message = message + (change.state / block.MIX - 1) * state
        return propose(config, weights, message, state) if change.branch else block.MIX * (message + state)

    block.propose = changed
    jax.clear_caches()  # of blocks traced with another `propose`
    group = {"name": "hrm", "width": options.width, "heads": 4, "blocks": options.blocks, "unroll": 1}
    group |= {"k_step": options.k_step, "h_stream": options.k_step > 0}
    group = change.model | {"width": options.width} if "name" in change.model else group | change.model
    model = predictors.build(group)

    def predict(params, history):
        return model.apply({"params": params}, change.inputs(history)[:, None])[:, 0]

    def loss(params, history, target):
        return jnp.mean((predict(params, history) - target) ** 2)

    def stored(tree):
        def rounded(x):
            return x.astype(jnp.bfloat16).astype(x.dtype) if x.ndim and x.dtype == jnp.float32 else x

        return jax.tree.map(rounded, tree) if change.bfloat16 else tree

    config = base.get_config()
    base.published_onecycle(config, rate)
    settings = optimizer.OptimizerConfig(**config.optimizer.to_dict())
    rule = optimizer.make(settings, options.updates, options.batch).dense

    @jax.jit
    def learn(params, episodes):
        def update(carry, key):
            params, moments = carry
            gradient = jax.grad(loss)(params, *windows(episodes, key, options.batch))
            step, moments = rule.update(gradient, moments, params)
            return (stored(optax.apply_updates(params, step)), stored(moments)), None

        keys = jax.random.split(jax.random.key(7), options.updates)
        return jax.lax.scan(update, (params, rule.init(params)), keys)[0][0]

    params = learn(stored(model.init(jax.random.key(0), history[:1, None])["params"]), episodes)
    slope = jax.vmap(jax.jacrev(lambda h: predict(params, h[None])[0]))(history[:512])  # [B, 2, T, 2]
    own = jnp.diagonal(slope, axis1=1, axis2=3).mean((0, 2))
    return float(loss(params, history, target)), np.asarray(own)[::-1]


if __name__ == "__main__":
    main()
