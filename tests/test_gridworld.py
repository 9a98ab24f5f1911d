"""The world under jit: layouts, motion, and windows, against counting, scipy and the NumPy world."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.gridworld import drawing, rollout
from hrm_jax.training import sharding
from hrm_jax.training.shuffling import shuffled
from hrm_jax.worlds import motion
from hrm_jax.worlds.motion import Obstacles
from hrm_jax.worlds.world import World, of_config


def _world(**fields):
    return World("test", generator="jax", **fields)


STANDARD = _world()
PUBLISHED = _world(n_static=20, distinct_static=False, connected=False, safe_start=False)
SMALL = _world(size=9, n_static=5, n_obstacles=3, speed=0.6, history=4)
LOOSE = dataclasses.replace(SMALL, connected=False, safe_start=False)  # nothing is redrawn: compiles fast


def _keys(seed, n):
    return jax.random.split(jax.random.key(seed), n)


def _resets(world, n, seed=0):
    @jax.jit
    @jax.vmap
    def draw(key):
        return drawing.draw_static(world, jax.random.split(key)[0]), drawing.reset(world, key)[1]

    static, obstacles = draw(_keys(seed, n))
    return np.asarray(static), np.asarray(obstacles.position), np.asarray(obstacles.velocity)


def _maps(world, cells):
    """The static cells [E, n] as bool [E, R, C], from the meaning of a flat index alone."""
    grid = np.zeros((len(cells), world.size**2), bool)
    np.put_along_axis(grid, cells, cells > 0, axis=1)
    return grid.reshape(-1, world.size, world.size)


def _has_path(grid):
    regions, _ = ndimage.label(~grid)
    return regions[0, 0] == regions[-1, -1]


@pytest.fixture(scope="module")
def standard():
    return _resets(STANDARD, 4000)


@pytest.fixture(scope="module")
def published():
    return _resets(PUBLISHED, 4000)


# ---------------------------------------------------------------- layouts


def test_static_cells_are_as_many_as_asked_and_never_start_or_goal(standard):
    cells = standard[0]
    assert cells.shape == (4000, 12)
    assert (np.diff(cells) > 0).all()
    assert cells.min() == 1 and cells.max() == 398


def test_static_cells_are_uniform(standard):
    counts = np.bincount(standard[0].ravel(), minlength=400)[1:399]
    # A cell that helps to wall off a corner is a trifle rarer; 4,000 worlds cannot show it.
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("connected", [False, True])
def test_every_subset_of_cells_is_equally_likely(connected):
    world = _world(size=4, n_static=3, connected=connected)
    subsets = np.array(list(itertools.combinations(range(1, 15), 3)))
    walkable = np.array([_has_path(m) for m in _maps(world, subsets)])
    assert 0 < (~walkable).sum() < len(subsets)
    draws = np.asarray(jax.jit(jax.vmap(functools.partial(drawing.draw_static, world)))(_keys(1, 40_000)))
    counts = dict(zip(map(tuple, subsets.tolist()), np.zeros(len(subsets), int), strict=True))
    for subset in map(tuple, draws.tolist()):
        counts[subset] += 1
    counts = np.array(list(counts.values()))
    if connected:
        assert (counts[~walkable] == 0).all()
        counts = counts[walkable]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size, n", [(4, 6), (6, 14), (9, 34)])
def test_connectivity_against_flood_fill(size, n):
    world = _world(size=size, n_static=1)
    rng = np.random.default_rng(size)
    cells = np.sort(rng.integers(0, size**2 - 1, (5000, n)))  # 0: a lost draw, no wall
    cells[rng.random(5000) < 0.5, : n // 3] = 0
    cells.sort()
    found = np.asarray(jax.jit(jax.vmap(functools.partial(drawing.is_connected, world)))(jnp.asarray(cells)))
    expected = np.array([_has_path(m) for m in _maps(world, cells)])
    assert 1000 < expected.sum() < 4500
    np.testing.assert_array_equal(found, expected)


def test_standard_worlds_have_a_path_and_occupancy_agrees(standard):
    grids = _maps(STANDARD, standard[0])
    assert all(map(_has_path, grids))
    ours = jax.vmap(functools.partial(drawing.occupancy, STANDARD))(standard[0][:50])
    np.testing.assert_array_equal(ours, grids[:50])


def test_published_draws_have_the_published_statistics(published):
    grids = _maps(PUBLISHED, published[0])
    assert not grids[:, 0, 0].any() and not grids[:, -1, -1].any()
    distinct = grids.sum(axis=(1, 2))
    expected = 398 * (1 - (399 / 400) ** 20)
    assert abs(distinct.mean() - expected) < 4 * distinct.std() / 4000**0.5
    assert abs(distinct.mean() - 19.46) < 0.06
    assert distinct.min() >= 15 and distinct.max() == 20
    counts = grids.sum(axis=0).ravel()[1:399]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert 0 < sum(not _has_path(m) for m in grids) < 40  # 0.4 %
    ours = jax.vmap(functools.partial(drawing.occupancy, PUBLISHED))(published[0][:50])
    np.testing.assert_array_equal(ours, grids[:50])
    count = jax.vmap(functools.partial(drawing.count_free, PUBLISHED))(published[0])
    np.testing.assert_array_equal(
        count, [400 - n for n in (np.diff(published[0], prepend=0) > 0).sum(axis=1)]
    )


@pytest.mark.parametrize("cells", [[0, 0, 3, 4, 9, 14], [1, 2, 3, 4, 5, 6], [0] * 6, [7, 8, 10, 11, 13, 14]])
def test_free_cells_by_rank(cells):
    free = [c for c in range(16) if c not in set(cells) - {0}]
    found = jax.vmap(functools.partial(drawing.free_cell, jnp.array(cells)))(jnp.arange(len(free)))
    assert found.tolist() == free


# ---------------------------------------------------------------- obstacles


@pytest.mark.parametrize("name", ["standard", "published"])
def test_obstacles_start_on_free_cells_with_the_speed_asked_for(name, request):
    static, position, velocity = request.getfixturevalue(name)
    assert position.shape == velocity.shape == (4000, 6, 2)
    cell = position.astype(int)
    assert (position == cell).all() and cell.min() == 0 and cell.max() == 19
    grids = _maps(STANDARD, static)
    assert not grids[np.arange(4000)[:, None], cell[..., 0], cell[..., 1]].any()
    np.testing.assert_allclose(np.linalg.norm(velocity, axis=-1), 0.7, rtol=1e-6)


def test_published_obstacles_are_uniform_in_cell_and_direction(published):
    static, position, velocity = published
    free = ~_maps(PUBLISHED, static).reshape(4000, -1)
    cell = (20 * position[..., 0] + position[..., 1]).astype(int)
    rank = np.take_along_axis(np.cumsum(free, axis=1) - 1, cell, axis=1)
    share = (rank + 0.5) / free.sum(axis=1, keepdims=True)
    assert stats.kstest(share.ravel(), "uniform").pvalue > 1e-3
    angle = np.arctan2(velocity[..., 0], velocity[..., 1]) / (2 * np.pi) + 0.5
    assert stats.kstest(angle.ravel(), "uniform").pvalue > 1e-3
    for a, b in itertools.combinations((share[:, 0], share[:, 1], angle[:, 0], angle[:, 1]), 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / 4000**0.5


def test_the_wall_cuts_a_step_short_and_turns_the_velocity():
    cases = [  # position, velocity, then position and velocity after one step, all by hand
        (5.0, 0.5, 5.5, 0.5),
        (0.25, -0.5, 0.0, 0.5),
        (0.5, -0.5, 0.0, -0.5),  # exactly 0 is inside
        (0.0, -0.5, 0.0, 0.5),
        (19.5, 0.5, 19.99, -0.5),  # exactly 20 is outside
        (19.25, 0.5, 19.75, 0.5),
        (19.75, 0.5, 19.99, -0.5),
        (19.99, -0.5, 19.49, -0.5),  # the first step after a bounce is a full one
    ]
    p, v, p1, v1 = np.array(cases, np.float32).T
    after = motion.step(STANDARD, Obstacles(jnp.stack([p, p[::-1]], -1), jnp.stack([v, v[::-1]], -1)))
    np.testing.assert_allclose(after.position, np.stack([p1, p1[::-1]], -1), rtol=1e-6)
    np.testing.assert_array_equal(after.velocity, np.stack([v1, v1[::-1]], -1))
    near = motion.step(STANDARD, Obstacles(jnp.array([19.745, 5.0]), jnp.array([0.25, 0.5])))
    assert near.velocity.tolist() == [0.25, 0.5]  # 19.995 is still inside


@pytest.mark.parametrize("size", [20, 7])
def test_motion_equals_the_numpy_world(size):
    rng = np.random.default_rng(0)
    position = rng.integers(0, size, (200, 2)).astype(np.float64)
    velocity = rng.integers(-64, 65, (200, 2)) / 64  # exact in float32: both sides see the same bounces
    world = _world(size=size, n_static=0)
    state = Obstacles(jnp.asarray(position, jnp.float32), jnp.asarray(velocity, jnp.float32))
    end, path = jax.jit(functools.partial(motion.roll, world, steps=120, scan=jax.lax.scan))(state)
    for t in range(120):
        position, velocity = motion.bounce(position, velocity, size)
        np.testing.assert_allclose(path[t], position, atol=1e-4)
    np.testing.assert_array_equal(end.velocity, velocity)
    np.testing.assert_array_equal(end.position, path[-1])


def _smallest_distance_to_start(position, velocity, history, size):
    """Over the last history step and the two after it, by dense sampling of the NumPy world's paths."""
    path = [position.astype(np.float64)]
    velocity = velocity.astype(np.float64)
    for _ in range(history + 2):
        moved, velocity = motion.bounce(path[-1], velocity, size)
        path.append(moved)
    along = np.linspace(0, 1, 51)[:, None, None, None]
    ends = np.stack(path[history - 1 :])
    assert len(ends) == 4
    return np.linalg.norm(ends[:-1] + along * (ends[1:] - ends[:-1]), axis=-1).min(axis=(0, 1))


