"""Puzzles that a network works on in segments until its Q head stops it: HRM with ACT, and TRM.

Wang et al. 2025 (2506.21734, §2, deep supervision and adaptive computation time) and Jolicoeur-Martineau 2025
(2510.04871, §4); docs/models.md has the formulas. A slot of the batch holds one puzzle and the network's
state on it. An update is one segment of every slot, graded; a slot whose puzzle is done takes a fresh one in
the next.

Axes: B slots (the batch), S cells, T segments, V vocabulary, E width of the puzzle embedding.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from hrm_jax.artefacts import fields
from hrm_jax.models import draws, hrm_act
from hrm_jax.models.draws import Keys
from hrm_jax.models.losses import softmax_cross_entropy, stablemax_cross_entropy
from hrm_jax.tasks import puzzle_data
from hrm_jax.tasks.puzzle_data import DataConfig, Examples
from hrm_jax.training import sharding
from hrm_jax.training.task import Groups, Mean, Metrics, Task, data_of

TRAIN_STREAM = 1
LOSSES = {"stablemax": stablemax_cross_entropy, "softmax": softmax_cross_entropy}


@dataclasses.dataclass(frozen=True)
class ActConfig:
    """The `act` group; meanings in configs/base_puzzles.py."""

    segments: fields.Few
    least: fields.Few
    stagger: bool
    exploration: Annotated[float, fields.Rule(lambda chance: 0 <= chance <= 1, "0 to 1")]
    supervision: Literal["every", "last"]
    loss: Annotated[str, fields.one_of(LOSSES)]
    q_halt_weight: Annotated[float, fields.at_least(0)]
    q_continue_weight: Annotated[float, fields.at_least(0)]

    def __post_init__(self):
        fields.check("act", self)


class Slots(NamedTuple):
    """The carry: unfinished puzzles, and the state of the network on each."""

    examples: Examples
    state: hrm_act.State  # [B, prefix + S, D]
    steps: jax.Array  # [B] int32: segments so far; before the first puzzle, minus those that it is spared
    halted: jax.Array  # [B] bool: done, to be filled anew


def parts(config: Mapping[str, Any]) -> tuple[DataConfig, ActConfig, hrm_act.HRMACT]:
    """Data, adaptive computation and model of a config."""
    data = data_of(config, DataConfig, "act_maze", "act")
    return data, fields.build("act", ActConfig, config["act"]), hrm_act.build(config["model"])


def rows_read(carry: Slots | tuple, batch: Examples) -> jax.Array:
    """Rows [B] of the puzzle embedding that an update reads: those of the slots after they are refilled."""
    return jnp.where(carry.halted, batch.puzzle, carry.examples.puzzle) if carry else batch.puzzle


class Puzzle(Task):
    """A network of `models.hrm_act` on a data set of `puzzles`."""

    data_fields = DataConfig
    groups = Groups(fixed=(hrm_act.INITIAL_STATE,), sparse={hrm_act.PUZZLE_EMBEDDING: rows_read})

    def __init__(self, config: Mapping[str, Any], mesh: Mesh, dry: bool = False):
        self.data, self.act, _ = parts(config)
        self.model = hrm_act.build(hrm_act.for_device(config["model"], mesh.devices.flat[0]))
        batch_size, c = sharding.count_groups(config, mesh), self.model.config
        self._mesh = mesh
        if dry and not Path(self.data.path).exists():
            unknown = "samples, rows of the puzzle embedding, and steps given in epochs are unknown"
            print(f"no data at {self.data.path}: {unknown}", file=sys.stderr)
            train = test = puzzle_data.placeholder(c.vocabulary, c.sequence)
        else:
            train, test = puzzle_data.load(self.data.path, c.vocabulary, c.sequence)
        place = (lambda tree, _: tree) if dry else sharding.place  # a dry run wants shapes alone
        self._ignored = -1 if train.meta.ignore_label_id is None else train.meta.ignore_label_id
        self.identifiers = train.meta.num_puzzle_identifiers
        known = {"kind": train.kind, "identifiers": train.digest}
        self.recorded = {key: value for key, value in known.items() if value}
        self.samples_per_epoch = train.meta.total_groups * train.meta.mean_puzzle_examples
        key = jax.random.fold_in(jax.random.key(config["seed"]), TRAIN_STREAM)
        if train.inputs.nbytes + train.labels.nbytes <= self.data.device_gib * 2**30:
            self.batch = puzzle_data.on_device(place, train, key, batch_size, mesh)
        else:
            self.batch = puzzle_data.on_host(train, key, batch_size, mesh)
        count = min(self.data.eval_examples or len(test.inputs), len(test.inputs))
        size = min(batch_size, -(-count // mesh.size) * mesh.size)
        held_out = puzzle_data.chunked(puzzle_data.examples_of(test, count), size)
        everywhere = sharding.replicated(mesh)
        evaluate = jax.jit(self._evaluate, out_shardings=everywhere)
        self.evaluate = functools.partial(evaluate, *place(held_out, everywhere))

    @classmethod
    def for_dry_run(cls, config: Mapping[str, Any], mesh: Mesh) -> Self:
        """A task of which shapes alone will be asked; where there are no data, one empty puzzle."""
        return cls(config, mesh, dry=True)

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a network trained under `config`."""
        data, act, model = parts(config)
        return {
            "task": "puzzle",
            "model": hrm_act.describe(model),
            "segments": act.segments,
            "data": data.path,
            **{key: config[key] for key in ("kind", "identifiers") if key in config},
        }

    def updates(self, epochs: int, batch_size: int) -> int:
        """Updates of `epochs` passes over the data; a batch may end one and begin the next."""
        return int(epochs * self.samples_per_epoch // batch_size)

    def init(self, key: jax.Array, batch: Examples) -> tuple[Any, Slots | tuple]:
        """Parameters, and slots that all wait for a puzzle."""
        params = hrm_act.initial_params(self.model, key, self.identifiers)
        return params, () if self.act.supervision == "last" else self.staggered(self.waiting(params, batch))

    def loss(
        self, params: Any, carry: Slots | tuple, batch: Examples, keys: Keys
    ) -> tuple[jax.Array, tuple[Slots | tuple, Metrics]]:
        """The graded segment of every slot."""
        if self.act.supervision == "last":
            return self._last_segment_loss(params, batch, keys)
        loss, slots, metrics = self._graded(params, self.refilled(params, carry, batch), keys)
        return loss, (slots, metrics)

    # ------------------------------------------------------------ segments

    def waiting(self, params: Any, batch: Examples) -> Slots:
        """Slots that all wait for a puzzle."""
        count = len(batch.puzzle)
        state = hrm_act.initialize(self.model, params, count)
        return Slots(batch, state, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))

    def staggered(self, slots: Slots) -> Slots:
        """Waiting slots whose first puzzles will end one after another, if `act.stagger` is on.

        Else all begin together and, as long as hardly any is solved, end together: then so many updates in
        a row are of the same puzzles.
        """
        count = len(slots.steps)
        spared = jnp.arange(count, dtype=jnp.int32) * self.act.segments // count
        return slots._replace(steps=-spared) if self.act.stagger else slots

    def refilled(self, params: Any, slots: Slots, fresh: Examples) -> Slots:
        """Slots that are done begin the puzzle of `fresh` at their place; the others do not need theirs."""
        new = self.waiting(params, fresh)._replace(steps=jnp.maximum(-slots.steps, 0))

        def choose(begun, waiting):
            return jnp.where(slots.halted.reshape(-1, *[1] * (begun.ndim - 1)), waiting, begun)

        return jax.tree.map(choose, slots, new)

    def run_segment(self, params: Any, slots: Slots) -> hrm_act.Output:
        """One segment of every slot, whatever it has come to."""
        embedded = params.get(hrm_act.PUZZLE_EMBEDDING)
        return self.model.apply({"params": params}, slots.examples.inputs, embedded, slots.state)

    def halt(self, out: hrm_act.Output, slots: Slots, keys: Keys) -> Slots:
        """Which slots are done: the Q head decides, but not before `least` or a random number of segments.

        A slot whose state is not finite is done, too, and its state cleared: all after it would be lost.
        """
        steps, limit = slots.steps + 1, self.act.segments
        halted = steps >= limit
        if limit > 1:
            of_explore, of_least = draws.split(keys, 2)
            explore = draws.uniform(of_explore) < self.act.exploration
            least = jnp.where(explore, draws.integers(of_least, 2, limit + 1), 0)
            least = jnp.clip(least, self.act.least, limit)
            halted = (halted | self._stops(out)) & (steps >= least)
        sound = [jnp.isfinite(a).all(axis=(1, 2)) for a in out.state]
        sound = functools.reduce(jnp.logical_and, sound)
        state = jax.tree.map(lambda a: jnp.where(sound[:, None, None], a, 0), out.state)
        return slots._replace(state=state, steps=steps, halted=halted | ~sound)

    def _stops(self, out: hrm_act.Output) -> jax.Array:
        """Where the Q head prefers to stop [B]."""
        return out.q_halt > (out.q_continue if self.model.config.q_continue else 0.0)

    def _graded(self, params: Any, slots: Slots, keys: Keys) -> tuple[jax.Array, Slots, dict]:
        """One segment: its loss, the slots after it, metrics."""
        a, out = self.act, self.run_segment(params, slots)
        after = self.halt(out, slots, keys)
        entropy, correct, share, graded = self.grade(out.logits, slots.examples.labels)
        metrics = {
            "lm_loss": jnp.mean(entropy),
            "q_halt_loss": jnp.mean(optax.sigmoid_binary_cross_entropy(out.q_halt, correct)),
        }
        loss = metrics["lm_loss"] + a.q_halt_weight * metrics["q_halt_loss"]
        if self.model.config.q_continue and a.segments > 1:
            target = self.q_continue_target(params, after)
            metrics["q_continue_loss"] = jnp.mean(optax.sigmoid_binary_cross_entropy(out.q_continue, target))
            loss += a.q_continue_weight * metrics["q_continue_loss"]
        # Of the puzzles that end in this update: taken where the Q head believes it is right, so biased
        # upwards against held-out puzzles, which all get every segment.
        counted = after.halted & graded
        ended = {
            "accuracy": share,
            "exact_accuracy": correct,
            "q_halt_accuracy": (out.q_halt >= 0) == correct,
            "segments": after.steps,
        }
        share = jnp.mean(counted.astype(jnp.float32))
        metrics |= {name: Mean(jnp.mean(jnp.where(counted, x, 0.0)), share) for name, x in ended.items()}
        return loss, after, metrics | {"ended": share}

    def q_continue_target(self, params: Any, slots: Slots) -> jax.Array:
        """Target of q_continue [B]: the best Q value of the next segment, under the same weights."""
        following = jax.lax.stop_gradient(self.run_segment(jax.lax.stop_gradient(params), slots))
        best = jnp.maximum(following.q_halt, following.q_continue)
        last = slots.steps >= self.act.segments
        return jax.nn.sigmoid(jnp.where(last, following.q_halt, best))

    def grade(self, logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, ...]:
        """Of each sequence [B]: mean cross entropy, all right, share right; and whether any cell counts."""
        labels = labels.astype(jnp.int32)  # of which -1, where nothing is ignored, is none
        asked = labels != self._ignored
        n = jnp.maximum(jnp.sum(asked, axis=-1), 1)
        entropy = LOSSES[self.act.loss](logits, labels)
        right = asked & (jnp.argmax(logits, axis=-1) == labels)
        share = jnp.sum(right, axis=-1) / n
        correct = jnp.all(right == asked, axis=-1)
        return jnp.sum(jnp.where(asked, entropy, 0), axis=-1) / n, correct, share, jnp.any(asked, axis=-1)

    def _last_segment_loss(self, params: Any, batch: Examples, keys: Keys) -> tuple[jax.Array, tuple]:
        """The documents' port (docs/faults.md#f36): all segments of a batch, a loss for the last one alone.

        A puzzle that halts early begins again. Nothing outlives the update. The earlier segments' losses and
        Q targets, which the original computes and throws away, are left out: the gradient is the same.
        """
        fixed = jax.lax.stop_gradient(params)

        def ungraded(slots, keys):
            slots = self.refilled(fixed, slots, batch)
            return self.halt(self.run_segment(fixed, slots), slots, keys), None

        keys = draws.split(keys, self.act.segments)
        slots, _ = jax.lax.scan(ungraded, self.waiting(fixed, batch), keys[:-1])
        loss, _, metrics = self._graded(params, self.refilled(params, slots, batch), keys[-1])
        return loss, ((), metrics)

    # ------------------------------------------------------------ evaluation

    def _evaluate(self, held_out: Examples, real: jax.Array, params: Any) -> dict[str, jax.Array]:
        """All segments from a fresh state for every held-out puzzle [C, B, ...]; means over the `real` ones.

        The loss is the last segment's. `eval/segments` is how many the Q head would have taken.
        """
        limit = self.act.segments

        def chunk(part):
            examples, real = jax.lax.with_sharding_constraint(part, sharding.over_batch(self._mesh))
            embedded = {name: params[name][examples.puzzle] for name in self.groups.sparse if name in params}
            read = {**params, **embedded}

            def segment(slots, _):
                out = self.run_segment(read, slots)
                entropy, correct, share, _ = self.grade(out.logits, slots.examples.labels)
                judged = entropy, correct, share, self._stops(out), (out.q_halt >= 0) == correct
                return slots._replace(state=out.state), jnp.stack([x.astype(jnp.float32) for x in judged])

            slots = self.waiting(read, examples)
            _, judged = jax.lax.scan(segment, slots, length=limit)  # [T, 5, B]
            answers = jax.nn.one_hot(examples.inputs, self.model.config.vocabulary)
            copied = self.grade(answers, examples.labels)[2]
            stopped = 1 + jnp.argmax(judged[:, 3].at[-1].set(1), axis=0)
            return jnp.sum(judged * real, axis=-1), jnp.sum(stopped * real), jnp.sum(copied * real)

        sums = jax.lax.map(chunk, (held_out, real))
        judged, stopped, copied = (jnp.sum(a, axis=0) / jnp.sum(real) for a in sums)
        names = ("loss", "exact", "tokens", "", "q_accuracy")
        results = {f"eval/{name}": judged[-1, i] for i, name in enumerate(names) if name}
        results |= {f"eval/exact_{k}": judged[k - 1, 1] for k in (1, 2, 4, 8) if k < limit}
        return results | {"eval/segments": stopped, "eval/copy": copied}
