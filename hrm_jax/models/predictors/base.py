"""From a core to a predictor: inputs before it, a head after it, and the three ways to run free.

Shapes: G groups (worlds), N obstacles of a group, T time, D width; positions and displacements over size.
Inside, obstacles are rows [rows, ...] unless something looks across the obstacles of a world.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.initializers import Initializer

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.predictors import InputsConfig
from hrm_jax.models import draws, layers
from hrm_jax.models.draws import Keys
from hrm_jax.models.predictors import scene
from hrm_jax.worlds import features
from hrm_jax.worlds.features import Context

Weights = dict[str, Any]


class Core(Protocol):
    """A network over time with its parameters in place. Obstacles are rows unless `config.across`."""

    def read(self, x: jax.Array, keys: Keys | None, further: int) -> tuple[Any, jax.Array]:
        """x [T, rows, D] to (state, top [rows, D]): from the start through T steps; `further` may follow."""

    def advance(self, state: Any, x: jax.Array, keys: Keys | None) -> tuple[Any, jax.Array]:
        """One more step with x [rows, D]: (state, top)."""

    def watch(self, before: Any, after: Any, x: jax.Array) -> dict[str, jax.Array]:
        """Of the step with x from one state to the next, scalars where they make sense: the "rms" of the new
        state; the share of gates "saturated", so that they hardly learn any more; of what differs between
        obstacles in what an L stream reads, the share that H tells it, "h_heard"."""


class Network(NamedTuple):
    """A predictor with its parameters in place: what the functions below run."""

    config: InputsConfig
    inputs: Weights  # "embed" and "neighbours" where the predictor has them
    core: Core
    head: Weights


class Predictor(nn.Module):
    """history [..., N, T, 2] (positions over size) -> next displacement [..., N, 2] (over size).

    An architecture adds `_network`, which declares the parameters.
    """

    config: Any

    def __call__(
        self, history: jax.Array, keys: Keys | None = None, context: Context | None = None
    ) -> jax.Array:
        """With `keys` [G] (training) the call may be random; features = "scene" needs a `context`."""
        return next_displacement(self._network(), history, keys, context)

    def forecast(
        self,
        history: jax.Array,
        horizon: int,
        keys: Keys | None = None,
        context: Context | None = None,
    ) -> jax.Array:
        """Free-running positions [horizon, ..., N, 2] over size, the way `config.rollout` says."""
        run = {"sliding": run_sliding, "carry": run_carry, "direct": run_direct}[self.config.rollout]
        return run(self._network(), history, horizon, keys, context)

    def watch(
        self, history: jax.Array, tracks: jax.Array, context: Context | None = None
    ) -> dict[str, jax.Array]:
        """What `Core.watch` says of every step but the first, [steps - 1].

        They are the T of the history, and where the state is carried on, those that read the predictions
        `tracks` [horizon, ..., N, 2], which the last one does not.
        """
        return watch(self._network(), history, tracks, context)

    def _declare_embed(self, *initial: Initializer) -> Weights:
        c = self.config
        return layers.declare(self, "embed", **layers.affine(c.inputs, c.width, "", *initial))

    def _declare_head(self, *initial: Initializer) -> Weights:
        c = self.config
        if c.features != "positions":  # a correction, which starts at zero: born as constant velocity
            initial = (nn.initializers.zeros,) * 2
        outputs = 2 * c.horizon if c.rollout == "direct" else 2
        return layers.declare(self, "head", **layers.affine(c.width, outputs, "", *initial))

    def _declare_neighbours(self) -> Weights:
        c = self.config
        return {"neighbours": scene.declare_neighbours(self, c)} if c.neighbours else {}


def roll_out(predict: Callable[[jax.Array], jax.Array], history: jax.Array, horizon: int) -> jax.Array:
    """Free-running prediction: positions over size [..., N, T, 2] to the next ones [horizon, ..., N, 2].

    The published sliding window: every prediction enters the history and the oldest position leaves.
    Positions stay float32 whatever the matmuls use (docs/faults.md#f12).
    """
    return _slide(lambda window, keys, context: predict(window), history, horizon, None, None)


def next_displacement(
    net: Network, history: jax.Array, keys: Keys | None, context: Context | None
) -> jax.Array:
    """[..., N, T, 2] to the displacement [..., N, 2] that follows; the first of a direct head's."""
    positions, seen = scene.arrange(net.config, history, context)
    _, top = _read(net, positions, seen, keys)
    return _move(net, top, _last_move(positions)).reshape(*history.shape[:-2], 2)


def run_sliding(net: Network, history, horizon: int, keys, context) -> jax.Array:
    """The published free run: the window slides, and every step reads all of it anew."""
    return _slide(functools.partial(next_displacement, net), history, horizon, keys, context)


def run_carry(net: Network, history, horizon: int, keys, context) -> jax.Array:
    """The core reads the history once, then goes on from its state, fed with its own predictions."""
    keys = None if keys is None else draws.split(keys, horizon)
    positions, seen = scene.arrange(net.config, history, context)
    state, top = _read(net, positions, seen, None if keys is None else keys[0], horizon - 1)
    moved = _move(net, top, _last_move(positions))
    now, seen = positions[-1] + moved, features.afterwards(seen)

    def step(running, keys):
        state, now, moved = running
        state, top = net.core.advance(state, _rows(net.config, _embed(net, now, moved, seen)), keys)
        moved = _move(net, top, moved)
        return (state, now + moved, moved), now + moved

    keys = None if keys is None else keys[1:]
    _, later = jax.lax.scan(step, (state, now, moved), keys, length=horizon - 1)
    return jnp.concatenate([now[None], later]).reshape(horizon, *history.shape[:-2], 2)


def run_direct(net: Network, history, horizon: int, keys, context) -> jax.Array:
    """All displacements at once from the last state, each a correction to the last one seen."""
    c = net.config
    if horizon > c.horizon:
        raise RequestError(f"a horizon of {horizon} steps: the direct head has model.horizon = {c.horizon}")
    positions, seen = scene.arrange(c, history, context)
    _, top = _read(net, positions, seen, keys)
    output = layers.linear(net.head, top).reshape(*positions.shape[1:-1], c.horizon, 2)[..., :horizon, :]
    output = jnp.moveaxis(output, -2, 0)
    moved = output if c.features == "positions" else _last_move(positions) + output / c.size
    return (positions[-1] + jnp.cumsum(moved, axis=0)).reshape(horizon, *history.shape[:-2], 2)


def watch(net: Network, history, tracks, context: Context | None) -> dict[str, jax.Array]:
    """See `Predictor.watch`."""
    positions, seen = scene.arrange(net.config, history, context)
    x = _rows(net.config, _embed(net, positions, features.moves(positions), seen))
    if net.config.rollout == "carry":
        later = features.afterwards(seen)
        path = jnp.concatenate([positions[-1:], tracks.reshape(-1, *positions.shape[1:])])
        ahead = jax.vmap(lambda now, moved: _rows(net.config, _embed(net, now, moved, later)))
        x = jnp.concatenate([x, ahead(path[1:-1], path[1:-1] - path[:-2])])

    def step(state, x):
        after, _ = net.core.advance(state, x, None)
        return after, net.core.watch(state, after, x)

    state, _ = net.core.read(x[:1], None, len(x) - 1)
    return jax.lax.scan(step, state, x[1:])[1]


def root_mean_square(arrays: Any) -> jax.Array:
    """Over all numbers of a tree of arrays."""
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(arrays)]
    return jnp.sqrt(sum(jnp.sum(a * a) for a in leaves) / sum(a.size for a in leaves))


