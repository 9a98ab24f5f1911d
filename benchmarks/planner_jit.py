"""The jitted planner against the NumPy one: seconds a call, the same episodes for both.

python benchmarks/planner_jit.py [--episodes 1000]

20x20 maps, 12 static cells, horizon 20, a clear prediction of obstacles that go straight on. Medians of
seven calls, compilation not counted. `same` is the share of plans that are NumPy's, cell by cell.
"""

import argparse
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from hrm_jax.gridworld import planner  # noqa: E402
from hrm_jax.referee.cells import space_time_astar  # noqa: E402

SIZE, STATIC, HORIZON, CLEARANCE = 20, 12, 20, 1.0
OBSTACLES = (6, 30)
CALLS = 7
HEADER = """\
| obstacles | planner | seconds | episodes/s | temporaries, MB | same |
|---|---|---|---|---|---|"""


def draw(episodes: int, obstacles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Static cells [A, R, C], starts and goals [A, 2], and tracks [A, T + 1, N, 2]."""
    generator = np.random.default_rng(obstacles)
    static = np.zeros((episodes, SIZE**2), bool)
    cells = generator.random((episodes, SIZE**2 - 2)).argsort(axis=1)[:, :STATIC] + 1
    np.put_along_axis(static, cells, True, axis=1)
    start = np.zeros((episodes, 2), np.int64)
    angle = generator.uniform(0, 2 * np.pi, (episodes, 1, obstacles, 1))
    first = generator.uniform(0, SIZE, (episodes, 1, obstacles, 2))
    steps = 0.7 * np.arange(HORIZON + 1)[:, None, None]
    tracks = first + steps * np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    return static.reshape(episodes, SIZE, SIZE), start, np.full_like(start, SIZE - 1), tracks


def median_time(call: Callable[[], object]) -> float:
    """Median seconds of CALLS calls, after one that is not counted."""
    seconds = []
    for _ in range(CALLS + 1):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def row(episodes: int, obstacles: int, name: str, seconds: float, memory: str, same: str) -> str:
    """One line of the table."""
    return f"| {obstacles} | {name} | {seconds:.3f} | {episodes / seconds:.0f} | {memory} | {same} |"


def compare(episodes: int, obstacles: int) -> None:
    """Print the lines for so many obstacles."""
    static, start, goal, tracks = draw(episodes, obstacles)
    free = space_time_astar.free_cells(static)

    def numpy_plan():
        return space_time_astar.plan_swept(free, start, goal, tracks, CLEARANCE)

    wanted = numpy_plan().cells
    print(row(episodes, obstacles, "NumPy", median_time(numpy_plan), "", ""))
    for dtype in (jnp.float32, jnp.float64):
        jax.config.update("jax_enable_x64", dtype == jnp.float64)
        inputs = planner.free_cells(jnp.asarray(static)), *map(jnp.asarray, (start, goal))
        inputs = (*inputs, jnp.asarray(tracks, dtype), CLEARANCE)
        compiled = jax.jit(planner.plan).lower(*inputs).compile()
        seconds = median_time(lambda call=compiled, args=inputs: jax.block_until_ready(call(*args)))
        memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
        same = (np.asarray(compiled(*inputs).cells) == wanted).all(axis=(1, 2)).mean()
        name = f"jit, {jax.default_backend()}, {dtype.__name__}"
        print(row(episodes, obstacles, name, seconds, f"{memory:.0f}", f"{same:.1%}"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=1000)
    episodes = parser.parse_args().episodes
    print(HEADER)
    for obstacles in OBSTACLES:
        compare(episodes, obstacles)


if __name__ == "__main__":
    main()
