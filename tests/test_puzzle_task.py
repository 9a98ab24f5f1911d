"""Adaptive computation: slots, halting, Q targets, losses, draws; the puzzle embedding; killed runs."""

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec
from ml_collections import ConfigDict

from configs import base
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import hrm_act
from hrm_jax.puzzles import dataset
from hrm_jax.tasks import build, puzzle, puzzle_data
from hrm_jax.training import checkpoint, optimizer, sharding, workdir
from hrm_jax.training.experiment import count_steps
from hrm_jax.training.step import initializer, make_update
from hrm_jax.training.task import SparseGradient

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCABULARY, CELLS = 5, 6
STEPS = 40  # of the runs that are killed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Puzzles of 6 cells whose answer is the input with 1 and 2 exchanged: 20 groups, 3 puzzles each."""
    folder = tmp_path_factory.mktemp("puzzles")
    rng = np.random.default_rng(0)
    for split, groups, copies in (("train", 20, 3), ("test", 13, 1)):
        inputs = rng.integers(1, VOCABULARY, (groups, copies, CELLS)).astype(np.uint8)
        labels = np.array([0, 2, 1, 3, 4], np.uint8)[inputs]
        dataset.write_groups(folder, split, "", inputs, labels, VOCABULARY, height=2, width=3)
    return folder


@pytest.fixture(scope="module")
def with_ids(tmp_path_factory):
    """Groups of different size, puzzles with two examples and ids of their own, as ARC's."""
    folder = tmp_path_factory.mktemp("with_ids")
    rng = np.random.default_rng(1)
    puzzles = [2, 1, 3]
    count = sum(puzzles)
    inputs = rng.integers(1, VOCABULARY, (2 * count, CELLS)).astype(np.uint8)
    for split in ("train", "test"):
        dataset.write(
            folder, split, "", inputs, inputs, np.arange(1, count + 1), np.arange(count + 1) * 2,
            np.cumsum([0, *puzzles]), VOCABULARY, height=2, width=3,
            names=["<blank>", *(f"p{i}" for i in range(count))],
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder in HRM's layout, written without our code, and without the keys that are ours."""
    folder = tmp_path_factory.mktemp("original")
    rng = np.random.default_rng(2)
    for split, count in (("train", 30), ("test", 9)):
        (folder / split).mkdir()
        tokens = rng.integers(1, VOCABULARY, (2, count, CELLS)).astype(np.uint8)
        arrays = {
            "inputs": tokens[0],
            "labels": tokens[1],
            "puzzle_identifiers": np.zeros(count, np.int32),
            "puzzle_indices": np.arange(count + 1, dtype=np.int32),
            "group_indices": np.arange(count + 1, dtype=np.int32),
        }
        for name, array in arrays.items():
            np.save(folder / split / f"all__{name}.npy", array)
        described = {
            "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": VOCABULARY,
            "seq_len": CELLS, "num_puzzle_identifiers": 1, "total_groups": count,
            "mean_puzzle_examples": 1.0, "sets": ["all"],
        }  # fmt: skip
        (folder / split / "dataset.json").write_text(json.dumps(described))
    (folder / "identifiers.json").write_text('["<blank>"]')
    return folder


def tiny(folder, **changes):
    c = base.get_config()
    base.puzzle(c, str(folder), VOCABULARY, CELLS)
    c.batch_size = 8
    c.steps = 20
    c.optimizer.learning_rate = 1e-2
    c.optimizer.weight_decay = 0.0
    c.optimizer.warmup_steps = 1
    c.act.segments = 4
    c.act.exploration = 0.0
    small = dict(width=16, heads=2, low_layers=1, high_layers=1, inner_multiple=8, puzzle_width=16)
    c.model.update({**small, "dtype": "float32"})
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        (c[group] if group else c)[field] = value
    return c


def task_of(config, mesh):
    return build(config, mesh).task


def params_of(task, seed=0):
    """Parameters in which nothing is zero, as the Q head and the embedding are at first.

    Small, for larger ones make four segments chaotic: on eight devices, which round otherwise, they would end
    elsewhere.
    """
    shapes = jax.eval_shape(lambda: task.init(jax.random.key(0), jax.eval_shape(task.batch, 0)))[0]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: (0.15 * rng.standard_normal(a.shape)).astype(np.float32), shapes)


