"""Training windows a second: the jitted world against a plain NumPy loop, on this CPU.

    python benchmarks/world.py [--episodes 256] [--plain 4] [--rounds 5]

Both make every window of 70-step episodes with a history of 20: 50 windows x 6 obstacles. The plain loop is
written as the originals are described (docs/worlds.md): an environment object, one Python step
per obstacle, a history of copies, a sample per obstacle and step. `standard` is the corrected world (distinct
static cells, a path, a safe start), `published` checks nothing. Contenders take turns; a line gives median
windows a second of each and their ratio.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time
from collections import deque

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
HISTORY, STEPS = 20, 70
PUBLISHED = {"n_static": 20, "distinct_static": False, "connected": False, "safe_start": False}


def main() -> None:
    """Time both worlds in both ways."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--episodes", type=int, default=256, help="in one call of the jitted world")
    parser.add_argument("--plain", type=int, default=4, help="episodes of one turn of the plain loop")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; the median counts")
    options = parser.parse_args()

    from hrm_jax.console import memory as allocator

    allocator.keep_freed_memory()
    print(f"{options.episodes} episodes a call, load average {os.getloadavg()[0]:.2f}")
    print(f"{'world':12}{'jitted windows/s':>18}{'plain windows/s':>17}{'ratio':>8}")
    for name, fields in (("standard", {}), ("published", PUBLISHED)):
        jitted, plain = compare(fields, options)
        print(f"{name:12}{jitted:18,.0f}{plain:17,.0f}{jitted / plain:8.0f}", flush=True)


def compare(fields: dict, options: argparse.Namespace) -> tuple[float, float]:
    """Windows a second of the jitted world and of the plain loop."""
    draw = jitted_world(fields, options.episodes)
    draw(0)  # compiles
    rates = {"jitted": [], "plain": []}
    seed = 0
    for _ in range(options.rounds):
        windows, began = 0, time.perf_counter()
        while time.perf_counter() - began < 0.2:
            seed += 1
            windows += draw(seed)
        rates["jitted"].append(windows / (time.perf_counter() - began))
        began = time.perf_counter()
        windows = sum(plain_episode(seed * 1_000 + e, not fields) for e in range(options.plain))
        rates["plain"].append(windows / (time.perf_counter() - began))
    return statistics.median(rates["jitted"]), statistics.median(rates["plain"])


def jitted_world(fields: dict, episodes: int):
    """A function of a seed that makes all windows of `episodes` fresh episodes and returns their number."""
    import jax
    import jax.numpy as jnp

    from hrm_jax.gridworld import rollout
    from hrm_jax.worlds.world import World

    config = World("measured", history=HISTORY, generator="jax", **fields)

    def all_windows(positions, history, size):
        """Of one episode [steps, N, 2]: history [W, N, T, 2] and target [W, N, 2], W = steps - T."""
        tracks = jnp.moveaxis(positions, 0, 1) / size  # [N, steps, 2]
        count = positions.shape[0] - history
        histories = jnp.stack([tracks[:, w : w + history] for w in range(count)])
        targets = tracks[:, history:] - tracks[:, history - 1 : -1]
        return histories, jnp.moveaxis(targets, 0, 1)

    @jax.jit
    def windows(seed):
        def one(index):
            positions = rollout.episode(config, jax.random.fold_in(jax.random.key(seed), index), STEPS)
            return all_windows(positions, HISTORY, config.size)

        return jax.vmap(one)(jnp.arange(episodes))

    def draw(seed: int) -> int:
        _, targets = jax.block_until_ready(windows(seed))
        return targets.size // 2

    return draw


# ---------------------------------------------------------------- the plain loop


class PlainWorld:
    """The originals' environment: 20x20 cells, six obstacles at 0.7 cells a step that bounce."""

    size, n_obstacles, speed = 20, 6, 0.7

    def __init__(self, seed: int, corrected: bool):
        self.rng = np.random.RandomState(seed)
        self.corrected = corrected
        while True:
            self.static = np.zeros((self.size, self.size), bool)
            self._place_static()
            if not corrected or self._has_path():
                break
        self.obstacles = [self._place_obstacle() for _ in range(self.n_obstacles)]

    def _place_static(self) -> None:
        corners = ((0, 0), (self.size - 1, self.size - 1))
        left = 12 if self.corrected else self.size
        while left:
            cell = tuple(self.rng.randint(0, self.size, 2))
            if self.corrected and (cell in corners or self.static[cell]):
                continue
            if cell not in corners:
                self.static[cell] = True
            left -= 1

    def _has_path(self) -> bool:
        seen, queue = {(0, 0)}, deque([(0, 0)])
        while queue:
            r, c = queue.popleft()
            if (r, c) == (self.size - 1, self.size - 1):
                return True
            for cell in ((r + 1, c), (r, c + 1), (r - 1, c), (r, c - 1)):
                inside = 0 <= cell[0] < self.size and 0 <= cell[1] < self.size
                if inside and cell not in seen and not self.static[cell]:
                    seen.add(cell)
                    queue.append(cell)
        return False

    def _place_obstacle(self) -> dict[str, np.ndarray]:
        while True:
            cell = self.rng.randint(0, self.size, 2)
            if self.static[tuple(cell)]:
                continue
            direction = self.rng.randn(2)
            velocity = direction / np.linalg.norm(direction) * self.speed
            obstacle = {"position": cell.astype(float), "velocity": velocity}
            if not self.corrected or self._is_safe(obstacle):
                return obstacle

    def _is_safe(self, obstacle: dict[str, np.ndarray]) -> bool:
        ghost = {name: array.copy() for name, array in obstacle.items()}
        for step in range(HISTORY + 2):
            before = ghost["position"].copy()
            self._move(ghost)
            if step >= HISTORY - 1 and distance_to_origin(before, ghost["position"]) < 2.0:
                return False
        return True

    def _move(self, obstacle: dict[str, np.ndarray]) -> None:
        obstacle["position"] = obstacle["position"] + obstacle["velocity"]
        for axis in range(2):
            if obstacle["position"][axis] < 0 or obstacle["position"][axis] >= self.size:
                obstacle["velocity"][axis] *= -1
                obstacle["position"][axis] = np.clip(obstacle["position"][axis], 0, self.size - 0.01)

    def step(self) -> np.ndarray:
        """Move all; copies of the positions, [N, 2]."""
        for obstacle in self.obstacles:
            self._move(obstacle)
        return np.array([obstacle["position"].copy() for obstacle in self.obstacles])


def distance_to_origin(a: np.ndarray, b: np.ndarray) -> float:
    """Smallest distance from (0, 0) to the segment a-b."""
    along = b - a
    fraction = np.clip(-(a @ along) / max(along @ along, 1e-12), 0, 1)
    return float(np.linalg.norm(a + fraction * along))


def plain_episode(seed: int, corrected: bool) -> int:
    """Collect the samples of one episode; their number."""
    world, history, inputs, targets = PlainWorld(seed, corrected), [], [], []
    for _ in range(STEPS):
        observed = world.step()
        if len(history) >= HISTORY:
            recent = history[-HISTORY:]
            for j in range(world.n_obstacles):
                inputs.append(np.array([past[j] for past in recent]) / world.size)
                targets.append((observed[j] - history[-1][j]) / world.size)
        history.append(observed.copy())
    inputs, targets = np.array(inputs, np.float32), np.array(targets, np.float32)
    return len(targets)


if __name__ == "__main__":
    main()
