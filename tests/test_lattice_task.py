"""The task of lattice mazes: what is asked, what a wrong move costs, when to halt, and that it is learned."""

import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base, poh
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models.poh import Output
from hrm_jax.tasks import build
from hrm_jax.tasks import lattice as tasks
from hrm_jax.training import step
from hrm_jax.worlds import lattice


def _config(**fields):
    c = base.get_config()
    base.lattice(c, 4)
    c.batch_size, c.data.eval_mazes, c.data.generator = 8, 12, "percolation"  # quick to compile
    c.model.update(dict(width=16, hidden=16, passes=3))
    c.update_from_flattened_dict(fields)
    return c


@pytest.fixture(scope="module")
def task(meshes):
    return tasks.Lattice(_config().to_dict(), meshes[1])


def _fields(task, **fields):
    """The task with other fields of its objective."""
    changed = copy.copy(task)
    changed.objective = type(task.objective)(**{**vars(task.objective), **fields})
    return changed


def test_batches_are_functions_of_seed_and_step_on_any_number_of_devices(task, meshes):
    spread = tasks.Lattice(_config().to_dict(), meshes[8])
    first = task.batch(3)
    jax.tree.map(np.testing.assert_array_equal, first, task.batch(3))
    jax.tree.map(np.testing.assert_array_equal, first, spread.batch(3))
    assert first.tokens.shape == (8, 16) and (first.tokens != task.batch(4).tokens).any()


def test_so_many_mazes_are_shuffled_epoch_by_epoch(meshes):
    task = tasks.Lattice(_config(**{"data.mazes": 12}).to_dict(), meshes[1])
    seen = np.concatenate([task.batch(step).tokens for step in range(6)])  # four epochs
    epochs = [{maze.tobytes() for maze in epoch} for epoch in seen.reshape(4, 12, 16)]
    assert all(epoch == epochs[0] and len(epoch) == 12 for epoch in epochs)
    assert (seen[:12] != seen[12:24]).any() and task.samples_per_epoch == 12


def test_ways_grow_by_the_curriculum(meshes):
    fields = {"data.first_shortest": 2, "data.shortest": 8, "data.curriculum": 10, "batch_size": 64,
              "data.generator": "dfs"}  # fmt: skip
    task = tasks.Lattice(_config(**fields).to_dict(), meshes[1])
    shortest = []
    for number in (0, 5, 10, 99):
        tokens = np.asarray(task.batch(number).tokens)
        start, goal = (lattice.marked(tokens, mark) for mark in (lattice.STARTS, lattice.GOALS))
        moves = lattice.distances(np, lattice.masks_of(tokens), goal)
        shortest.append(1 + np.take_along_axis(moves, start[:, None], 1).min())
    assert shortest[0] == 2 and shortest[1] >= 5 and min(shortest[2:]) >= 8


def test_the_temperature_falls_in_a_line(meshes):
    fields = {"objective.first_temperature": 2.0, "objective.annealing": 10}
    task = tasks.Lattice(_config(**fields).to_dict(), meshes[1])
    assert [float(task.batch(n).temperature[0]) for n in (0, 5, 10, 50)] == [2.0, 1.5, 1.0, 1.0]


def test_optimal_moves_cost_nothing_and_walls_are_never_asked(task):
    tokens = task.batch(0).tokens
    questions = task.questions(tokens)
    sure = jnp.where(questions.optimal, 50.0, 0.0)
    walled = jnp.where(questions.open, sure, tasks.poh.CLOSED)[None]
    entropy, right = task.grade(walled, questions)
    assert right.all() and float(jnp.max(entropy)) < 1e-6
    np.testing.assert_allclose(jnp.sum(questions.weight, axis=1), 1, rtol=1e-5)
    entropy, right = task.grade(-walled, questions)
    assert not right.any()


def test_without_walls_only_the_edge_of_the_board_forbids_moves(task):  # faults P1 and P2
    tokens = task.batch(0).tokens
    free = _fields(task, walls=False).questions(tokens).open
    assert (
        free.sum(axis=-1).reshape(8, 4, 4)
        == np.array([[2, 3, 3, 2], [3, 4, 4, 3], [3, 4, 4, 3], [2, 3, 3, 2]])
    ).all()
    assert (free >= task.questions(tokens).open).all()


def test_label_smoothing_changes_the_loss(task):  # fault F14
    questions = task.questions(task.batch(0).tokens)
    logits = jax.random.normal(jax.random.key(0), (1, 8, 16, 4))
    plain, smooth = (_fields(task, smoothing=s).grade(logits, questions)[0] for s in (0.0, 0.1))
    assert (jnp.abs(plain - smooth) > 1e-3).sum() > 4  # a cell with one way out has nothing to smooth


def test_cells_of_the_path_weigh_by_position_as_in_the_original(task):
    tokens = np.asarray(task.batch(0).tokens)
    weight = np.asarray(_fields(task, cells="path").questions(tokens).weight)
    start, goal = (lattice.marked(tokens, mark) for mark in (lattice.STARTS, lattice.GOALS))
    distances = lattice.distances(np, lattice.masks_of(tokens), goal)
    moves = lattice.labels(np, lattice.masks_of(tokens), distances).astype(int) - 1
    expected, paths = np.zeros(weight.shape), []
    for b in range(len(tokens)):
        paths.append([start[b]])
        while paths[b][-1] != goal[b]:
            here = paths[b][-1]
            paths[b].append(here + lattice.shifts(4)[moves[b, here]])
    longest = max(map(len, paths)) - 1
    for i in range(longest):
        having = [b for b in range(len(paths)) if len(paths[b]) > i + 1]
        for b in having:
            expected[b, paths[b][i]] = len(paths) / len(having) / longest
    np.testing.assert_allclose(weight, expected, rtol=1e-5)


