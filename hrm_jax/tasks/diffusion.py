"""Denoisers of whole paths: the expert's paths, the maps that they were planned on, and noise to undo.

The data are a file, `expert.npz` (`python -m hrm_jax.paths` makes it), kept on the devices as a whole. One
example is a path of P points at integer times, the image of its world, and its two ends; each time that it
is drawn it may be turned or mirrored, and begin at a later moment: what is left of a shortest path is the
shortest path from there, with the obstacles where they are by then (docs/models.md).
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hrm_jax.artefacts import expert, fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.expert import Paths
from hrm_jax.artefacts.networks.denoisers import DenoiserConfig, Plan
from hrm_jax.models import draws
from hrm_jax.models.denoisers import networks as denoisers
from hrm_jax.models.draws import Keys
from hrm_jax.training import sharding
from hrm_jax.training.shuffling import in_epochs
from hrm_jax.training.task import Task, data_of
from hrm_jax.worlds import noising, path_frame, raster
from hrm_jax.worlds.motion import bounce

TRAIN_STREAM, EVAL_STREAM = 0, 1  # fold_in numbers
LEVELS = (0.1, 0.5, 0.9)  # noise levels at which the held-out loss is reported alone
SYMMETRIES = 8  # of the square: bit 0 swaps the axes, then bits 1 and 2 mirror rows and columns


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base.py."""

    path: str
    held_out: fields.Positive
    symmetries: bool
    crop: bool
    limit: fields.NotNegative

    def __post_init__(self):
        fields.check("data", self)


class Examples(NamedTuple):
    """What a denoiser is trained on."""

    path: jax.Array  # [B, P, 2], in the model's coordinates
    sight: jax.Array  # [B, P, features]: the timed straight line, in [-1, 1], and its corridor; none without
    map: jax.Array  # [B, R, C, channels]
    ends: jax.Array  # [B, 4]: start, goal, over the map


def read(path: str, size: int, points: int) -> tuple[Paths, bool]:
    """An `expert.npz` for a model of this size and number of points; whether its paths are stretched."""
    if not path:
        raise RequestError(
            "data.path is empty: an expert.npz of python -m hrm_jax.paths, --config.data.path=FILE"
        )
    paths, stretched = expert.read(path)
    found = {"size": paths.static.shape[1], "points": paths.points.shape[1]}
    for name, asked in (("size", size), ("points", points)):
        if found[name] != asked:
            raise RequestError(f"data.path = {path}: its {name} is {found[name]}, model.{name} is {asked}")
    return paths, stretched


def placeholder(data: DataConfig, model: DenoiserConfig) -> Paths:
    """As few empty paths as may be, with one obstacle."""
    count, two = (data.limit or 1) + data.held_out, np.zeros(2)
    one = Paths(
        ids=np.int64(0),
        static=np.zeros((model.size, model.size), bool),
        positions=np.zeros((1, 2), np.float32),
        velocities=np.zeros((1, 2), np.float32),
        start=two.astype(np.int64),
        goal=two.astype(np.int64),
        points=np.zeros((model.points, 2), np.float32),
        length=np.int64(0),
    )
    return Paths(*(np.stack([array] * count) for array in one))