@pytest.mark.parametrize("world", [STANDARD, SMALL], ids=["standard", "small"])
def test_safe_start_rejects_exactly_the_obstacles_that_endanger_the_agent(world, standard):
    n = 1500
    _, position, velocity = (a[:n] for a in standard) if world is STANDARD else _resets(world, n, seed=3)
    nearest = _smallest_distance_to_start(
        position.reshape(-1, 2), velocity.reshape(-1, 2), world.history, world.size
    )
    assert nearest.min() > 2 - 1e-3
    assert nearest.min() < 2.05  # and no more than that
    anything = dataclasses.replace(world, safe_start=False)
    p, v = (a.reshape(-1, 2) for a in _resets(anything, n, seed=4)[1:])
    free = _smallest_distance_to_start(p, v, world.history, world.size) >= 2
    assert 0.001 < 1 - free.mean() < 0.3
    for measure in (
        lambda p, v: p[..., 0],
        lambda p, v: p.sum(-1),
        lambda p, v: np.arctan2(v[..., 0], v[..., 1]),
    ):
        ours = measure(position.reshape(-1, 2), velocity.reshape(-1, 2))
        assert stats.ks_2samp(ours, measure(p[free], v[free])).pvalue > 1e-3


@pytest.mark.parametrize("switches", list(itertools.product([False, True], repeat=3)))
def test_a_world_may_have_no_static_cells_and_one_obstacle(switches):
    distinct, connected, safe = switches
    world = _world(n_static=0, n_obstacles=1, distinct_static=distinct, connected=connected, safe_start=safe)
    static, obstacles = jax.eval_shape(functools.partial(drawing.reset, world), jax.random.key(0))
    assert static.shape == (world.size, world.size) and obstacles.position.shape == (1, 2)