def _slide(predict: Callable, history, horizon: int, keys, context: Context | None) -> jax.Array:
    """`predict(history, keys, context)` over a window that slides along its own predictions."""
    chex.assert_axis_dimension(history, -1, 2)

    def step(window, keys):
        history, context = window
        following = history[..., -1, :] + predict(history, keys, context)
        history = jnp.concatenate([history[..., 1:, :], following[..., None, :]], axis=-2)
        return (history, _later(context)), following

    keys = None if keys is None else draws.split(keys, horizon)
    return jax.lax.scan(step, (history, context), keys, length=horizon)[1]


def _later(context: Context | None) -> Context | None:
    """The context of a window one step on: nothing new observed, the agent where it was."""
    if context is None:
        return None
    observed = jnp.concatenate(
        [context.observed[..., 1:], jnp.zeros_like(context.observed[..., :1])], axis=-1
    )
    agent = jnp.concatenate([context.agent[..., 1:, :], context.agent[..., -1:, :]], axis=-2)
    return context._replace(observed=observed, agent=agent)


def _read(net: Network, positions, seen, keys, further: int = 0) -> tuple[Any, jax.Array]:
    """The core through positions [T, ..., 2] from its start: its state and its top."""
    x = _embed(net, positions, features.moves(positions), seen)
    return net.core.read(_rows(net.config, x), keys, further)


def _embed(net: Network, now: jax.Array, moved: jax.Array, seen: features.Seen | None) -> jax.Array:
    """Positions and last displacements [..., 2] as the core's input [..., D]."""
    x = features.features(net.config, now, moved, seen)
    if "embed" in net.inputs:
        x = layers.linear(net.inputs["embed"], x)
    if "neighbours" in net.inputs:
        # Only the matmuls' results are kept for the backward pass, not the N² pairs between them.
        policy = jax.checkpoint_policies.dots_saveable
        attend = jax.checkpoint(scene.attend_neighbours, static_argnums=0, policy=policy, prevent_cse=False)
        x = attend(net.config, net.inputs["neighbours"], x, now, moved)
    return x


def _rows(config: InputsConfig, x: jax.Array) -> jax.Array:
    """[..., G, N, D] to [..., rows, D] where worlds are together but the core does not look across them."""
    if config.across or not config.together:
        return x
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def _move(net: Network, top: jax.Array, moved: jax.Array) -> jax.Array:
    """The displacement after the last one `moved` [..., 2], from the core's top [rows, D].

    The head's first two outputs: the displacement, or with motion features its correction in cells.
    """
    first = {"kernel": net.head["kernel"][:, :2], "bias": net.head["bias"][:2]}
    output = layers.linear(first, top).reshape(moved.shape)
    return output if net.config.features == "positions" else moved + output / net.config.size


def _last_move(positions: jax.Array) -> jax.Array:
    return features.moves(positions[-2:])[-1]