def test_micro_batches_weigh_cells_of_the_path_as_their_whole_batch_does(meshes):
    config = _config(**{"objective.cells": "path", "model.passes": 1})
    task = build(config, meshes[1]).task
    batch = task.batch(0)
    params, _ = task.init(jax.random.key(0), batch)
    loss = jax.jit(
        lambda batch: task.loss(params, (), batch, None)[0],
        compiler_options={"xla_backend_optimization_level": 0},
    )
    cut = [jax.tree.map(lambda a, i=i: a[i::4], batch) for i in range(4)]
    assert float(np.mean([loss(part) for part in cut])) == pytest.approx(float(loss(batch)), rel=1e-5)


def test_stopping_is_a_distribution_over_passes_of_each_maze():
    halt = jax.random.normal(jax.random.key(0), (4, 3))
    chance = tasks.stopping(halt)
    stop = np.asarray(jax.nn.sigmoid(halt))
    expected = [stop[t] * np.prod(1 - stop[:t], axis=0) for t in range(3)] + [np.prod(1 - stop[:3], axis=0)]
    np.testing.assert_allclose(chance, expected, rtol=1e-5)
    # Credit goes to the maze that earned it, by no average over the batch.
    costs = jnp.zeros((4, 3)).at[0, 1].set(1.0)
    gradient = jax.grad(lambda h: jnp.mean(jnp.sum(tasks.stopping(h) * costs, axis=0)))(halt)
    assert (gradient[:, [0, 2]] == 0).all() and gradient[0, 1] > 0


def test_q_values_are_taught_what_the_next_pass_will_say():
    halt, more = jnp.array([[0.0], [3.0]]), jnp.array([[1.0], [-1.0]])
    out = Output(None, halt, more, None, None)
    right = jnp.array([[False], [True]])
    bce = optax.sigmoid_binary_cross_entropy
    target = jax.nn.sigmoid(jnp.array([[3.0], [3.0]]))
    expected = jnp.mean(bce(halt, right) + bce(more, target))
    assert float(tasks.q_loss(out, right)) == pytest.approx(float(expected), rel=1e-6)


OTHERS = ("hard,t2,q", "top_k,gate", "soft,token,last")


@pytest.mark.parametrize("changes", ["soft,act", *(pytest.param(c, marks=pytest.mark.slow) for c in OTHERS)])
def test_every_objective_reaches_every_parameter(changes, meshes):
    c = poh.get_config(f"6,{changes}")
    c.data.eval_mazes, c.batch_size, c.data.generator = 8, 8, "percolation"
    c.objective.entropy_weight = 0.1
    c.model.update(dict(width=16, hidden=16, passes=min(c.model.passes, 3), depth=min(c.model.depth, 2)))
    if c.model.period > 1:
        c.model.period = 2
    task = tasks.Lattice(c.to_dict(), meshes[1])
    params, carry = task.init(jax.random.key(0), task.batch(0))
    gradient = jax.jit(jax.grad(task.loss, has_aux=True))(
        params, carry, task.batch(0), jax.random.split(jax.random.key(1), 8)
    )[0]
    still = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
             if not np.asarray(leaf).any()]  # fmt: skip
    assert not [name for name in still if "slow" not in name or changes != "hard,t2,q"], still


def test_it_learns_small_mazes(meshes):
    """Known answer: 3x3 mazes are learned, nearly all of them."""
    fields = {"steps": 150, "optimizer.learning_rate": 5e-3, "batch_size": 16, "data.eval_mazes": 200,
              "data.generator": "dfs", "data.size": 3, "model.sequence": 9, "model.passes": 4,
              "model.width": 32}  # fmt: skip
    c = _config(**fields)
    built = build(c, meshes[1])
    init, layout = step.initializer(built)
    update, state = step.make_update(built, layout), init()
    before = built.task.evaluate(state.averaged)
    for number in range(c.steps):
        state, _ = update(state, built.task.batch(number))
    assert update._cache_size() == 1  # no update compiled the program again
    after = {name: float(value) for name, value in built.task.evaluate(state.averaged).items()}
    assert float(before["eval/optimal"]) < 0.5 and after["eval/optimal"] > 0.9
    assert after["eval/right"] <= after["eval/optimal"] and math.isfinite(after["eval/loss"])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"data.generator": "prim"}, "data.generator"),
        ({"data.size": 5}, "model.sequence = 16: data.size = 5 has 25 cells"),
        ({"data.shortest": 16}, "data.shortest = 16 cells: fewer than one of 1,000 mazes of percolation"),
        ({"data.path": "nowhere"}, "no such folder"),
        ({"objective.cells": "some"}, "objective.cells"),
        ({"objective.smoothing": 1.0}, "objective.smoothing"),
        ({"objective.first_temperature": 0.0}, "objective.first_temperature"),
    ],
)
def test_wrong_fields_are_one_line(fields, complaint, meshes):
    with pytest.raises(RequestError, match=complaint):
        build(_config(**fields), meshes[1])


def test_epochs_of_fresh_mazes_are_refused_with_the_fields_that_fix_them(meshes):
    with pytest.raises(RequestError, match="data.mazes or data.path"):
        build(_config(epochs=3, steps=0), meshes[1])


@pytest.mark.parametrize("choice", ["7,soft", "6,sofd", "6,soft,t3"])
def test_wrong_choices_are_one_line(choice):
    with pytest.raises(ValueError, match="one of"):
        poh.get_config(choice)
