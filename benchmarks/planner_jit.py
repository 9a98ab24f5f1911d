"""The jitted planner against the NumPy one: seconds a call, the same 1,000 episodes for both.

python benchmarks/planner_jit.py

20x20 maps, 12 static cells, horizon 20, a clear prediction of obstacles that go straight on. Medians of
seven calls, compilation not counted. `same` is the share of plans that are NumPy's, cell by cell.
"""

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
from hrm_jax.planning import space_time_astar  # noqa: E402

EPISODES, SIZE, STATIC, HORIZON, CLEARANCE = 1000, 20, 12, 20, 1.0
OBSTACLES = (6, 30)
CALLS = 7
HEADER = """\
| obstacles | planner | seconds | episodes/s | temporaries, MB | same |
|---|---|---|---|---|---|"""


def draw(obstacles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Static cells [A, R, C], starts and goals [A, 2], and tracks [A, T + 1, N, 2]."""
    generator = np.random.default_rng(obstacles)
    static = np.zeros((EPISODES, SIZE**2), bool)
    cells = generator.random((EPISODES, SIZE**2 - 2)).argsort(axis=1)[:, :STATIC] + 1
    np.put_along_axis(static, cells, True, axis=1)
    start = np.zeros((EPISODES, 2), np.int64)
    angle = generator.uniform(0, 2 * np.pi, (EPISODES, 1, obstacles, 1))
    first = generator.uniform(0, SIZE, (EPISODES, 1, obstacles, 2))
    steps = 0.7 * np.arange(HORIZON + 1)[:, None, None]
    tracks = first + steps * np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    return static.reshape(EPISODES, SIZE, SIZE), start, np.full_like(start, SIZE - 1), tracks


def median_time(call: Callable[[], object]) -> float:
    """Median seconds of CALLS calls, after one that is not counted."""
    seconds = []
    for _ in range(CALLS + 1):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def row(obstacles: int, name: str, seconds: float, memory: str, same: str) -> str:
    """One line of the table."""
    return f"| {obstacles} | {name} | {seconds:.3f} | {EPISODES / seconds:.0f} | {memory} | {same} |"


def compare(obstacles: int) -> None:
    """Print the lines for so many obstacles."""
    static, start, goal, tracks = draw(obstacles)
    free = space_time_astar.free_cells(static)

    def numpy_plan():
        return space_time_astar.plan_swept(free, start, goal, tracks, CLEARANCE)

    wanted = numpy_plan().cells
    print(row(obstacles, "NumPy", median_time(numpy_plan), "", ""))
    for dtype in (jnp.float32, jnp.float64):
        jax.config.update("jax_enable_x64", dtype == jnp.float64)
        inputs = planner.free_cells(jnp.asarray(static)), *map(jnp.asarray, (start, goal))
        inputs = (*inputs, jnp.asarray(tracks, dtype), CLEARANCE)
        compiled = jax.jit(planner.plan).lower(*inputs).compile()
        seconds = median_time(lambda call=compiled, args=inputs: jax.block_until_ready(call(*args)))
        memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
        same = (np.asarray(compiled(*inputs).cells) == wanted).all(axis=(1, 2)).mean()
        name = f"jit, {jax.default_backend()}, {dtype.__name__}"
        print(row(obstacles, name, seconds, f"{memory:.0f}", f"{same:.1%}"))


def main() -> None:
    """Print the table."""
    print(HEADER)
    for obstacles in OBSTACLES:
        compare(obstacles)


if __name__ == "__main__":
    main()
