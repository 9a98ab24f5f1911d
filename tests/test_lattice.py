"""Lattice mazes: their geometry, generators, files and walkers."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.worlds import lattice


def some_mazes(count, size, share=0.55, seed=0):
    """Masks of mazes whose edges are open by chance, with cycles and cut-off cells; starts and goals."""
    rng = np.random.default_rng(seed)
    down, right = rng.random((2, count, size, size)) < share
    down[:, -1], right[:, :, -1] = False, False
    start, goal = rng.integers(size * size, size=(2, count))
    return lattice.masks(np, down, right), start, goal


def searched(open, goal):
    """Moves to the goal by a breadth-first search, cell by cell."""
    size = lattice.side(open)
    found, queue = {goal: 0}, collections.deque([goal])
    while queue:
        cell = queue.popleft()
        for move, shift in enumerate(lattice.shifts(size)):
            if open[cell] >> move & 1 and cell + shift not in found:
                found[cell + shift] = found[cell] + 1
                queue.append(cell + shift)
    return [found.get(cell, lattice.UNREACHABLE) for cell in range(size * size)]


def walked(open, moves, start, goal):
    """Moves of a policy until the goal, one by one; the sentinel if it never is there within 4 N."""
    size, here = lattice.side(open), start
    for step in range(4 * len(open) + 1):
        if here == goal:
            return step
        if not 0 <= moves[here] < 4 or not open[here] >> moves[here] & 1:
            return lattice.UNREACHABLE
        here += lattice.shifts(size)[moves[here]]
    return lattice.UNREACHABLE


@pytest.mark.parametrize("size", [2, 5, 8])
def test_distances_labels_and_roll_outs_are_those_of_plain_loops(size):
    open, start, goal = some_mazes(60, size)
    found = lattice.distances(np, open, goal)
    assert found.tolist() == [searched(*maze) for maze in zip(open, goal.tolist(), strict=True)]
    labels = lattice.labels(np, open, found)
    assert ((labels == 0) == (found == lattice.UNREACHABLE)).all() and (labels[found == 0] == 5).all()
    arrived = lattice.roll_out(np, open, labels.astype(int) - 1, start, goal)
    assert (arrived == found[np.arange(60), start]).all()  # by the canonical moves, the shortest way
    best = lattice.optimal_moves(np, open, found)
    assert (best.argmax(-1) + 1)[best.any(-1)].tolist() == labels[best.any(-1)].tolist()
    rng = np.random.default_rng(1)
    wrong = rng.random(open.shape) < 0.1
    moves = np.where(wrong, rng.integers(-1, 5, open.shape), labels.astype(int) - 1)
    expected = [walked(*maze) for maze in zip(open, moves, start.tolist(), goal.tolist(), strict=True)]
    assert lattice.roll_out(np, open, moves, start, goal).tolist() == expected
    assert len(set(expected)) > 2


def test_the_geometry_is_the_same_under_jit():
    open, start, goal = some_mazes(40, 6)

    @jax.jit
    def under_jit(open, start, goal):
        found = lattice.distances(jnp, open, goal, jax.lax.while_loop)
        labels = lattice.labels(jnp, open, found)
        shown = lattice.tokens(jnp, open, start, goal)
        return found, labels, shown, lattice.roll_out(jnp, open, labels.astype(int) - 1, start, goal)

    found = lattice.distances(np, open, goal)
    labels, shown = lattice.labels(np, open, found), lattice.tokens(np, open, start, goal)
    expected = found, labels, shown, lattice.roll_out(np, open, labels.astype(int) - 1, start, goal)
    for ours, theirs in zip(under_jit(open, start, goal), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype or theirs.dtype == np.int64


def test_tokens_say_edges_start_and_goal():
    open, start, goal = some_mazes(40, 6)
    goal = np.where(start == goal, (goal + 1) % 36, goal)
    shown = lattice.tokens(np, open, start, goal)
    assert shown.min() >= 1 and shown.max() < lattice.VOCABULARY
    assert (lattice.masks_of(shown) == open).all() and (lattice.masks_of(0 * shown) == 0).all()
    assert (lattice.marked(shown, lattice.STARTS) == start).all()
    assert (lattice.marked(shown, lattice.GOALS) == goal).all()
    down, right = lattice.connections(np, open).swapaxes(0, 1)
    assert (lattice.masks(np, down, right) == open).all()
    assert not down[:, -1].any() and not right[:, :, -1].any()
