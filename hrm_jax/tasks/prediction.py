"""Obstacle prediction: from T observed positions to the next displacement (docs/models.md#objectives)."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import rollout
from hrm_jax.gridworld.rollout import Windows
from hrm_jax.models import predictors as models
from hrm_jax.models.draws import Keys
from hrm_jax.tasks import predictors
from hrm_jax.tasks.predictors import HORIZONS
from hrm_jax.training import sharding
from hrm_jax.training.shuffling import shuffled
from hrm_jax.training.task import Task, data_of

EVAL_OFFSETS = 30  # held-out windows begin anywhere in the first so many steps
TRAIN_STREAM, EVAL_STREAM = 0, 1  # episode keys: held-out worlds are never training worlds


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base.py."""

    world: Mapping[str, Any]
    source: Literal["stream", "fixed"]
    episodes: fields.NotNegative
    episode_steps: fields.Few
    history: fields.Few
    windows_per_episode: fields.Positive
    eval_episodes: fields.Positive

    def __post_init__(self):
        fields.check("data", self)
        if self.source == "fixed" and self.episodes < 1:
            raise RequestError(f"data.episodes = {self.episodes}: at least 1 where data.source is fixed")
        if not 2 <= self.history < self.episode_steps:
            raise RequestError(
                f"data.history = {self.history} does not fit an episode of data.episode_steps = "
                f"{self.episode_steps} steps: 2 to {self.episode_steps - 1}"
            )


class Prediction(Task):
    """A predictor of `models.PREDICTORS` on windows of the grid world.

    A sample is one obstacle's window. A group, the leading axis of a batch, is one sample, or with
    attention across obstacles all N of a world.
    """

    data_fields = DataConfig
    describe = staticmethod(predictors.describe)

    def __init__(self, config: Mapping[str, Any], mesh: Mesh):
        self.data = data_of(config, DataConfig, "quickstart")
        self.world, self.model = predictors.parts(config, mesh)
        if getattr(self.model.config, "features", "positions") == "scene":
            raise RequestError("model.features = scene: a window shows no scene; it needs task = forecast")
        if not self.world.simple:
            raise RequestError(
                "data.world: in windows obstacles only bounce, and are observed exactly "
                '(kinds = ("bounce",), interacting = False, noise = drop = 0); others need task = forecast'
            )
        self._mesh = mesh
        self._together = getattr(self.model.config, "attention", "single") == "obstacles"
        members = self.world.n_obstacles if self._together else 1
        self._groups = sharding.count_groups(config, mesh, members)
        per_episode = (self.data.episode_steps - self.data.history) * self.world.n_obstacles
        self.samples_per_epoch = self.data.episodes * per_episode if self.data.source == "fixed" else 0
        self._key = jax.random.key(config["seed"])
        self.batch = jax.jit(self._draw, out_shardings=sharding.over_batch(mesh))
        self.evaluate = jax.jit(self._evaluate, out_shardings=sharding.replicated(mesh))

    def init(self, key: jax.Array, batch: Windows) -> tuple[Any, tuple]:
        """Parameters; there is no carry."""
        return self.model.init(key, batch.history[:1])["params"], ()

    def loss(self, params: Any, carry: tuple, batch: Windows, keys: Keys) -> tuple[jax.Array, tuple]:
        """Mean squared displacement error in the published unit: (cells / size)², over batch and axes."""
        predicted = self.model.apply({"params": params}, batch.history, keys)
        chex.assert_equal_shape([predicted, batch.target])  # a broadcast would train on nonsense
        error = jnp.mean((predicted - batch.target) ** 2, axis=(1, 2))  # [G]
        return jnp.mean(error * batch.weight), (carry, {})

    def _draw(self, step: jax.Array) -> Windows:
        """The batch of `step`: fresh episodes, or the epoch's next slice of the shuffled fixed set."""
        key = jax.random.fold_in(self._key, TRAIN_STREAM)
        d = self.data
        if d.source == "stream":
            key = jax.random.fold_in(key, step)
            sizes = d.windows_per_episode, d.history, d.episode_steps
            return rollout.fresh_windows(self.world, key, self._groups, *sizes, self._together)
        groups = self.samples_per_epoch // (self.world.n_obstacles if self._together else 1)
        per_epoch = -(-groups // self._groups)
        data_key, order_key = jax.random.split(key)
        position = (step % per_epoch) * self._groups + jnp.arange(self._groups)
        present = position < groups
        order_key = jax.random.fold_in(order_key, step // per_epoch)
        ids = shuffled(order_key, jnp.minimum(position, groups - 1), groups)
        history, target = rollout.fixed_windows(
            self.world, data_key, ids, d.history, d.episode_steps, self._together
        )
        # The last batch of an epoch is short: the rest of it weighs nothing, and the mean stays a mean.
        return Windows(history, target, present / jnp.mean(present.astype(jnp.float32)))

    def _evaluate(self, params: Any) -> dict[str, jax.Array]:
        """One-step loss and free-running errors in cells, of the model and of constant velocity."""
        history, future = self.held_out()
        apply = functools.partial(self.model.apply, {"params": params})

        def constant_velocity(window):
            return window[..., -1, :] - window[..., -2, :]

        results = {}
        for prefix, predict in (("eval/", apply), ("eval/constant_velocity/", constant_velocity)):
            tracks = models.roll_out(predict, history, max(HORIZONS))  # [horizon, E, N, 2]
            results[prefix + "loss"] = jnp.mean((tracks[0] - future[0]) ** 2)
            results |= predictors.errors(prefix, tracks, future, self.world.size)
            if prefix == "eval/":
                results |= predictors.health(self.model, params, history, tracks)
        return results

    def held_out(self) -> tuple[jax.Array, jax.Array]:
        """Histories [E, N, T, 2] and the steps after them [horizon, E, N, 2], over size."""
        span = self.data.history + max(HORIZONS)

        def draw(key):
            world_key, offset_key = jax.random.split(key)
            positions = rollout.episode(self.world, world_key, span + EVAL_OFFSETS)
            offset = jax.random.randint(offset_key, (), 0, EVAL_OFFSETS + 1)
            return jax.lax.dynamic_slice_in_dim(positions, offset, span) / self.world.size

        key = jax.random.fold_in(self._key, EVAL_STREAM)
        cut = rollout.episodes(key, self.data.eval_episodes, draw)  # [E, span, N, 2]
        if self.data.eval_episodes % self._mesh.size == 0:
            cut = jax.lax.with_sharding_constraint(cut, sharding.over_batch(self._mesh))
        history = jnp.moveaxis(cut[:, : self.data.history], 1, 2)
        return history, jnp.moveaxis(cut[:, self.data.history :], 1, 0)
