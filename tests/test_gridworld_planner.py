"""The planner and the trivial predictors under jit against their NumPy twins."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import planner
from hrm_jax.referee.cells import space_time_astar
from hrm_jax.worlds.baselines import BASELINES
from hrm_jax.worlds.features import Observation
from hrm_jax.worlds.world import World

try:
    enable_x64 = jax.enable_x64
except AttributeError:  # jax < 0.8
    from jax.experimental import enable_x64

PLAN = jax.jit(planner.plan)
# What conftest.py turns off. Only optimised code fuses a * b + c into one rounding.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
PLAN_OPTIMISED = jax.jit(planner.plan, compiler_options=OPTIMISED)

MOVES_PLANNED = 10
KINDS = ("straight", "crowded", "frozen", "whole", "quarters", "walls", "sliding", "wild")
EXACT_KINDS = ("frozen", "whole", "quarters")  # positions that float32 holds exactly


def _tracks(generator, n, size, obstacles, kind):
    """Obstacle positions [n, T + 1, obstacles, 2]; many of them touch cells at distance 1.0 exactly."""
    shape, time = (n, 1, obstacles, 2), np.arange(MOVES_PLANNED + 1)[:, None, None]
    first = generator.uniform(-1, size, shape)
    heading = generator.normal(size=shape)
    heading *= 0.7 / np.linalg.norm(heading, axis=-1, keepdims=True)
    along = np.where(generator.random((*shape[:3], 1)) < 0.5, [0.0, 0.7], [-0.7, 0.0])
    if kind == "straight":
        return first + heading * time
    if kind == "crowded":
        return first * 0.4 + heading * time
    if kind == "frozen":
        return np.round(first) + 0 * time
    if kind == "whole":
        return np.round(first) + generator.integers(-2, 3, shape) * time
    if kind == "quarters":
        return np.round(4 * first) / 4 + generator.integers(-3, 4, shape) / 4 * time
    if kind == "walls":  # along row or column 0.0, or the other end of the world
        wall = np.where(generator.random((*shape[:3], 1)) < 0.7, 0.0, size - 0.01)
        return np.where(along == 0, wall, np.clip(first + along * time, 0, size - 0.01))
    if kind == "sliding":
        return np.where(along == 0, np.round(first), first) + along * time
    return first + 4 * generator.normal(size=(n, MOVES_PLANNED + 1, obstacles, 2)).cumsum(axis=1)


def _worlds(seed, n, size, obstacles, kind):
    """Static cells [n, R, C], starts and goals [n, 2], and tracks."""
    generator = np.random.default_rng([seed, size, obstacles, KINDS.index(kind)])
    static = generator.random((n, size, size)) < 0.12
    start, goal = generator.integers(0, size, (2, n, 2))
    static[np.arange(n), *start.T] = static[np.arange(n), *goal.T] = False
    return static, start, goal, _tracks(generator, n, size, obstacles, kind)


def _numpy_plan(static, start, goal, tracks, clearance=1.0):
    return space_time_astar.plan_swept(space_time_astar.free_cells(static), start, goal, tracks, clearance)


def _jax_plan(static, start, goal, tracks, dtype, clearance=1.0, plan=PLAN):
    with enable_x64(dtype == np.float64):
        free = planner.free_cells(jnp.asarray(static))
        tracks = jnp.asarray(tracks, dtype)
        planned = plan(free, jnp.asarray(start), jnp.asarray(goal), tracks, clearance)
        assert planned.cells.dtype == planned.length.dtype == jnp.int32
        return jax.tree.map(np.asarray, planned)


def _assert_same(planned, wanted):
    np.testing.assert_array_equal(planned.length, wanted.length)
    np.testing.assert_array_equal(planned.cells, wanted.cells)


@pytest.mark.parametrize("kind", KINDS)
def test_float64_plans_are_those_of_numpy(kind):
    stuck = 0
    for seed in range(2):
        world = _worlds(seed, 250, 12, 8, kind)
        wanted = _numpy_plan(*world)
        _assert_same(_jax_plan(*world, np.float64), wanted)
        stuck += (wanted.length == 0).sum()
    assert stuck > 10  # the least bad move was asked for


@pytest.mark.parametrize("clearance", [0.6, 1.7])
def test_other_clearances(clearance):
    for kind in ("straight", "whole"):
        world = _worlds(2, 250, 12, 8, kind)
        _assert_same(_jax_plan(*world, np.float64, clearance), _numpy_plan(*world, clearance))


@pytest.mark.parametrize("kind", ["straight", "walls"])
def test_wide_maps_take_64_bits(kind):
    static, start, goal, tracks = _worlds(0, 40, 64, 6, kind)
    start[:20] = np.clip(goal[:20] + [-2, 5], 0, 63)  # the goal within the horizon, or at the edge
    static[np.arange(40), *start.T] = False
    world = static, start, goal, tracks
    _assert_same(_jax_plan(*world, np.float64), _numpy_plan(*world))
    with enable_x64(True):
        assert planner.free_cells(jnp.asarray(static)).dtype == jnp.uint64


def test_a_full_word_of_columns():
    static, start, goal, tracks = _worlds(0, 40, 32, 6, "straight")
    goal[:20] = 31
    start[:20] = goal[:20] - [2, 3]
    static[np.arange(40), *start.T] = static[np.arange(40), *goal.T] = False
    world = static, start, goal, tracks
    assert planner.free_cells(jnp.asarray(static)).dtype == jnp.uint32
    _assert_same(_jax_plan(*world, np.float64), _numpy_plan(*world))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_in_the_way(dtype):
    """N = 0: the blind planner; also where start and goal are the same."""
    static, start, goal, tracks = _worlds(0, 250, 12, 0, "straight")
    goal[0] = start[0]
    world = static, start, goal, tracks
    _assert_same(_jax_plan(*world, dtype), _numpy_plan(*world))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_plans_differ_by_rounding_only(kind):
    world = _worlds(3, 250, 12, 8, kind)
    planned, wanted = _jax_plan(*world, np.float32), _numpy_plan(*world)
    if kind in EXACT_KINDS:
        _assert_same(planned, wanted)
    assert (planned.cells[:, 1] == wanted.cells[:, 1]).all(axis=1).mean() >= 0.995


@pytest.mark.parametrize(
    ("kind", "obstacles", "seed"), [("whole", 20, 1), ("whole", 20, 5), ("walls", 8, 7), ("sliding", 20, 3)]
)
def test_optimised_code_rounds_as_numpy_does(kind, obstacles, seed):
    """Worlds in which a product that is added unrounded (geometry.rounded) changes a plan."""
    world = _worlds(seed, 250, 12, obstacles, kind)
    wanted = _numpy_plan(*world)
    _assert_same(_jax_plan(*world, np.float64, plan=PLAN_OPTIMISED), wanted)
    if kind in EXACT_KINDS:
        _assert_same(_jax_plan(*world, np.float32, plan=PLAN_OPTIMISED), wanted)


def _corridor():
    """Row 1 of a 12x12 map, from end to end."""
    static = np.ones((1, 12, 12), bool)
    static[:, 1] = False
    return static, np.array([[1, 0]]), np.array([[1, 9]])


def _flip(static, start, goal, tracks):
    return static.swapaxes(1, 2), start[:, ::-1], goal[:, ::-1], tracks[..., ::-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("plan", [PLAN, PLAN_OPTIMISED], ids=["plain", "optimised"])
@pytest.mark.parametrize("flipped", [False, True], ids=["row", "column"])
def test_a_distance_of_one_is_far_enough(dtype, plan, flipped):
    tracks = np.zeros((3, MOVES_PLANNED + 1, 1, 2))
    # Along row 0.0, at exactly one row's distance: never in the way.
    tracks[0, :, 0, 1] = (0.7 * np.arange(MOVES_PLANNED + 1)).astype(np.float32)
    # The same a hair lower: in the way.
    tracks[1] = tracks[0] + [np.float32(1e-6), 0]
    # Ahead in the corridor, still: the cell before it can be had.
    tracks[2] = [1, 5]
    world = (*(np.repeat(x, 3, axis=0) for x in _corridor()), tracks)
    world = _flip(*world) if flipped else world
    planned = _jax_plan(*world, dtype, plan=plan)
    _assert_same(planned, _numpy_plan(*world))
    assert planned.length[0] == 9
    assert planned.length[1] != 9
    assert planned.cells[2].max() == 4


def test_memory_is_bounded():
    shapes = ((21, 1000), jnp.uint32), ((1000, 2), int), ((1000, 2), int), ((1000, 21, 30, 2), jnp.float32)
    arguments = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    compiled = jax.jit(planner.plan, compiler_options=OPTIMISED).lower(*arguments, 1.0).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100e6


def test_too_wide_a_grid_is_refused():
    with pytest.raises(RequestError, match="65 columns"):
        planner.free_cells(jnp.zeros((1, 2, 65), bool))
    with pytest.raises(RequestError, match="33 columns; more than 32 need jax_enable_x64"):
        planner.free_cells(jnp.zeros((1, 2, 33), bool))


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_those_of_numpy(name):
    world = World("any", noise=0.1)
    generator = np.random.default_rng(0)
    history = generator.uniform(0, world.size, (50, 1, 6, 2)) + generator.normal(0, 0.4, (50, 9, 6, 2))
    observed = generator.random(history.shape[:3]) < 0.8
    seen = Observation(history, observed, history[:, :, 0], np.zeros((50, 20, 20), bool))
    wanted = BASELINES[name](seen, 15, world=world)
    for dtype, tolerance in ((np.float64, 0), (np.float32, 1e-4)):
        with enable_x64(dtype == np.float64):
            jitted = functools.partial(BASELINES[name], horizon=15, world=world, scan=jax.lax.scan)
            predict = jax.jit(jitted, compiler_options=OPTIMISED)
            predicted = predict(
                Observation(*map(jnp.asarray, seen))._replace(history=jnp.asarray(history, dtype))
            )
            assert predicted.dtype == dtype
            np.testing.assert_allclose(predicted, wanted, rtol=0.1 * tolerance, atol=tolerance)