def make(config, mesh):
    """Task, first state, jitted step; compiled once for a config."""
    task, init, step = _compiled(config.to_json(), mesh)
    return task, init(), step


@functools.cache
def _compiled(text, mesh):
    config = ConfigDict(json.loads(text))
    experiment = build(config, mesh)
    init, layout = initializer(experiment)
    return experiment.task, init, make_update(experiment, layout)


@pytest.fixture
def mesh(meshes):
    return meshes[1]


def rows_for(params, batch):
    """The parameters as `loss` gets them: rows of the embedding in its place."""
    return {**params, "puzzles": params["puzzles"][batch.puzzle]}


def waiting(task, params, batch):
    """Slots that all wait for a puzzle."""
    return task.waiting(params, batch)


# ---------------------------------------------------------------- slots


def test_the_first_update_fills_every_slot_and_ends_none(folder, mesh):
    task, state, step = make(tiny(folder), mesh)
    assert state.carry.halted.all()
    batch = task.batch(0)
    with jax.debug_nans(True):  # no metric is 0/0
        state, scalars = step(state, batch)
    np.testing.assert_array_equal(state.carry.steps, 1)
    assert not state.carry.halted.any()  # both Q values are -5: a tie
    np.testing.assert_array_equal(state.carry.examples.inputs, batch.inputs)
    assert scalars["ended"] == 0 and np.isinf(scalars["accuracy"])
    assert scalars["q_halt_loss"] == pytest.approx(0.00672, abs=1e-5)


def test_a_slot_whose_state_is_lost_is_filled_anew_and_the_others_go_on(folder, mesh):
    task, state, step = make(tiny(folder), mesh)
    state, _ = step(state, task.batch(0))
    high = state.carry.state.high.at[0, 0, 0].set(jnp.nan)
    params = jax.tree.map(np.asarray, state.params)
    state = state.replace(carry=state.carry._replace(state=state.carry.state._replace(high=high)))
    state, scalars = step(state, task.batch(1))
    assert scalars["bad_steps"] == 1 and not np.isfinite(scalars["loss"])
    jax.tree.map(np.testing.assert_array_equal, params, jax.tree.map(np.asarray, state.params))
    assert state.carry.halted.tolist() == [True] + [False] * (len(state.carry.halted) - 1)
    assert all(np.isfinite(np.asarray(a, np.float32)).all() for a in state.carry.state)
    state, scalars = step(state, task.batch(2))
    assert scalars["bad_steps"] == 0 and np.isfinite(scalars["loss"])


def test_one_segment_alone_ends_at_once_and_has_no_q_continue(folder, mesh):
    task = task_of(tiny(folder, act__segments=1), mesh)
    assert halting(task, [-9.0, 9.0], [9.0, -9.0], [1, 1]).all()
    batch = jax.eval_shape(task.batch, 0)
    params, carry = jax.eval_shape(task.init, jax.random.key(0), batch)
    params["puzzles"] = jax.ShapeDtypeStruct((8, 16), np.float32)
    metrics = jax.eval_shape(task.loss, params, carry, batch, keys(8))[1][1]
    assert "q_halt_loss" in metrics and "q_continue_loss" not in metrics


def test_a_slot_keeps_its_puzzle_until_it_ends_and_then_takes_the_fresh_one(folder, mesh):
    task, state, step = make(tiny(folder), mesh)
    ended = 0
    for i in range(10):
        before, fresh = jax.tree.map(np.array, state.carry), task.batch(i)
        state, _ = step(state, fresh)
        done = before.halted
        expected = np.where(done[:, None], fresh.inputs, before.examples.inputs)
        np.testing.assert_array_equal(state.carry.examples.inputs, expected)
        np.testing.assert_array_equal(state.carry.steps, np.where(done, 1, before.steps + 1))
        assert (state.carry.halted[np.asarray(state.carry.steps) == 4]).all()
        ended += done.sum()
    assert 2 * 8 < ended < 10 * 8 and state.carry.steps.max() <= 4