@pytest.mark.parametrize(
    "field, value, shown",
    [
        ("size", 2, "2"),
        ("n_obstacles", 0, "0"),
        ("n_static", -1, "-1"),
        ("n_static", 400, "400"),
        ("speed", 0.0, "0.0"),
        ("speed", 10.0, "10.0"),
    ],
)
def test_an_impossible_world_is_refused_in_one_line(field, value, shown):
    with pytest.raises(RequestError) as error:
        of_config({field: value})
    assert f"{field} = {shown}" in str(error.value) and "\n" not in str(error.value)


# ---------------------------------------------------------------- windows


def _all_windows(positions, history, size):
    """Every window of one episode [steps, N, 2]: history [W, N, T, 2] and target [W, N, 2], W = steps - T."""
    cut = jax.vmap(lambda offset: rollout.window(positions, offset, history, size))
    return cut(jnp.arange(len(positions) - history))


@pytest.fixture(scope="module")
def episodes():
    """1,500 published episodes of 70 steps: [E, 70, 6, 2]."""
    run = jax.jit(jax.vmap(lambda key: rollout.episode(PUBLISHED, key, 70)))
    return np.asarray(run(_keys(7, 1500)), np.float64)


def test_bounces_are_as_frequent_as_measured_on_the_original(episodes):
    moved = np.abs(np.diff(episodes, axis=1))
    assert episodes.min() >= 0 and episodes.max() <= 19.99 + 1e-6
    cruising = np.median(moved, axis=1, keepdims=True)
    assert abs((np.abs(moved - cruising) > 1e-4).mean() - 0.022) < 0.0015


