"""The layered planner against A* with a queue, from its definition, one episode at a time."""

import heapq

import numpy as np
import pytest

from hrm_jax.referee.cells import space_time_astar
from hrm_jax.referee.cells.space_time_astar import plan_sampled, plan_swept
from hrm_jax.worlds.geometry import swept_distance

MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))


def _astar(static, start, goal, last, allowed):
    """Parents of all nodes (r, c, t) popped, in order of popping, and the goal node or None."""

    def h(cell):
        return abs(cell[0] - goal[0]) + abs(cell[1] - goal[1])

    parents, popped = {(*start, 0): None}, []
    queue = [(h(start), 0, (*start, 0))]
    while queue:
        _, g, node = heapq.heappop(queue)
        popped.append(node)
        if node[:2] == goal:
            return parents, popped, node
        if g == last:
            continue
        for move in MOVES:
            cell = (node[0] + move[0], node[1] + move[1])
            inside = min(cell) >= 0 and max(cell) < len(static)
            child = (*cell, g + 1)
            if inside and not static[cell] and child not in parents and allowed(node, cell):
                parents[child] = node
                heapq.heappush(queue, (g + 1 + h(cell), g + 1, child))
    return parents, popped, None


def _path(parents, node):
    cells = []
    while node is not None:
        cells.append(node[:2])
        node = parents[node]
    return cells[::-1]


def _segment_distance(a, b, p, q):
    """Closest approach of a -> b and p -> q, moving together, by the closed form."""
    d0, d1 = (a[0] - p[0], a[1] - p[1]), (b[0] - q[0], b[1] - q[1])
    v = (d1[0] - d0[0], d1[1] - d0[1])
    vv = v[0] * v[0] + v[1] * v[1]
    s = min(max(-(d0[0] * v[0] + d0[1] * v[1]) / vv, 0.0), 1.0) if vv else 0.0
    return np.hypot(d0[0] + s * v[0], d0[1] + s * v[1])


def _reference_swept(static, start, goal, tracks, clearance):
    last = len(tracks) - 1
    points = tracks.tolist()

    def distance(a, b, t):
        pairs = zip(points[t], points[t + 1], strict=True)
        return min((_segment_distance(a, b, p, q) for p, q in pairs), default=np.inf)

    def allowed(node, cell):
        return distance(node[:2], cell, node[2]) >= clearance

    parents, popped, found = _astar(static, start, goal, last, allowed)
    if found is None:
        h = {n: abs(n[0] - goal[0]) + abs(n[1] - goal[1]) for n in popped}
        found = min(popped, key=lambda n: (-n[2], h[n], n[:2]))
    cells = _path(parents, found)
    if found[2] == 0 and start != goal:
        ways = [(start[0] + r, start[1] + c) for r, c in MOVES]
        ways = [w for w in ways if min(w) >= 0 and max(w) < len(static) and not static[w]]
        cells.append(max(ways, key=lambda way: distance(start, way, 0)))  # the first of equals
    return cells


def _reference_sampled(static, start, goal, tracks, radius):
    last = len(tracks)

    def allowed(node, cell):
        gaps = tracks[node[2]] - np.array(cell)
        return not (np.sqrt((gaps**2).sum(axis=1)) < radius).any()

    parents, popped, found = _astar(static, start, goal, last, allowed)
    ends = [n for n in popped if n[2] == last]
    if found is None and ends:  # min keeps the first popped of equals
        found = min(ends, key=lambda n: abs(n[0] - goal[0]) + abs(n[1] - goal[1]))
    return _path(parents, found) if found else [start, start]


def _worlds(generator, n, size, obstacles, moves, kind):
    """`n` random maps [n, R, C], starts, goals [n, 2], and tracks [n, moves + 1, obstacles, 2]."""
    static = generator.random((n, size, size)) < 0.12
    start, goal = generator.integers(0, size, (2, n, 2))
    static[np.arange(n), *start.T] = static[np.arange(n), *goal.T] = False
    first = generator.uniform(-1, size, (n, 1, obstacles, 2))
    if kind == "straight":
        heading = generator.normal(size=(n, 1, obstacles, 2))
        heading *= 0.7 / np.linalg.norm(heading, axis=-1, keepdims=True)
        return static, start, goal, first + heading * np.arange(moves + 1)[:, None, None]
    if kind == "frozen":
        return static, start, goal, np.repeat(np.round(first), moves + 1, axis=1)
    if kind == "whole":
        # Exact ties abound. Steps of 3 would make some that only exact arithmetic can tell (3-4-5).
        steps = generator.integers(-2, 3, (n, moves + 1, obstacles, 2))
        return static, start, goal, np.round(first) + steps.cumsum(axis=1)
    scale = {"erratic": 0.5, "wild": 4.0}[kind]
    tracks = first + scale * generator.normal(size=(n, moves + 1, obstacles, 2)).cumsum(axis=1)
    return static, start, goal, tracks


