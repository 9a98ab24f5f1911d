"""Obstacle forecasts: from a whole scene to every obstacle's next `horizon` positions, in free running.

Where `prediction` repeats the published objective (one step, in windows of one obstacle), this one trains
what the planner uses: the roll-out itself, on whole worlds, with all that a predictor may look at. Its
evaluation closes the loop on the device, so that the success rate itself is a curve of the training.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import closed_loop, drawing, rollout
from hrm_jax.gridworld.rollout import Scenes
from hrm_jax.models.draws import Keys
from hrm_jax.referee import drawing as referee_drawing
from hrm_jax.tasks import predictors
from hrm_jax.training import sharding
from hrm_jax.training.task import Task, data_of
from hrm_jax.worlds import features
from hrm_jax.worlds.features import Observation, Predict
from hrm_jax.worlds.rules import Rules

TRAIN_STREAM, EVAL_STREAM, LOOP_STREAM = 0, 1, 2  # episode keys: held-out worlds are never training worlds
MARGIN = 0.2  # cells: planning radius less collision radius; errors well under it do not matter
DISCOUNT = 0.5  # a step ahead, of the loss: the planner plans again after every step


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base.py."""

    world: Mapping[str, Any]
    history: Annotated[int, fields.at_least(2)]
    horizon: fields.Few
    windows_per_episode: fields.Positive
    eval_episodes: fields.Positive
    closed_loop_episodes: fields.NotNegative

    def __post_init__(self):
        fields.check("data", self)


class Forecast(Task):
    """A predictor of `models.PREDICTORS` on whole scenes.

    A sample is one obstacle of a scene; a group, the leading axis of a batch, is a scene of N of them.
    """

    data_fields = DataConfig
    describe = staticmethod(predictors.describe)

    def __init__(self, config: Mapping[str, Any], mesh: Mesh):
        self.data = data_of(config, DataConfig, "benchmark")
        self.world, self.model = predictors.parts(config, mesh)
        if self.data.history > self.world.history:
            raise RequestError(
                f"data.history = {self.data.history}: at most the {self.world.history} steps that the agent "
                "waits (data.world.history)"
            )
        if self.world.safe_start:  # the referee gives up; the simulator, which cannot, would draw for ever
            referee_drawing.draw(dataclasses.replace(self.world, generator="philox"), range(1))
        self._groups = sharding.count_groups(config, mesh, self.world.n_obstacles)
        # The key is an argument, not a constant of the program: runs of other seeds compile to the same.
        key, everywhere = jax.random.key(config["seed"]), sharding.replicated(mesh)
        self.batch = functools.partial(jax.jit(self._draw, out_shardings=sharding.over_batch(mesh)), key)
        self._open = functools.partial(jax.jit(self._open_loop, out_shardings=everywhere), key)
        self._closed = functools.partial(
            jax.jit(self._closed_loop, static_argnums=2, out_shardings=everywhere), key
        )

    def init(self, key: jax.Array, batch: Scenes) -> tuple[Any, tuple]:
        """Parameters; there is no carry."""
        one = jax.tree.map(lambda a: a[:1], batch)
        return self.model.init(key, one.history, context=one.context)["params"], ()

    def loss(self, params: Any, carry: tuple, batch: Scenes, keys: Keys | None) -> tuple[jax.Array, tuple]:
        """Mean over obstacles, and discounted over the steps ahead, of the pseudo-Huber error in cells.

        It is quadratic below `MARGIN` and linear above: a turn that cannot be foreseen costs its distance,
        not its square.
        """
        tracks = self.forecast(params, batch, keys)
        square = jnp.sum((tracks - jnp.moveaxis(batch.future, 2, 0)) ** 2, axis=-1) * self.world.size**2
        error = jnp.mean(jnp.sqrt(square + MARGIN**2) - MARGIN, axis=(1, 2))  # [horizon]
        weight = DISCOUNT ** jnp.arange(self.data.horizon)
        return jnp.sum(weight * error) / jnp.sum(weight), (carry, {})

    def evaluate(self, params: Any) -> dict[str, jax.Array]:
        """Open-loop errors in cells; success rates of the closed loop, with those of its bounds."""
        results = self._open(params)
        if self.data.closed_loop_episodes:
            results = results | {"eval/success": self._closed(params, None)} | self._references
        return results

    @functools.cached_property
    def _references(self) -> dict[str, jax.Array]:
        """Success rates of reflection and the oracle on the episodes of `eval/success`: computed once."""
        names = ("reflection", "oracle")
        return {f"eval/baseline/{name}/success": self._closed((), name) for name in names}

    def forecast(self, params: Any, scenes: Scenes, keys: Keys | None = None) -> jax.Array:
        """Positions over size, [horizon, G, N, 2]."""
        tracks = self.model.apply(
            {"params": params}, scenes.history, self.data.horizon, keys, scenes.context, method="forecast"
        )
        chex.assert_shape(tracks, (self.data.horizon, *scenes.future.shape[:2], 2))
        return tracks

    def _draw(self, key: jax.Array, step: jax.Array) -> Scenes:
        key = jax.random.fold_in(jax.random.fold_in(key, TRAIN_STREAM), step)
        return self._scenes(key, self._groups)

    def _scenes(self, key: jax.Array, count: int) -> Scenes:
        d = self.data
        return rollout.fresh_scenes(self.world, key, count, d.windows_per_episode, d.history, d.horizon)

    def _open_loop(self, key: jax.Array, params: Any) -> dict[str, jax.Array]:
        scenes = self._scenes(jax.random.fold_in(key, EVAL_STREAM), self.data.eval_episodes)
        future = jnp.moveaxis(scenes.future, 2, 0)
        moved = scenes.history[..., -1, :] - scenes.history[..., -2, :]
        ahead = jnp.arange(1, self.data.horizon + 1)[:, None, None, None]
        straight = scenes.history[..., -1, :] + ahead * moved
        results = {"eval/loss": self.loss(params, (), scenes, None)[0]}
        standing = jnp.broadcast_to(scenes.history[..., -1, :], straight.shape)
        forecasts = {
            "eval/": self.forecast(params, scenes),
            "eval/constant_velocity/": straight,
            "eval/frozen/": standing,
        }
        for prefix, tracks in forecasts.items():
            results |= predictors.errors(prefix, tracks, future, self.world.size)
        seen = scenes.history, forecasts["eval/"], scenes.context
        return results | predictors.health(self.model, params, *seen)

    def _closed_loop(self, key: jax.Array, params: Any, name: str | None) -> jax.Array:
        """The success rate of the model, or of the predictor `name`, on held-out worlds."""

        def draw(key):
            static, obstacles = drawing.reset(self.world, key)
            return static, obstacles, *drawing.ends(self.world, static, key)

        drawn = rollout.episodes(jax.random.fold_in(key, LOOP_STREAM), self.data.closed_loop_episodes, draw)
        rules = Rules(horizon=self.data.horizon)
        predict = predictor(self.model, params, self.data.history) if name is None else name
        outcomes = closed_loop.play(self.world, rules, predict, *drawn)
        return jnp.mean(outcomes == closed_loop.SUCCESS)


def predictor(model: nn.Module, params: Any, history: int) -> Predict:
    """A model that looks `history` steps back, as `closed_loop.play` wants it: cells in, cells out."""
    size = model.config.size

    def predict(seen: Observation, horizon: int) -> jax.Array:
        positions, context = features.recent(seen, history, size)
        tracks = model.apply({"params": params}, positions, horizon, None, context, method="forecast")
        return size * jnp.moveaxis(tracks, 0, 1)

    return predict