def test_reference_losses_of_the_training_data(episodes):
    histories, targets = jax.vmap(lambda e: _all_windows(e, 20, 20))(jnp.asarray(episodes, jnp.float32))
    assert histories.shape == (1500, 50, 6, 20, 2) and targets.shape == (1500, 50, 6, 2)
    histories, targets = np.asarray(histories, np.float64), np.asarray(targets, np.float64)
    last = histories[..., -1, :] - histories[..., -2, :]
    # docs/worlds.md#reference-losses: 6.01e-4 and 4.73e-5 on 90,000 samples, that is on 300 episodes.
    for prediction, published in ((0.0, 6.01e-4), (last, 4.73e-5)):
        per_episode = ((prediction - targets) ** 2).mean(axis=(1, 2, 3))
        spread = per_episode.std() * math.hypot(1 / 1500**0.5, 1 / 300**0.5)
        assert abs(per_episode.mean() - published) < 3 * spread
        assert spread < 0.05 * published


def test_windows_are_what_the_original_collects(episodes):
    one = episodes[0].astype(np.float32)
    histories, targets = _all_windows(jnp.asarray(one), 10, 20)
    assert histories.shape == (60, 6, 10, 2) and targets.shape == (60, 6, 2)
    for now, j in itertools.product((10, 11, 40, 69), (0, 5)):  # a step with more than H observations
        np.testing.assert_allclose(histories[now - 10, j], one[now - 10 : now, j] / 20, rtol=1e-6)
        np.testing.assert_allclose(targets[now - 10, j], (one[now, j] - one[now - 1, j]) / 20, atol=1e-7)


@pytest.mark.parametrize("world", [SMALL, PUBLISHED], ids=["small", "published"])
def test_a_track_is_a_column_of_its_episode(world):
    key = jax.random.key(11)

    @jax.jit
    def both(numbers):
        return rollout.episode(world, key, 15), jax.vmap(lambda n: rollout.track(world, key, n, 15))(numbers)

    whole, alone = both(jnp.arange(world.n_obstacles))
    np.testing.assert_array_equal(jnp.moveaxis(alone, 0, 1), whole)


@pytest.mark.parametrize("together", [False, True])
def test_fixed_windows_by_id(together):
    key, history, steps = jax.random.key(5), 4, 10
    n, offsets = LOOSE.n_obstacles, steps - history
    cut = jax.jit(lambda i: rollout.fixed_windows(LOOSE, key, i, history, steps, together))
    total = 3 * offsets * (1 if together else n)
    histories, targets = cut(jnp.arange(total))
    play = jax.vmap(lambda e: rollout.episode(LOOSE, jax.random.fold_in(key, e), steps))
    cuts = [_all_windows(e, history, LOOSE.size) for e in jax.jit(play)(jnp.arange(3))]
    members = n if together else 1
    for ours, expected in zip((histories, targets), zip(*cuts, strict=True), strict=True):
        expected = np.concatenate(expected)
        np.testing.assert_allclose(ours, expected.reshape(total, members, *expected.shape[2:]), atol=1e-7)
    backwards = cut(jnp.arange(total)[::-1])  # a window is a function of (key, id), not of its neighbours
    np.testing.assert_array_equal(backwards[0], histories[::-1])
    np.testing.assert_array_equal(backwards[1], targets[::-1])
    assert len(np.unique(np.asarray(histories).reshape(total, -1), axis=0)) == total