def test_refilled_slots_begin_from_the_start_and_the_others_go_on(folder, mesh):
    task = task_of(tiny(folder), mesh)
    params = params_of(task)
    slots = waiting(task, params, task.batch(0))
    begun = jax.tree.map(lambda a: a + 1, slots.state)
    halted = jnp.arange(8) % 2 == 0
    mixed = task.refilled(
        params, slots._replace(state=begun, steps=slots.steps + 3, halted=halted), task.batch(1)
    )
    start = hrm_act.initialize(task.model, params, 8)
    for before, after, fresh in zip(begun, mixed.state, start, strict=True):
        np.testing.assert_array_equal(after[::2], fresh[::2])
        np.testing.assert_array_equal(after[1::2], before[1::2])
    np.testing.assert_array_equal(mixed.steps, np.where(halted, 0, 3))


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def halting(task, q_halt, q_continue, steps, seed=0):
    count = len(steps)
    state = hrm_act.State(jnp.zeros((count, 1, 1)), jnp.zeros((count, 1, 1)))
    out = hrm_act.Output(state, None, jnp.asarray(q_halt), jnp.asarray(q_continue))
    slots = puzzle.Slots(None, None, jnp.asarray(steps) - 1, jnp.zeros(count, bool))
    return np.asarray(task.halt(out, slots, keys(count, seed)).halted)


def test_who_halts(folder, mesh):
    task = task_of(tiny(folder, act__exploration=0.0), mesh)
    halted = halting(task, [1.0, 0.0, 0.0, -9.0], [0.0, 0.0, 1.0, 9.0], [1, 1, 1, 4])
    np.testing.assert_array_equal(halted, [True, False, False, True])  # strictly above; and at the limit
    alone = task_of(tiny(folder, act__exploration=0.0, model__q_continue=False), mesh)
    halted = halting(alone, [0.5, -0.5, 0.0], [9.0, -9.0, -9.0], [1, 1, 1])
    np.testing.assert_array_equal(halted, [True, False, False])


def test_exploration_blocks_an_early_end_as_often_as_it_should(folder, mesh):
    """At step t of T with probability p * (T - t) / (T - 1), and never at the last one."""
    task, count = task_of(tiny(folder, act__exploration=0.4, act__segments=16), mesh), 20_000
    for step in (1, 5, 12, 16):
        blocked = 1 - halting(task, np.ones(count), np.zeros(count), np.full(count, step), seed=step).mean()
        assert blocked == pytest.approx(0.4 * (16 - step) / 15, abs=0.012), step


@pytest.mark.parametrize(("stagger", "ends"), [(False, [0, 0, 0, 8]), (True, [2, 2, 2, 2])])
def test_staggered_slots_end_one_after_another(folder, mesh, stagger, ends):
    task = task_of(tiny(folder, act__stagger=stagger), mesh)
    batch = task.batch(0)
    params = rows_for(params_of(task), batch)
    slots = task.staggered(task.waiting(params, batch))
    out = hrm_act.Output(slots.state, None, jnp.full(8, -9.0), jnp.full(8, 9.0))  # none is ever solved
    found = []
    for _ in range(12):
        slots = task.halt(out, task.refilled(params, slots, batch), keys(8))
        found.append(int(slots.halted.sum()))
        assert (slots.steps >= 1).all() and (slots.steps <= 4).all()
    assert found == 3 * ends


def test_no_puzzle_ends_before_the_least_number_of_segments(folder, mesh):
    task = task_of(tiny(folder, act__exploration=0.0, act__least=3), mesh)
    halted = halting(task, np.ones(4), np.zeros(4), np.arange(1, 5))
    np.testing.assert_array_equal(halted, [False, False, True, True])
    beyond = task_of(tiny(folder, act__exploration=0.0, act__least=9), mesh)  # then all get the most
    np.testing.assert_array_equal(halting(beyond, np.ones(4), np.zeros(4), np.arange(1, 5)), [0, 0, 0, 1])


# ---------------------------------------------------------------- losses


