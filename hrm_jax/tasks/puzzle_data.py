"""Batches of a puzzle data set, and its held-out examples: what a split holds, as arrays to draw from.

Axes: B examples of a batch, S cells, N examples of a split, P puzzles, G groups of puzzles, U units of an
epoch.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.puzzles import dataset, kinds
from hrm_jax.training import sharding
from hrm_jax.training.shuffling import in_epochs

Held = TypeVar("Held")  # an array of examples, or a tuple of such


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base_puzzles.py."""

    path: str
    eval_examples: fields.NotNegative
    device_gib: Annotated[float, fields.at_least(0)]

    def __post_init__(self):
        fields.check("data", self)


class Examples(NamedTuple):
    """Puzzles and their answers."""

    inputs: jax.Array  # [B, S] uint8
    labels: jax.Array  # [B, S] uint8
    puzzle: jax.Array  # [B] int32: row of the puzzle embedding


class Index(NamedTuple):
    """Where the examples of a split lie, to draw one of them."""

    starts: jax.Array  # [P] int32: first example of each puzzle
    counts: jax.Array  # [P] int32: its examples
    first: jax.Array  # [G] int32: first puzzle of each group
    variants: jax.Array  # [G] int32: its puzzles
    group: jax.Array  # [U] int32: group of each unit; an epoch is one of each
    number: jax.Array  # [U] int32: which example of a puzzle it stands for


def load(path: str, vocabulary: int, sequence: int) -> tuple[dataset.PuzzleSet, dataset.PuzzleSet]:
    """Both splits of a data-set folder, for a model of this vocabulary and sequence length.

    What is judged, test, is read whole, and every answer checked; train may be larger than memory.
    """
    if not path or not Path(path).is_dir():
        raise RequestError(
            f'data.path = "{path}": no such folder; python -m hrm_jax.puzzles makes one (see the config)'
        )
    splits = dataset.load(Path(path), "train"), kinds.load(Path(path), "test")
    for split in splits:
        if (split.meta.vocab_size, split.meta.seq_len) != (vocabulary, sequence):
            raise RequestError(
                f"{split.folder}/{split.split} has {split.meta.vocab_size} tokens, sequences of "
                f"{split.meta.seq_len}; model.vocabulary = {vocabulary}, model.sequence = {sequence}"
            )
    return splits


def placeholder(vocabulary: int, sequence: int) -> dataset.PuzzleSet:
    """A data set of one puzzle of zeros."""
    meta = dataset.Meta(0, None, 0, vocabulary, sequence, 1, 1, 1.0, ("all",))
    cells, offsets = np.zeros((1, sequence), np.uint8), np.array([0, 1], np.int32)
    return dataset.PuzzleSet("", Path(), "", cells, cells, offsets[:1], offsets, offsets, meta, 1, sequence)


def examples_of(split: dataset.PuzzleSet, count: int | None = None) -> Examples:
    """All examples of a split, or `count` of them, evenly spaced: those of a task follow one another."""
    arrays = split.inputs, split.labels, split.puzzle_of_example
    if count is None:
        return Examples(*arrays)
    index = np.arange(count) * len(split.inputs) // count
    return Examples(*(array[index] for array in arrays))


def index_of(split: dataset.PuzzleSet) -> Index:
    """How to draw from a split."""
    counts, variants = np.diff(split.puzzle_indices), np.diff(split.group_indices)
    first = split.group_indices[:-1]
    shares = np.rint(np.add.reduceat(counts, first) / variants).astype(np.int32)
    shares = np.maximum(shares, 1)
    group = np.repeat(np.arange(len(first), dtype=np.int32), shares)
    number = np.arange(len(group), dtype=np.int32) - np.repeat(np.cumsum(shares) - shares, shares)
    return Index(split.puzzle_indices[:-1], counts, first, variants, group, number.astype(np.int32))


def chunked(examples: Held, size: int) -> tuple[Held, np.ndarray]:
    """Examples [N, ...] as [C, size, ...], the last chunk filled up; which of them are real, [C, size]."""
    count = len(jax.tree.leaves(examples)[0])
    index = np.arange(-(-count // size) * size).reshape(-1, size)
    return jax.tree.map(lambda a: a[index % count], examples), index < count


def choose(key: jax.Array, index: Index, batch_size: int, step: jax.Array) -> jax.Array:
    """Examples [B] of `step`: in every epoch all groups in a new order, a random puzzle of each.

    An epoch has as many examples of a group as its puzzles have in the mean. HRM's code takes all those of
    one puzzle; here each is that of a puzzle drawn anew.
    """
    order_key, choice_key = jax.random.split(key)
    count = len(index.group)

    def one(position):
        unit = in_epochs(order_key, position, count)
        group = index.group[unit]
        choice = jax.random.fold_in(choice_key, position)
        puzzle = index.first[group] + jax.random.randint(choice, (), 0, index.variants[group])
        return index.starts[puzzle] + index.number[unit] % index.counts[puzzle]

    return jax.vmap(one)(step * batch_size + jnp.arange(batch_size))


Draw = Callable[[jax.Array | int], Examples]


def on_device(place: Callable, split: dataset.PuzzleSet, key: jax.Array, batch_size: int, mesh: Mesh) -> Draw:
    """step -> batch, of data that the devices hold, put there by `place`."""

    def draw(key, index, examples, step):
        chosen = choose(key, index, batch_size, step)
        return jax.tree.map(lambda a: a[chosen], examples)

    held = place((index_of(split), examples_of(split)), sharding.replicated(mesh))
    return functools.partial(jax.jit(draw, out_shardings=sharding.over_batch(mesh)), key, *held)


def on_host(split: dataset.PuzzleSet, key: jax.Array, batch_size: int, mesh: Mesh) -> Draw:
    """The same batches, of data that the devices have no room for.

    The host's own device chooses: the accelerator's queue is full of the update under way.
    """
    examples = examples_of(split)
    here = jax.local_devices(backend="cpu")[0]
    key, index = jax.device_put((key, index_of(split)), here)
    choose_here = jax.jit(choose, static_argnums=2)

    def draw(step):
        with jax.ensure_compile_time_eval():  # the loop asks for the first batch's shapes under a trace
            chosen = np.asarray(choose_here(key, index, batch_size, step))
            batch = jax.tree.map(lambda a: a[chosen], examples)
            return sharding.place(batch, sharding.over_batch(mesh))

    return draw