class Diffusion(Task):
    """A denoiser of `models.denoisers` on the paths of an expert."""

    data_fields = DataConfig

    def __init__(self, config: Mapping[str, Any], mesh: Mesh, dry: bool = False):
        self.data = data_of(config, DataConfig, "diffusion", "plan")
        self.model = denoisers.build(config["model"])
        fields.build("plan", Plan, config["plan"])  # an error in it would show when all is trained
        self.fields = self.model.config
        self._batch_size, self._mesh = sharding.count_groups(config, mesh), mesh
        self._later = self.fields.points - 1 if self.data.crop else 0
        if dry and not Path(self.data.path).is_file():
            print(f"no data at {self.data.path or 'data.path'}: how many paths is unknown", file=sys.stderr)
            paths, self._stretched = placeholder(self.data, self.fields), not self.data.crop
        else:
            paths, self._stretched = read(self.data.path, self.fields.size, self.fields.points)
        train, held_out = self._split(paths)
        self.samples_per_epoch = len(train.points)
        # Key and data are arguments, not constants of the programs: they stay small, and the same for
        # every seed. (jax 0.7.2 also folds constants of this size wrongly.)
        key, everywhere = jax.random.key(config["seed"]), sharding.replicated(mesh)
        if not dry:  # else the devices may not be here
            train, held_out = jax.device_put((train, held_out), everywhere)
        draw = jax.jit(self._draw, out_shardings=sharding.over_batch(mesh))
        evaluate = jax.jit(self._evaluate, out_shardings=everywhere)
        self.batch = functools.partial(draw, key, train)
        self.evaluate = functools.partial(evaluate, key, held_out)

    @classmethod
    def for_dry_run(cls, config: Mapping[str, Any], mesh: Mesh) -> Self:
        """A task of which shapes alone will be asked; where there are no data, some empty paths."""
        return cls(config, mesh, dry=True)

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a denoiser trained under `config`, its way of planning included."""
        model = denoisers.describe(denoisers.build(config["model"]))
        return {
            "task": "diffusion",
            "model": model,
            "world": {"size": model["size"], "obstacle_radius": model["obstacle_radius"]},
            "constants": raster.CONSTANTS,
            "plan": dict(config["plan"]),
        }

    def init(self, key: jax.Array, batch: Examples) -> tuple[Any, tuple]:
        """Parameters; there is no carry."""
        return denoisers.initial_params(self.model, key), ()

    def loss(self, params: Any, carry: tuple, batch: Examples, keys: Keys) -> tuple[jax.Array, tuple]:
        """Mean squared error of what the model predicts, at noise levels drawn uniformly, one a path."""
        of_level, of_noise, of_drop = draws.split(keys, 3)
        level, noise = draws.uniform(of_level), draws.normal(of_noise, batch.path.shape[1:])
        seen = draws.uniform(of_drop)[:, None] >= self.fields.map_dropout
        code = self._encode(params, batch)
        half = code.shape[-1] // 2  # the map's half comes first
        code = jnp.concatenate([jnp.where(seen, code[:, :half], 0), code[:, half:]], axis=1)
        errors, _ = self.errors(params, batch, code, level, noise)
        return jnp.mean(errors), (carry, {})

    def _encode(self, params: Any, batch: Examples) -> jax.Array:
        return self.model.apply({"params": params}, batch.map, batch.ends, method="encode")

    def errors(
        self, params: Any, batch: Examples, code: jax.Array, level: jax.Array, noise: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Squared errors [B] of predictions at `level` [B], and the clean paths [B, P, 2] that they imply."""
        f = self.fields
        start, goal = f.frame.clean_ends(batch.ends)
        noisy = noising.noised(f.schedule, batch.path, noise, level)
        if f.ends:
            noisy = noising.clamp(noisy, start, goal)
        seen = jnp.concatenate([noisy, batch.sight], axis=-1)
        predicted = self.model.apply({"params": params}, seen, level, code)
        target = noising.target(f.schedule, f.predict, batch.path, noise, level)
        chex.assert_equal_shape([predicted, target])  # a broadcast would train on nonsense
        square = (predicted - target) ** 2
        clean, _ = noising.to_sample_and_noise(f.schedule, f.predict, predicted, noisy, level)
        if f.ends:  # they are given, not predicted
            square, clean = square[:, 1:-1], noising.clamp(clean, start, goal)
        return jnp.mean(square, axis=(1, 2)), clean

    # ------------------------------------------------------------ data

    def _split(self, paths: Paths) -> tuple[Paths, Paths]:
        """The examples to train on, from the first one on, and the last ones, held out."""
        d, count = self.data, len(paths.points)
        if self._stretched and d.crop:
            raise RequestError(
                f"data.crop = True: the paths of {d.path} are stretched (published), a part of one is no path"
            )
        if d.held_out >= count:
            raise RequestError(f"data.held_out = {d.held_out}: {d.path} has {count} examples in all")
        if d.limit > count - d.held_out:
            raise RequestError(
                f"data.limit = {d.limit}: {d.path} has {count} examples, {d.held_out} of them held out"
            )
        last = d.limit or count - d.held_out
        return Paths(*(a[:last] for a in paths)), Paths(*(a[-d.held_out :] for a in paths))

    def _draw(self, key: jax.Array, paths: Paths, step: jax.Array) -> Examples:
        """The batch of `step`: the next examples of one shuffled pass over the data after another."""
        key = jax.random.fold_in(key, TRAIN_STREAM)
        order_key, view_key = jax.random.split(key)
        count = len(paths.points)

        def one(position):
            index = in_epochs(order_key, position, count)
            moment_key, symmetry_key = jax.random.split(jax.random.fold_in(view_key, position))
            length = paths.length[index]
            # Whole paths are half of the examples: they are what a first plan is.
            moment = jax.random.randint(moment_key, (), -length, jnp.maximum(length, 1))
            symmetry = jax.random.randint(symmetry_key, (), 0, SYMMETRIES)
            return index, jnp.maximum(moment, 0) * self.data.crop, symmetry * self.data.symmetries

        index, moments, symmetries = jax.vmap(one)(step * self._batch_size + jnp.arange(self._batch_size))
        some = jax.tree.map(lambda a: a[index], paths)
        return examples(self.fields, some, moments, symmetries, self._later)

    # ------------------------------------------------------------ evaluation

    def _evaluate(self, key: jax.Array, paths: Paths, params: Any) -> dict[str, jax.Array]:
        """Held-out losses at fixed noise, and how far, in cells, the implied clean path is from the expert's.

        The yardstick is the straight line, at the pace of an expert that nothing delays.
        """
        f, count = self.fields, len(paths.points)
        whole = jnp.zeros(count, int)
        batch = examples(f, paths, whole, whole)
        if count % self._mesh.size == 0:
            batch = jax.lax.with_sharding_constraint(batch, sharding.over_batch(self._mesh))
        noise = jax.random.normal(jax.random.fold_in(key, EVAL_STREAM), batch.path.shape)
        code = self._encode(params, batch)
        errors = functools.partial(self.errors, params, batch, code)
        results = {"eval/loss": jnp.mean(errors((jnp.arange(count) + 0.5) / count, noise)[0])}
        for level in LEVELS:
            error, clean = errors(jnp.full((count,), level), noise)
            results[f"eval/loss_{level}"] = jnp.mean(error)
            results[f"eval/error_{level}"] = f.frame.cells * root_mean_square(clean - batch.path)
        arrival = f.points - 1 if self._stretched else None
        line = path_frame.straight(paths.points[:, 0], paths.goal, f.points, arrival)
        return results | {"eval/straight/error": root_mean_square(line - paths.points)}