def test_the_loss_is_the_formula_and_its_q_target_passes_no_gradient(folder, mesh):
    task = task_of(tiny(folder), mesh)
    batch = task.batch(3)
    params = rows_for(params_of(task), batch)

    def ours(params):
        loss, (after, metrics) = task.loss(params, waiting(task, params, batch), batch, keys(8, 5))
        return loss, (after, metrics)

    def by_hand(params, target):
        start = hrm_act.initialize(task.model, params, 8)
        apply = functools.partial(task.model.apply, {"params": params}, batch.inputs, params["puzzles"])
        out = apply(start)
        s = jnp.where(out.logits >= 0, out.logits + 1, 1 / (1 - jnp.minimum(out.logits, 0)))
        chosen = jnp.take_along_axis(s, batch.labels[..., None].astype(int), axis=-1)[..., 0]
        lm = jnp.mean(-jnp.log(chosen / s.sum(-1)))
        correct = (out.logits.argmax(-1) == batch.labels).all(-1)
        following = apply(out.state)
        value = jax.nn.sigmoid(jnp.maximum(following.q_halt, following.q_continue))
        target = value if target is None else target
        bce = optax.sigmoid_binary_cross_entropy
        q = jnp.mean(bce(out.q_halt, correct)) + jnp.mean(bce(out.q_continue, target))
        return lm + 0.5 * q, value

    (loss, (after, metrics)), got = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    expected, target = jax.jit(functools.partial(by_hand, target=None))(params)
    held = jax.jit(jax.grad(by_hand, has_aux=True))(params, target)[0]
    assert loss == pytest.approx(float(expected), rel=1e-5)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(held), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    assert all(not np.any(x) for x in jax.tree.leaves(got["initial"]))
    assert metrics["lm_loss"] > 0 and after.steps.tolist() == [1] * 8


def test_the_target_at_the_limit_is_the_q_of_halting(folder, mesh):
    task = task_of(tiny(folder), mesh)
    batch = task.batch(0)
    params = rows_for(params_of(task), batch)
    slots = waiting(task, params, batch)
    following = jax.jit(task.run_segment)(params, slots)
    higher = jnp.maximum(following.q_halt, following.q_continue)
    value_of = jax.jit(task.q_continue_target)
    for steps, value in ((3, higher), (4, following.q_halt)):
        target = value_of(params, slots._replace(steps=jnp.full(8, steps)))
        np.testing.assert_allclose(target, jax.nn.sigmoid(value), rtol=1e-5)
    assert (higher > following.q_halt).any()


def test_the_embedding_s_gradient_is_summed_in_float32():
    """In bfloat16 a sum of a hundred thousand ones is 256."""
    fields = dict(vocabulary=VOCABULARY, sequence=1_000, width=8, heads=1, puzzle_width=0, prefix=0)
    config = hrm_act.HRMACTConfig(**fields, dtype="bfloat16")
    inputs = jnp.ones((100, 1_000), jnp.int32)
    embed = {"tokens": jnp.ones((VOCABULARY, 8))}
    total = jax.grad(lambda e: jnp.sum(hrm_act.encode(config, e, inputs, None).astype(jnp.float32)))(embed)
    np.testing.assert_allclose(total["tokens"][1], 1e5 * 8**0.5, rtol=0.01)
    np.testing.assert_array_equal(total["tokens"][2], 0)


def test_ignored_labels_count_nowhere(folder, mesh):
    task = task_of(tiny(folder), mesh)
    logits = jax.random.normal(jax.random.key(0), (3, CELLS, VOCABULARY))
    labels = jnp.argmax(logits, axis=-1).at[0, 2].set(0).at[1].set(0)  # 0 is ignored: one cell; all cells
    entropy, correct, share, graded = task.grade(logits, labels)
    full, *_ = task.grade(logits, labels.at[0, 2].set(1))
    assert correct.tolist() == [True] * 3 and share.tolist() == pytest.approx([1, 0, 1])
    assert graded.tolist() == [True, False, True] and entropy[1] == 0 and entropy[0] != full[0]


def test_the_last_segment_alone_leaves_q_halt_without_a_gradient(folder, mesh):
    """The seed document's run: all segments, one loss, no q_halt term, nothing outlives the update."""
    config = tiny(folder, act__supervision="last", act__q_halt_weight=0.0, act__q_continue_weight=0.1)
    task = task_of(config, mesh)
    batch = task.batch(0)
    params = rows_for(params_of(task), batch)
    q = {"kernel": np.zeros((16, 2), np.float32), "bias": np.array([-1, 0], np.float32)}
    params["q"] = q  # then no slot halts early
    loss = jax.jit(lambda params: task.loss(params, (), batch, keys(8)))
    _, (carry, metrics) = loss(params)
    gradient = jax.jit(jax.grad(lambda params: loss(params)[0]))(params)
    assert carry == () and not np.any(gradient["q"]["kernel"][:, 0]) and gradient["q"]["bias"][0] == 0
    assert np.any(gradient["q"]["kernel"][:, 1])

    @jax.jit
    def last_loss(params):
        state = hrm_act.initialize(task.model, params, 8)
        for _ in range(4):
            out = task.model.apply({"params": params}, batch.inputs, params["puzzles"], state)
            state = out.state
        return jnp.mean(task.grade(out.logits, batch.labels)[0])

    assert metrics["lm_loss"] == pytest.approx(float(last_loss(params)), rel=1e-4)