def _fresh(world, seed, count, per_episode, history, steps, together=False):
    arguments = (world, jax.random.key(seed), count, per_episode, history, steps, together)
    return jax.tree.map(
        np.asarray, jax.jit(rollout.fresh_windows, static_argnums=(0, 2, 3, 4, 5, 6))(*arguments)
    )


def test_fresh_windows_follow_the_motion_and_use_every_offset():
    n, history, steps, per_episode = LOOSE.n_obstacles, 4, 9, 64
    windows = _fresh(LOOSE, 0, 2 * n * per_episode, per_episode, history, steps)
    assert windows.history.shape == (2 * n * per_episode, 1, history, 2)
    assert windows.target.shape == (2 * n * per_episode, 1, 2)
    np.testing.assert_array_equal(windows.weight, 1)
    following = windows.history[:, :, -1] + windows.target
    path = (
        np.concatenate([windows.history, following[:, :, None]], axis=2)[:, 0] * LOOSE.size
    )  # [G, T + 1, 2]
    path = path.reshape(2, per_episode, n, history + 1, 2)
    assert path.min() >= -1e-5 and path.max() <= LOOSE.size - 0.01 + 1e-5
    for episode, obstacle in itertools.product(range(2), range(n)):
        distinct = np.unique(path[episode, :, obstacle].round(4), axis=0)
        assert len(distinct) == steps - history  # every offset, none beyond
        # Windows of one track chain: all but the last continue in another one, shifted by a step.
        continued = sum(any(np.allclose(a[1:], b[:-1], atol=1e-3) for b in distinct) for a in distinct)
        assert continued == steps - history - 1
    assert not np.allclose(path[0, :, :, 0].min(axis=0), path[1, :, :, 0].min(axis=0))


def test_fresh_groups_are_the_obstacles_of_one_world():
    n = LOOSE.n_obstacles
    together = _fresh(LOOSE, 2, 7, 2, 4, 9, together=True)
    alone = _fresh(LOOSE, 2, 7 * n, 2, 4, 9)
    assert together.history.shape == (7, n, 4, 2) and together.weight.shape == (7,)
    np.testing.assert_array_equal(together.history, alone.history.reshape(7, n, 4, 2))
    np.testing.assert_array_equal(together.target, alone.target.reshape(7, n, 2))


def test_windows_do_not_depend_on_the_devices(meshes):
    def on(mesh):
        layout = sharding.over_batch(mesh)
        return jax.jit(
            lambda key: rollout.fresh_windows(SMALL, key, 24, 2, 4, 9, False), out_shardings=layout
        )

    one, eight = (on(meshes[n])(jax.random.key(9)) for n in (1, 8))
    assert len(eight.history.sharding.device_set) == 8
    jax.tree.map(np.testing.assert_array_equal, one, eight)


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000, 65537])
def test_shuffled_is_a_permutation_that_the_key_names(n):
    shuffle = jax.jit(lambda key, position: shuffled(key, position, n))
    orders = [np.asarray(shuffle(key, jnp.arange(n))) for key in _keys(0, 4)]
    for order in orders:
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n >= 7:
        assert len({tuple(order) for order in orders}) == 4
    if n >= 1000:
        for a, b in itertools.combinations([np.arange(n), *orders], 2):
            assert (a == b).sum() < 12  # as many as chance gives: 1 on average
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / n**0.5
        assert abs(np.corrcoef(orders[0][:-1], orders[0][1:])[0, 1]) < 5 / n**0.5
        key = _keys(0, 4)[0]
        np.testing.assert_array_equal(
            shuffle(key, jnp.arange(n)[n // 2 : n // 2 + 8]), orders[0][n // 2 : n // 2 + 8]
        )


def test_shuffled_sends_a_position_everywhere():
    firsts = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, jnp.arange(3), 50)))(_keys(1, 20_000)))
    for column in firsts.T:
        assert stats.chisquare(np.bincount(column, minlength=50)).pvalue > 1e-4