# ---------------------------------------------------------------- examples


def examples(
    model: DenoiserConfig, paths: Paths, moments: jax.Array, symmetries: jax.Array, latest: int = 0
) -> Examples:
    """Paths of the expert from `moments` [B] on (each at most `latest`), under `symmetries` [B] (0 to 7)."""
    ahead = model.points if "forecast" in model.channels else 1  # steps whose obstacles are looked at
    middle = (model.size - 1) / 2

    def one(example, moment, symmetry):
        positions, velocities = course(example.positions, example.velocities, model.size, latest + ahead - 1)
        points = example.points[jnp.minimum(moment + jnp.arange(model.points), model.points - 1)]
        cells = (points, example.goal, positions[moment + jnp.arange(ahead)])
        moved = (middle + turned(symmetry, x - middle) for x in cells)
        return *moved, turned(symmetry, velocities[moment]), turned_map(symmetry, example.static)

    points, goal, tracks, velocity, static = jax.vmap(one)(paths, moments, symmetries)
    frame, start = model.frame, points[:, 0]
    line = path_frame.straight(start, goal, model.points)
    world = (model.channels, static, tracks, velocity)
    return Examples(
        path=frame.to_units(points[:, None], line)[:, 0],
        sight=raster.sight(frame, *world, line, model.obstacle_radius),
        map=raster.draw(*world, model.obstacle_radius, model.slices),
        ends=frame.ends(start, goal),
    )


def course(position: jax.Array, velocity: jax.Array, size: int, steps: int) -> tuple[jax.Array, jax.Array]:
    """Positions and velocities [steps + 1, N, 2] of bouncing obstacles [N, 2], now and after each step."""

    def body(state, _):
        return bounce(*state, size), state

    return jax.lax.scan(body, (position, velocity), length=steps + 1)[1]


def turned(symmetry: jax.Array | int, vectors: jax.Array) -> jax.Array:
    """Vectors [..., 2] under a symmetry of the square, 0 to 7; 0 changes nothing."""
    swapped = jnp.where(symmetry & 1, vectors[..., ::-1], vectors)
    return swapped * jnp.where(jnp.array([symmetry & 2, symmetry & 4]), -1, 1)


def turned_map(symmetry: jax.Array | int, cells: jax.Array) -> jax.Array:
    """A square map [R, R] under the symmetry that takes its cells where `turned` takes their centres."""
    cells = jnp.where(symmetry & 1, cells.T, cells)
    cells = jnp.where(symmetry & 2, cells[::-1], cells)
    return jnp.where(symmetry & 4, cells[:, ::-1], cells)


def root_mean_square(distance: jax.Array) -> jax.Array:
    """Of the lengths of vectors [..., 2]."""
    return jnp.sqrt(jnp.mean(jnp.sum(distance**2, axis=-1)))