# ---------------------------------------------------------------- draws


def test_an_epoch_is_every_group_once_and_any_of_its_puzzles(folder, mesh):
    task = task_of(tiny(folder, batch_size=20), mesh)
    split = dataset.load(folder, "train")
    of = {split.inputs[i].tobytes(): i for i in range(60)}
    seen = [[of[np.asarray(row).tobytes()] for row in task.batch(step).inputs] for step in range(6)]
    for epoch in seen:
        assert sorted(i // 3 for i in epoch) == list(range(20))
    assert len({i for epoch in seen for i in epoch}) > 45 and seen[0] != seen[1]


def test_all_examples_of_a_puzzle_belong_to_an_epoch_and_bring_its_id(with_ids, mesh):
    task = task_of(tiny(with_ids, batch_size=6), mesh)
    split = dataset.load(with_ids, "train")
    of = {split.inputs[i].tobytes(): i for i in range(12)}
    group_of = np.repeat([0, 0, 1, 2, 2, 2], 2)
    assert task.samples_per_epoch == 6
    for step in range(5):
        batch = task.batch(step)
        drawn = [of[np.asarray(row).tobytes()] for row in batch.inputs]
        assert sorted((group_of[i], i % 2) for i in drawn) == [(g, k) for g in range(3) for k in range(2)]
        np.testing.assert_array_equal(batch.puzzle, split.puzzle_of_example[drawn])


def test_the_host_draws_what_the_device_draws_on_any_number_of_devices(folder, meshes):
    tasks = [
        task_of(tiny(folder, data__device_gib=gib), meshes[n]) for gib, n in ((8.0, 1), (0.0, 1), (0.0, 8))
    ]
    for step in (0, 7):
        first, *others = (task.batch(step) for task in tasks)
        for other in others:
            for a, b in zip(first, other, strict=True):
                np.testing.assert_array_equal(a, b)
    assert len(others[-1].inputs.sharding.device_set) == 8


def test_data_too_large_for_the_device_make_the_same_first_state(folder, mesh):
    """The loop asks for shapes under a trace, where the host must still draw."""
    layouts = []
    for gib in (8.0, 0.0):
        layouts.append(initializer(build(tiny(folder, data__device_gib=gib), mesh))[1])
    assert jax.tree.map(lambda a: (a.shape, a.dtype), layouts[0]) == jax.tree.map(
        lambda a: (a.shape, a.dtype), layouts[1]
    )


def test_held_out_examples_are_taken_evenly(with_ids, mesh):
    """The first ones of ARC's would be augmentations of a few tasks."""
    test = dataset.load(with_ids, "test")
    some = puzzle_data.examples_of(test, 5)
    np.testing.assert_array_equal(some.inputs, test.inputs[[0, 2, 4, 7, 9]])
    np.testing.assert_array_equal(puzzle_data.examples_of(test, 12).puzzle, test.puzzle_of_example)


@pytest.mark.parametrize(
    "epochs, batch, steps",
    [(20_000, 768, 26_041), (20_000, 384, 52_083), (50_000, 768, 65_104), (60_000, 768, 78_125)],
)
def test_the_arithmetic_of_steps(epochs, batch, steps):
    class Thousand(puzzle.Puzzle):
        samples_per_epoch = 1_000.0

        def __init__(self):
            """No data."""

    c = base.get_config()
    c.steps, c.epochs, c.batch_size = 0, epochs, batch
    assert count_steps(c, Thousand()) == steps


# ---------------------------------------------------------------- the puzzle embedding


def test_sign_sgd_adds_up_equal_rows_and_moves_no_other():
    embedding = jnp.arange(12.0).reshape(6, 2)
    index = jnp.array([4, 1, 4, 2])
    gradients = jnp.array([[1.0, -3.0], [0.0, 2.0], [-4.0, 1.0], [0.0, 0.0]])
    got = np.asarray(optimizer.sign_sgd(embedding, SparseGradient(index, gradients), 0.1, 0.5))
    expected = np.array(embedding)
    for row, total in ((4, [-3.0, -2.0]), (1, [0.0, 2.0]), (2, [0.0, 0.0])):
        expected[row] = expected[row] * (1 - 0.05) - 0.1 * np.sign(total)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(got[[0, 3, 5]], np.asarray(embedding)[[0, 3, 5]])
    broken = SparseGradient(index, gradients.at[0, 0].set(jnp.nan))
    kept = optimizer.sign_sgd(embedding, broken, 0.1, 0.5)
    np.testing.assert_array_equal(kept, embedding)


def test_an_update_moves_the_rows_that_it_read_and_nothing_fixed(with_ids, mesh):
    config = tiny(with_ids, batch_size=2, ema_decay=0.9)
    task, state, step = make(config, mesh)
    batch = task.batch(0)
    before = jax.tree.map(np.array, state.params)
    state, _ = step(state, batch)
    moved = np.flatnonzero(np.any(np.asarray(state.params["puzzles"]) != before["puzzles"], axis=1))
    assert set(moved) == set(np.asarray(batch.puzzle).tolist())
    np.testing.assert_allclose(np.abs(np.asarray(state.params["puzzles"])[moved]), 1e-4, rtol=1e-5)
    for name in ("high", "low"):
        np.testing.assert_array_equal(state.params["initial"][name], before["initial"][name])
    assert "puzzles" not in state.ema_params and "initial" not in state.ema_params
    assert state.averaged["puzzles"] is state.params["puzzles"]
    slots = jax.tree.leaves(state.opt_state)
    assert not any(leaf.shape == before["puzzles"].shape for leaf in slots)


def test_a_million_rows_are_never_swept(with_ids, mesh):
    """No arithmetic of an update has the embedding's size: a gather reads it and a scatter writes it."""
    config = tiny(with_ids)
    experiment = build(config, mesh)
    experiment.task.identifiers = 1_000_000
    _, layout = initializer(experiment)
    step = make_update(experiment, layout)
    batch = jax.eval_shape(experiment.task.batch, 0)
    touching = {
        equation.primitive.name
        for equation in equations(jax.make_jaxpr(step)(layout, batch).jaxpr)
        if any(getattr(v.aval, "shape", ()) == (1_000_000, 16) for v in equation.outvars)
    }
    assert touching == {"scatter"}


def equations(jaxpr):
    """All equations but those that hold others, in order."""
    for equation in jaxpr.eqns:
        inner = [
            getattr(item, "jaxpr", item)
            for value in equation.params.values()
            for item in (value if isinstance(value, tuple | list) else (value,))
            if hasattr(item, "eqns") or hasattr(item, "jaxpr")
        ]
        for jaxpr_ in inner:
            yield from equations(jaxpr_)
        if not inner:
            yield equation


def test_adam_atan2_is_the_vector_of_the_package():
    tx = optax.chain(
        optimizer.scale_by_adam_atan2(0.9, 0.95),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(0.01),
    )
    p = jnp.float32(1.0)
    state = tx.init(p)
    for gradient, expected in ((0.3, 0.9890331347508838), (-0.1, 0.9840089593343795)):
        update, state = tx.update(jnp.float32(gradient), state, p)
        p = p + update
        assert float(p) == pytest.approx(expected, abs=2e-7)
    zero = optimizer.scale_by_adam_atan2(0.9, 0.95)
    assert zero.update(jnp.float32(0), zero.init(p))[0] == 0  # atan2(0, 0)


def test_the_schedule_is_the_originals():
    schedule = optimizer.warmup_cosine(26_041, 2_000, 1e-4, 0.1)
    for step, value in ((1, 5e-8), (1_999, 9.995e-5), (14_000, 5.512e-5), (26_041, 1e-5)):
        assert float(schedule(step - 1)) == pytest.approx(value, rel=2e-4)
    constant = optimizer.warmup_cosine(26_041, 2_000, 1e-4, 1.0)
    assert float(constant(20_000)) == pytest.approx(1e-4, rel=1e-6)


# ---------------------------------------------------------------- evaluation


def test_evaluation_asks_every_example_once_for_all_segments(folder, meshes):
    """13 puzzles in chunks of 8: what fills up the second chunk counts nowhere."""
    results = {}
    for n, mesh in meshes.items():
        task = task_of(tiny(folder), mesh)
        params = params_of(task)
        results[n] = {name: float(value) for name, value in task.evaluate(params).items()}
    test = dataset.load(folder, "test")
    run = jax.jit(functools.partial(hrm_act.run_segments, task.model, segments=4))
    answers, q = run(params, test.inputs.astype(int), np.zeros(13, int))
    right = np.asarray(answers) == test.labels
    expected = {f"eval/exact_{k}": right[k - 1].all(-1).mean() for k in (1, 2)}
    expected |= {"eval/exact": right[-1].all(-1).mean(), "eval/tokens": right[-1].mean()}
    expected["eval/copy"] = (test.inputs == test.labels).mean()
    stops = np.array(q[..., 0] > q[..., 1])
    stops[-1] = True
    expected["eval/segments"] = (1 + stops.argmax(axis=0)).mean()
    for got in results.values():
        assert {name: got[name] for name in expected} == pytest.approx(expected, rel=1e-5)
        assert got.keys() - expected.keys() == {"eval/loss", "eval/q_accuracy"}
    assert results[1] == pytest.approx(results[8], rel=1e-5)


def test_it_learns_what_is_known(folder, mesh):
    """The exchange of two tokens is learned to the last cell, and the Q head knows that it is right."""
    task, state, step = make(tiny(folder), mesh)
    for i in range(250):
        state, _ = step(state, task.batch(i))
    got = task.evaluate(state.averaged)
    assert got["eval/exact"] == 1 and got["eval/copy"] < 0.8
    assert got["eval/q_accuracy"] == 1 and got["eval/segments"] < 2


# ---------------------------------------------------------------- runs


def test_one_and_eight_devices_agree(folder, mesh, monkeypatch):
    """The eight share the batch, and pairs of them share every parameter."""
    monkeypatch.setattr(sharding, "SMALLEST_SHARDED", 1)
    pairs = jax.make_mesh((4, 2), sharding.BATCH, axis_types=(AxisType.Auto,) * 2)
    runs = {}
    for n, devices in ((1, mesh), (8, pairs)):
        task, state, step = make(tiny(folder), devices)
        losses = []
        for i in range(6):
            state, scalars = step(state, task.batch(i))
            losses.append(float(scalars["loss"]))
        if n == 8:
            assert state.params["low"]["up_kernel"].sharding.spec == PartitionSpec(None, None, "fsdp")
        runs[n] = losses, np.asarray(state.carry.steps), np.asarray(state.carry.state.high)
    assert runs[1][0] == pytest.approx(runs[8][0], rel=1e-5)
    np.testing.assert_array_equal(runs[1][1], runs[8][1])
    np.testing.assert_allclose(runs[1][2], runs[8][2], atol=1e-4)


def test_micro_batches_are_the_batch(folder, mesh):
    """Gradients are means over all slots; of the embedding, every row read."""
    after = {}
    for parts in (1, 2):
        config = tiny(folder, optimizer__accumulate=parts)
        task, state, step = make(config, mesh)
        for i in range(3):
            state, _ = step(state, task.batch(i))
        after[parts] = state
    for a, b in zip(jax.tree.leaves(after[1]), jax.tree.leaves(after[2]), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=2e-5)


def test_a_checkpoint_holds_the_carry(folder, tmp_path, meshes):
    """Saved between segments, restored on eight devices: the same to the last bit."""
    config = tiny(folder, model__dtype="bfloat16")
    _, state, _ = make(config, meshes[1])
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda a: a + rng.integers(0, 2, a.shape).astype(a.dtype), state)
    checkpoints = checkpoint.Checkpoints(tmp_path, 1, config.to_dict())
    checkpoints.save(6, state, None)
    checkpoints.close()
    _, layout = initializer(build(config, meshes[8]))
    step, restored = checkpoint.restore_newest(tmp_path, layout, print)
    assert step == 6
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert restored.carry.state.high.dtype == jnp.bfloat16
    assert len(restored.carry.steps.sharding.device_set) == 8