def _assert_same_plans(plan, reference, static, start, goal, tracks, limit):
    planned = plan(space_time_astar.free_cells(static), start, goal, tracks, limit)
    for e in range(len(start)):
        wanted = reference(static[e], tuple(start[e]), tuple(goal[e]), tracks[e], limit)
        cells = list(map(tuple, planned.cells[e].tolist()))
        assert cells[: len(wanted)] == wanted, f"world {e}"
        assert set(cells[len(wanted) :]) <= {wanted[-1]}


KINDS = ("straight", "frozen", "erratic", "wild", "whole")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "obstacles"), [(3, 1), (5, 3), (8, 6), (11, 4)])
def test_swept_plans_are_those_of_a_queue(kind, size, obstacles):
    generator = np.random.default_rng([size, KINDS.index(kind)])
    static, start, goal, tracks = _worlds(generator, 60, size, obstacles, 9, kind)
    _assert_same_plans(plan_swept, _reference_swept, static, start, goal, tracks, 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "obstacles"), [(3, 1), (5, 3), (8, 6), (11, 4)])
def test_sampled_plans_are_those_of_a_queue(kind, size, obstacles):
    generator = np.random.default_rng([size, KINDS.index(kind), 1])
    static, start, goal, tracks = _worlds(generator, 60, size, obstacles, 9, kind)
    _assert_same_plans(plan_sampled, _reference_sampled, static, start, goal, tracks[:, 1:], 1.0)


@pytest.mark.parametrize("size", [20, 33, 64])
def test_plans_on_full_grids(size):
    """32 columns are the limit of the narrow bit sets, 64 of the wide ones."""
    generator = np.random.default_rng(size)
    static, start, goal, tracks = _worlds(generator, 6, size, 6, 20, "straight")
    goal[:3] = size - 1
    start[1] = goal[1] - [0, 5]
    static[np.arange(6), *goal.T] = static[np.arange(6), *start.T] = False
    _assert_same_plans(plan_swept, _reference_swept, static, start, goal, tracks, 1.0)
    later = tracks[:, 1:20]
    _assert_same_plans(plan_sampled, _reference_sampled, static, start, goal, later, 1.0)


@pytest.mark.parametrize("limit", [0.6, 1.7])
def test_other_clearances(limit):
    generator = np.random.default_rng(7)
    static, start, goal, tracks = _worlds(generator, 60, 8, 3, 9, "erratic")
    _assert_same_plans(plan_swept, _reference_swept, static, start, goal, tracks, limit)
    _assert_same_plans(plan_sampled, _reference_sampled, static, start, goal, tracks[:, 1:], limit)


def test_a_clear_field_is_crossed_right_first():
    """With nothing in the way the parent rule prefers the smaller row: columns before rows."""
    static = np.zeros((1, 5, 5), bool)
    start, goal = np.array([[0, 0]]), np.array([[2, 3]])
    nothing = np.zeros((1, 21, 0, 2))
    plan = plan_swept(space_time_astar.free_cells(static), start, goal, nothing, 1.0)
    assert plan.length[0] == 5
    assert plan.cells[0, :6].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 3], [2, 3]]


def test_no_safe_move_takes_the_widest_berth():
    static = np.zeros((1, 5, 5), bool)
    start, goal = np.array([[2, 2]]), np.array([[4, 4]])
    tracks = np.full((1, 21, 1, 2), 2.0)
    tracks[..., 1] += 0.3  # nearly on the agent, to its right
    plan = plan_swept(space_time_astar.free_cells(static), start, goal, tracks, 1.0)
    assert plan.length[0] == 0
    # Every way begins at distance 0.3; the first of MOVES that comes no nearer is to the left.
    assert plan.cells[0, 1].tolist() == [2, 1]


def test_swept_distance_against_sampling():
    generator = np.random.default_rng(0)
    a, b, p, q = generator.normal(size=(4, 500, 2))
    b[:50], q[:50] = a[:50], p[:50]  # nothing moves
    s = np.linspace(0, 1, 2001)[:, None, None]
    sampled = np.linalg.norm(a + s * (b - a) - (p + s * (q - p)), axis=-1).min(axis=0)
    exact = swept_distance(a - p, b - q)
    assert (exact <= sampled + 1e-12).all()
    np.testing.assert_allclose(exact, sampled, atol=2e-3)


def test_too_wide_a_grid_is_refused():
    with pytest.raises(ValueError, match="65 columns"):
        space_time_astar.free_cells(np.zeros((1, 2, 65), bool))
