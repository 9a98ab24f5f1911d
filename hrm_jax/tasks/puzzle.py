"""Puzzles that a network thinks about in segments until its Q head says that it is done (HRM-ACT, TRM).

Rules: docs/models.md. A slot of the batch holds one puzzle and what the network thinks of it. An
update is one segment of every slot, graded; a slot whose puzzle is done takes a fresh one in the next.

Axes: B slots (the batch), S cells, T segments, V vocabulary, N examples, E width of the puzzle table.
"""

import dataclasses
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import rollout
from hrm_jax.models import hrm_act
from hrm_jax.models.layers import check_choice
from hrm_jax.models.losses import softmax_cross_entropy, stablemax_cross_entropy
from hrm_jax.puzzles import dataset
from hrm_jax.training import sharding

TRAIN_STREAM = 1
LOSSES = {"stablemax": stablemax_cross_entropy, "softmax": softmax_cross_entropy}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base.py."""

    path: str
    eval_examples: int
    device_gib: float


@dataclasses.dataclass(frozen=True)
class ActConfig:
    """The `act` group; meanings in configs/base.py."""

    segments: int
    exploration: float
    supervision: str
    loss: str
    q_halt_weight: float
    q_continue_weight: float

    def __post_init__(self):
        if self.segments < 1:
            raise RequestError(f"act.segments = {self.segments}: at least 1")
        if not 0 <= self.exploration <= 1:
            raise RequestError(f"act.exploration = {self.exploration}: 0 to 1")
        check_choice("act.supervision", self.supervision, ("every", "last"))
        check_choice("act.loss", self.loss, tuple(LOSSES))


class Examples(NamedTuple):
    """Puzzles and their answers."""

    inputs: jax.Array  # [B, S] uint8
    labels: jax.Array  # [B, S] uint8
    puzzle: jax.Array  # [B] int32: row of the puzzle table


class Slots(NamedTuple):
    """The carry: unfinished puzzles and thoughts."""

    examples: Examples
    state: hrm_act.State  # [B, prefix + S, D]
    steps: jax.Array  # [B] int32: segments so far
    halted: jax.Array  # [B] bool: done, to be filled anew


class Rows(NamedTuple):
    """Where the examples of a split lie, for a draw of one: P puzzles, G groups of them, U units."""

    starts: jax.Array  # [P] int32: first example of each puzzle
    counts: jax.Array  # [P] int32: its examples
    first: jax.Array  # [G] int32: first puzzle of each group
    variants: jax.Array  # [G] int32: its puzzles
    group: jax.Array  # [U] int32: group of each unit; an epoch is one of each
    number: jax.Array  # [U] int32: which example of a puzzle it stands for


def parts(config: Mapping[str, Any]) -> tuple[DataConfig, ActConfig, hrm_act.HRMACT]:
    """Data, adaptive computation and model of a config."""
    if "act" not in config or "path" not in config["data"]:
        raise RequestError("task = puzzle: begin with configs/act_maze.py; this config has another's data")
    return DataConfig(**config["data"]), ActConfig(**config["act"]), hrm_act.build(config["model"])


class Puzzle:
    """A network of `models.hrm_act` on a data set of `puzzles`; see `base.Task`."""

    endless, fixed, table = True, (hrm_act.FIXED,), hrm_act.TABLE

    def __init__(self, config: Mapping[str, Any], mesh: Mesh):
        self.data, self.act, self.model = parts(config)
        sharding.check_batch(config["batch_size"], "batch_size", mesh, config["optimizer"]["accumulate"])
        self._batch_size, self._mesh = config["batch_size"], mesh
        if self.model.config.attention == "cudnn" and jax.default_backend() != "gpu":
            raise RequestError('model.attention = "cudnn" needs an NVIDIA GPU; matmul and xla run anywhere')
        dry = config.get("dry", False)
        train, test = self._load(dry)
        self._ignored = -1 if train.meta.ignore_label_id is None else train.meta.ignore_label_id
        self._identifiers = train.meta.num_puzzle_identifiers
        rows, examples = rows_of(train), examples_of(train)
        self.samples_per_epoch = train.meta.total_groups * train.meta.mean_puzzle_examples
        key, everywhere = jax.random.key(config["seed"]), sharding.replicated(mesh)
        place = (lambda tree, _: tree) if dry else sharding.place  # a dry run wants shapes alone
        if examples.inputs.nbytes + examples.labels.nbytes <= self.data.device_gib * 2**30:
            draw = jax.jit(self._draw, out_shardings=sharding.over_batch(mesh))
            self.batch = functools.partial(draw, key, *place((rows, examples), everywhere))
        else:
            # The host's own device draws: the accelerator's queue is full of the update under way.
            here = jax.local_devices(backend="cpu")[0]
            self._host_index = functools.partial(jax.jit(self._index), *jax.device_put((key, rows), here))
            self.batch = functools.partial(self._draw_on_host, examples)
        count = min(self.data.eval_examples or len(test.inputs), len(test.inputs))
        size = min(self._batch_size, -(-count // mesh.size) * mesh.size)
        evaluate = jax.jit(self._evaluate, out_shardings=everywhere)
        held_out = chunked(examples_of(test, count), size)
        self.evaluate = functools.partial(evaluate, *place(held_out, everywhere))

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a network trained under `config`."""
        data, act, model = parts(config)
        return {
            "task": "puzzle",
            "model": hrm_act.describe(model),
            "segments": act.segments,
            "data": data.path,
        }

    def init(self, key: jax.Array, batch: Examples) -> tuple[Any, Slots | tuple]:
        """Parameters, and slots that all wait for a puzzle."""
        params = hrm_act.initial_params(self.model, key, self._identifiers)
        if self.act.supervision == "last":
            return params, ()
        return params, self._empty(params, batch)

    def rows(self, carry: Slots | tuple, batch: Examples) -> jax.Array:
        """Rows of the puzzle table that an update reads [B]."""
        return jnp.where(carry.halted, batch.puzzle, carry.examples.puzzle) if carry else batch.puzzle

    def loss(
        self, params: Any, carry: Slots | tuple, batch: Examples, key: jax.Array
    ) -> tuple[jax.Array, tuple[Slots | tuple, dict[str, jax.Array]]]:
        """The graded segment of every slot."""
        if self.act.supervision == "every":
            slots = self._refilled(params, carry, batch)
            loss, slots, metrics = self._graded(params, slots, key)
            return loss, (slots, metrics)
        return self._last_alone(params, batch, key)

    # ------------------------------------------------------------ segments

    def _empty(self, params: Any, batch: Examples) -> Slots:
        count = len(batch.puzzle)
        state = hrm_act.initialize(self.model, params, count)
        return Slots(batch, state, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))

    def _refilled(self, params: Any, slots: Slots, fresh: Examples) -> Slots:
        """Slots that are done begin the puzzle of `fresh` at their place; the others do not need theirs."""
        new = self._empty(params, fresh)

        def choose(begun, waiting):
            return jnp.where(slots.halted.reshape(-1, *[1] * (begun.ndim - 1)), waiting, begun)

        return jax.tree.map(choose, slots, new)

    def _think(self, params: Any, slots: Slots) -> hrm_act.Output:
        return self.model.apply(
            {"params": params}, slots.examples.inputs, params.get(hrm_act.TABLE), slots.state
        )

    def _halt(self, out: hrm_act.Output, slots: Slots, key: jax.Array) -> Slots:
        """Which slots are done: told so by the Q head, but not before a random number of segments."""
        steps, limit = slots.steps + 1, self.act.segments
        halted = steps >= limit
        if limit > 1:
            explore_key, least_key = jax.random.split(key)
            explore = jax.random.bernoulli(explore_key, self.act.exploration, steps.shape)
            least = jnp.where(explore, jax.random.randint(least_key, steps.shape, 2, limit + 1), 0)
            halted = (halted | self._stops(out)) & (steps >= least)
        return slots._replace(state=out.state, steps=steps, halted=halted)

    def _stops(self, out: hrm_act.Output) -> jax.Array:
        """Where the Q head would rather stop [B]."""
        return out.q_halt > (out.q_continue if self.model.config.q_continue else 0.0)

    def _graded(self, params: Any, slots: Slots, key: jax.Array) -> tuple[jax.Array, Slots, dict]:
        """One segment: its loss, the slots after it, metrics."""
        a, out = self.act, self._think(params, slots)
        after = self._halt(out, slots, key)
        entropy, correct, share, graded = self._judge(out.logits, slots.examples.labels)
        metrics = {
            "lm_loss": jnp.mean(entropy),
            "q_halt_loss": jnp.mean(optax.sigmoid_binary_cross_entropy(out.q_halt, correct)),
        }
        loss = metrics["lm_loss"] + a.q_halt_weight * metrics["q_halt_loss"]
        if self.model.config.q_continue and a.segments > 1:
            target = self._value_of_going_on(params, after)
            metrics["q_continue_loss"] = jnp.mean(optax.sigmoid_binary_cross_entropy(out.q_continue, target))
            loss += a.q_continue_weight * metrics["q_continue_loss"]
        # Of the puzzles that end in this update: taken where the Q head believes it is right, so biased
        # upwards against held-out puzzles, which all get every segment. Not a number where none ends,
        # in an update or in one of its micro-batches, over which they are averaged.
        counted = after.halted & graded
        ended = {
            "accuracy": share,
            "exact_accuracy": correct,
            "q_halt_accuracy": (out.q_halt >= 0) == correct,
            "segments": after.steps,
        }
        total = jnp.sum(counted)
        metrics |= {name: jnp.sum(jnp.where(counted, x, 0)) / total for name, x in ended.items()}
        return loss, after, metrics | {"ended": total / len(counted)}

    def _value_of_going_on(self, params: Any, slots: Slots) -> jax.Array:
        """Target of q_continue [B]: what the next segment would say of itself, under the same weights."""
        following = jax.lax.stop_gradient(self._think(jax.lax.stop_gradient(params), slots))
        best = jnp.maximum(following.q_halt, following.q_continue)
        last = slots.steps >= self.act.segments
        return jax.nn.sigmoid(jnp.where(last, following.q_halt, best))

    def _judge(self, logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, ...]:
        """Of each sequence: mean cross entropy, all right, share right [B]; and whether anything is asked."""
        labels = labels.astype(jnp.int32)  # of which -1, where nothing is ignored, is none
        asked = labels != self._ignored
        n = jnp.maximum(jnp.sum(asked, axis=-1), 1)
        entropy = LOSSES[self.act.loss](logits, labels)
        right = asked & (jnp.argmax(logits, axis=-1) == labels)
        share = jnp.sum(right, axis=-1) / n
        correct = jnp.all(right == asked, axis=-1)
        return jnp.sum(jnp.where(asked, entropy, 0), axis=-1) / n, correct, share, jnp.any(asked, axis=-1)

    def _last_alone(self, params: Any, batch: Examples, key: jax.Array) -> tuple[jax.Array, tuple]:
        """The seed documents' update (fault F36): all segments of one batch, a loss for the last one alone.

        A puzzle that halts early begins again. Nothing outlives the update. The earlier segments' losses and
        Q targets, which the original computes and throws away, are left out: the gradient is the same.
        """
        fixed = jax.lax.stop_gradient(params)

        def ungraded(slots, key):
            slots = self._refilled(fixed, slots, batch)
            return self._halt(self._think(fixed, slots), slots, key), None

        keys = jax.random.split(key, self.act.segments)
        slots, _ = jax.lax.scan(ungraded, self._empty(fixed, batch), keys[:-1])
        loss, _, metrics = self._graded(params, self._refilled(params, slots, batch), keys[-1])
        return loss, ((), metrics)

    # ------------------------------------------------------------ data

    def _load(self, dry: bool) -> tuple[dataset.PuzzleSet, dataset.PuzzleSet]:
        """Both splits; where a dry run finds no data, one empty puzzle of the config's size."""
        path, c = Path(self.data.path), self.model.config
        if dry and not path.exists():
            told = f"no data at {path}: samples, the table's rows, and steps given in epochs are unknown"
            print(told, file=sys.stderr)
            return (placeholder(c.vocabulary, c.sequence),) * 2
        if not self.data.path or not path.is_dir():
            raise RequestError(
                f'data.path = "{path}": no such folder; python -m hrm_jax.puzzles makes one (see the config)'
            )
        splits = dataset.load(path, "train"), dataset.load(path, "test")
        for split in splits:
            if (split.meta.vocab_size, split.meta.seq_len) != (c.vocabulary, c.sequence):
                raise RequestError(
                    f"{split.folder}/{split.split} has {split.meta.vocab_size} tokens, sequences of "
                    f"{split.meta.seq_len}; model.vocabulary = {c.vocabulary}, model.sequence = {c.sequence}"
                )
        return splits

    def _index(self, key: jax.Array, rows: Rows, step: jax.Array) -> jax.Array:
        """Examples [B] of `step`: in every epoch all groups in a new order, a random puzzle of each.

        An epoch has as many examples of a group as its puzzles have in the mean. The original takes all those
        of one puzzle; here each is that of a puzzle drawn anew.
        """
        order_key, choice_key = jax.random.split(jax.random.fold_in(key, TRAIN_STREAM))
        count = len(rows.group)

        def one(position):
            order = jax.random.fold_in(order_key, position // count)
            unit = rollout.shuffled(order, position % count, count)
            group = rows.group[unit]
            choice = jax.random.fold_in(choice_key, position)
            puzzle = rows.first[group] + jax.random.randint(choice, (), 0, rows.variants[group])
            return rows.starts[puzzle] + rows.number[unit] % rows.counts[puzzle]

        return jax.vmap(one)(step * self._batch_size + jnp.arange(self._batch_size))

    def _draw(self, key: jax.Array, rows: Rows, examples: Examples, step: jax.Array) -> Examples:
        index = self._index(key, rows, step)
        return jax.tree.map(lambda a: a[index], examples)

    def _draw_on_host(self, examples: Examples, step: int) -> Examples:
        """The same examples, of data that the device has no room for."""
        with jax.ensure_compile_time_eval():  # the loop asks for the first batch's shapes under a trace
            index = np.asarray(self._host_index(step))
            chosen = jax.tree.map(lambda a: a[index], examples)
            return sharding.place(chosen, sharding.over_batch(self._mesh))

    # ------------------------------------------------------------ evaluation

    def _evaluate(self, held_out: Examples, real: jax.Array, params: Any) -> dict[str, jax.Array]:
        """All segments from a fresh state for every held-out puzzle [C, B, ...]; means over the `real` ones.

        The loss is the last segment's. `eval/segments` is how many the Q head would have taken.
        """
        limit = self.act.segments

        def chunk(part):
            examples, real = jax.lax.with_sharding_constraint(part, sharding.over_batch(self._mesh))
            if hrm_act.TABLE in params:
                params_ = {**params, hrm_act.TABLE: params[hrm_act.TABLE][examples.puzzle]}
            else:
                params_ = params

            def segment(slots, _):
                out = self._think(params_, slots)
                entropy, correct, share, _ = self._judge(out.logits, slots.examples.labels)
                judged = entropy, correct, share, self._stops(out), (out.q_halt >= 0) == correct
                return slots._replace(state=out.state), jnp.stack([x.astype(jnp.float32) for x in judged])

            slots = self._empty(params_, examples)
            _, judged = jax.lax.scan(segment, slots, length=limit)  # [T, 5, B]
            answers = jax.nn.one_hot(examples.inputs, self.model.config.vocabulary)
            copied = self._judge(answers, examples.labels)[2]
            stopped = 1 + jnp.argmax(judged[:, 3].at[-1].set(1), axis=0)
            return jnp.sum(judged * real, axis=-1), jnp.sum(stopped * real), jnp.sum(copied * real)

        sums = jax.lax.map(chunk, (held_out, real))
        judged, stopped, copied = (jnp.sum(a, axis=0) / jnp.sum(real) for a in sums)
        names = ("loss", "exact", "tokens", "", "q_accuracy")
        results = {f"eval/{name}": judged[-1, i] for i, name in enumerate(names) if name}
        results |= {f"eval/exact_{k}": judged[k - 1, 1] for k in (1, 2, 4, 8) if k < limit}
        return results | {"eval/segments": stopped, "eval/copy": copied}


# ---------------------------------------------------------------- data sets as arrays


def placeholder(vocabulary: int, sequence: int) -> dataset.PuzzleSet:
    """A data set of one puzzle of zeros."""
    meta = dataset.Meta(0, None, 0, vocabulary, sequence, 1, 1, 1.0, ("all",))
    cells, offsets = np.zeros((1, sequence), np.uint8), np.array([0, 1], np.int32)
    return dataset.PuzzleSet("", Path(), "", cells, cells, offsets[:1], offsets, offsets, meta, 1, sequence)


def examples_of(split: dataset.PuzzleSet, count: int | None = None) -> Examples:
    """All examples of a split, or `count` of them, evenly spaced: those of a task stand side by side."""
    arrays = split.inputs, split.labels, split.puzzle_of_example
    if count is None:
        return Examples(*arrays)
    index = np.arange(count) * len(split.inputs) // count
    return Examples(*(array[index] for array in arrays))


def rows_of(split: dataset.PuzzleSet) -> Rows:
    """How to draw from a split."""
    counts, variants = np.diff(split.puzzle_indices), np.diff(split.group_indices)
    first = split.group_indices[:-1]
    shares = np.rint(np.add.reduceat(counts, first) / variants).astype(np.int32)
    shares = np.maximum(shares, 1)
    group = np.repeat(np.arange(len(first), dtype=np.int32), shares)
    number = np.arange(len(group), dtype=np.int32) - np.repeat(np.cumsum(shares) - shares, shares)
    return Rows(split.puzzle_indices[:-1], counts, first, variants, group, number.astype(np.int32))


def chunked(examples: Examples, size: int) -> tuple[Examples, np.ndarray]:
    """Examples [N, ...] as [C, size, ...], the last chunk filled up; which of them are real, [C, size]."""
    count = len(examples.puzzle)
    index = np.arange(-(-count // size) * size).reshape(-1, size)
    return Examples(*(a[index % count] for a in examples)), index < count