def command(folder, workdir, cache):
    fields = {
        "data.path": folder, "batch_size": 8, "steps": STEPS, "log_every": 1, "eval_every": 20,
        "checkpoint.every": 3, "compile_cache": cache, "act.segments": 4, "model.vocabulary": VOCABULARY,
        "model.sequence": CELLS, "model.width": 16, "model.heads": 2, "model.puzzle_width": 16,
        "ema_decay": 0.9,
    }  # fmt: skip
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    run = [sys.executable, "-m", "hrm_jax.train", "--config", "configs/act_sudoku4.py", *words]
    return {
        "args": [*run, "--workdir", str(workdir)],
        "env": {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
        "cwd": ROOT,
    }


def records(workdir):
    """{step: loss}; a line that is being written is left out."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return {r["step"]: r["loss"] for r in whole if "loss" in r}


def test_killed_at_a_random_step_a_run_resumes_to_the_last_bit(original, tmp_path):
    """On a folder of the original tools; carry, embedding and average included."""
    straight, killed, cache = (tmp_path / name for name in ("straight", "killed", "cache"))
    subprocess.run(**command(original, straight, cache), check=True, capture_output=True, timeout=300)
    kill_in_training(command(original, killed, cache), killed, random.Random(0).randrange(4, 25))
    done = subprocess.run(**command(original, killed, cache), check=True, capture_output=True, timeout=300)
    assert b"resumed at step" in done.stdout
    assert records(straight) == records(killed) and max(records(killed)) == STEPS
    trees = [checkpoint.restore_params(w, averaged=a)[1] for w in (straight, killed) for a in (True, False)]
    leaves = [jax.tree.leaves(tree) for tree in trees]
    for a, b in zip(leaves[0] + leaves[1], leaves[2] + leaves[3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert {*trees[0]} == {"embed", "head", "initial", "low", "puzzles", "q"}
    assert any(not np.array_equal(a, b) for a, b in zip(leaves[0], leaves[1], strict=True))
    config, digest = workdir.read_config(killed), dataset.load(original, "train").digest
    assert config["identifiers"] == digest == puzzle.Puzzle.describe(config)["identifiers"]
    other = {**config, "identifiers": dataset.digest(["<blank>", "other"])}
    with pytest.raises(RequestError, match=f"with another config: identifiers .{digest} there, "):
        workdir.begun(killed, other)  # its data set was made anew since, with other puzzles


def kill_in_training(started, workdir, step):
    """Start a run, and kill it once it has written `step` and saved anything, before it ends by itself."""
    process = subprocess.Popen(**started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while process.poll() is None and not (step in records(workdir) and saved(workdir)):
        assert time.monotonic() < deadline, "the run does not come so far"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended by itself"
    assert step <= max(records(workdir)) < STEPS and 0 < max(saved(workdir)) < STEPS


def saved(workdir):
    return [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]


# ---------------------------------------------------------------- wrong requests


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model__vocabulary": 6}, "has 5 tokens, sequences of 6; model.vocabulary = 6"),
        ({"model__sequence": 7}, "model.sequence = 7"),
        ({"data__path": "nowhere"}, "no such folder"),
        ({"data__path": ""}, "no such folder"),
        ({"act__segments": 0}, "act.segments = 0: at least 1"),
        ({"act__least": 0}, "act.least = 0: at least 1"),
        ({"act__exploration": 1.5}, "act.exploration = 1.5: 0 to 1"),
        ({"act__supervision": "some"}, 'act.supervision = "some": one of every, last'),
        ({"act__loss": "mse"}, 'act.loss = "mse": one of stablemax, softmax'),
        ({"model__prefix": 0}, "do not hold model.puzzle_width"),
        ({"model__attention": "cudnn"}, "needs model.dtype"),
        ({"model__attention": "cudnn", "model__dtype": "bfloat16"}, "needs an NVIDIA GPU"),
        ({"model__grad": "none"}, "one of one_step, full_last"),
    ],
)
def test_wrong_configs_are_one_line(folder, mesh, changes, words):
    with pytest.raises(RequestError, match=words):
        task_of(tiny(folder, **changes), mesh)


def test_a_dry_run_needs_no_data(mesh):
    experiment = build(tiny("nowhere"), mesh, dry=True)
    assert jax.eval_shape(experiment.task.batch, 0).inputs.shape == (8, CELLS) and experiment.steps == 20
