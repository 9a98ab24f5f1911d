"""The expert's paths as training data: worlds -> expert.npz. Interrupted, the same command goes on.

    python -m hrm_jax.paths --count 5000 --out data/expert.npz
    python -m hrm_jax.paths --published --count 5000 --out data/published.npz

`expert.npz` holds, for M worlds with a plan and a path of P points: `world` and `search` (JSON), `ids` [M],
`static` bool [M, R, C], obstacles' `positions` and `velocities` float32 [M, N, 2] at the path's time 0,
`start` and `goal` [M, 2], `points` float32 [M, P, 2] at times 0 to P - 1 in cells, `length` [M] in moves.
NumPy only.
"""

import argparse
import concurrent.futures
import functools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.paths import expert
from hrm_jax.referee.paths.planners import published_future, stretched
from hrm_jax.referee.paths.protocols import PATH_PROTOCOLS, PathProtocol
from hrm_jax.worlds.world import WORLDS

FIRST = 1_000_000  # id of the first world: far from those that judge
CHUNK = 250  # worlds between two saves
SHORTEST = 10  # points; the original keeps plans of more


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Command line; see the module docstring."""
    options = _parser().parse_args(arguments)
    if options.count < 1 or options.jobs < 1 or not 0 <= options.first < 2**31:
        raise RequestError("--count and --jobs: at least 1; --first: 0 to 2147483647")
    _, judged = _setting(options.published)[0].seeds
    if options.first < judged:
        raise RequestError(
            f"--first {options.first}: from {judged} on; the worlds before are those that judge"
        )
    files.check_writable(options.out)
    parts = options.out.with_name(options.out.name + ".parts")
    described = {"published": options.published, "first": options.first}
    with interruptible("the same command goes on"):
        _claim(parts, described)
        _build(options, parts)
        count = _join(parts, options)
    shutil.rmtree(parts)
    print(f"{options.out}: {count:,} paths")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("paths"), __doc__)
    add = parser.add_argument
    add("--count", type=int, default=5000, help="paths wanted")
    add("--first", type=int, default=FIRST, help="id of the first world")
    add("--published", action="store_true", help="the original's worlds, expert and stretched paths")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    add("--out", type=Path, required=True, help="the expert.npz to write")
    return parser


def _setting(published: bool) -> tuple[PathProtocol, expert.Search]:
    """The rules in whose world the paths are, and how the expert plans them."""
    if published:
        return PATH_PROTOCOLS["diffusion/2025-12"], expert.PUBLISHED
    return PATH_PROTOCOLS["paths"], expert.Search()


def _claim(parts: Path, described: dict) -> None:
    """Go on with what this very request has begun, nothing else."""
    parts.mkdir(parents=True, exist_ok=True)
    note = parts / "request.json"
    if note.exists() and json.loads(note.read_text()) != described:
        there = note.read_text().strip()
        raise RequestError(
            f"{parts} was begun by another request ({there}); remove it, or give another --out"
        )
    with files.written_whole(note) as file:
        file.write(json.dumps(described) + "\n")


def _build(options: argparse.Namespace, parts: Path) -> None:
    """Plan chunk after chunk of worlds until there are paths enough."""
    began, chunk, found = time.monotonic(), 0, 0
    with _pool(options.jobs) as pool:
        while found < options.count:
            batch = range(chunk, chunk + options.jobs)
            work = functools.partial(_chunk, parts, options.published, options.first)
            found += sum(pool.map(work, batch))
            chunk = batch.stop
            seconds = time.monotonic() - began
            print(f"\r{min(found, options.count):,}/{options.count:,} paths, {seconds:.0f} s", end="",
                  file=sys.stderr, flush=True)  # fmt: skip
    print(file=sys.stderr)


def _pool(jobs: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that leave Ctrl-C to their parent: the chunks at work are finished first."""
    return concurrent.futures.ProcessPoolExecutor(
        jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )


def _chunk(parts: Path, published: bool, first: int, number: int) -> int:
    """The paths of one chunk of worlds, written unless they are there; how many."""
    path = parts / f"{number:06d}.npz"
    if not path.exists():
        arrays = examples(published, range(first + number * CHUNK, first + (number + 1) * CHUNK))
        with files.written_whole(path, "wb") as file:
            np.savez_compressed(file, **arrays)
    with np.load(path) as file:
        return len(file["ids"])


def examples(published: bool, ids: Sequence[int]) -> dict[str, np.ndarray]:
    """The arrays of `expert.npz` for those of these worlds that have a plan."""
    rules, search = _setting(published)
    scenarios = drawing.draw(WORLDS[rules.world], ids)
    state, _ = dynamics.wait(scenarios)
    if published:
        tracks = published_future(state.position, state.velocity, scenarios.world.size, search.points)
    else:
        tracks = dynamics.course(scenarios, state, scenarios.start, 0, search.points - 1)
    plans = expert.plan(search, scenarios.static, scenarios.start, scenarios.goal, tracks)
    points = stretched(plans.points, plans.length) if published else plans.points
    kept = plans.length >= (SHORTEST if published else 1)
    arrays = {
        "ids": scenarios.ids,
        "static": scenarios.static,
        "positions": state.position.astype(np.float32),
        "velocities": state.velocity.astype(np.float32),
        "start": scenarios.start,
        "goal": scenarios.goal,
        "points": points.astype(np.float32),
        "length": plans.length,
    }
    return {name: array[kept] for name, array in arrays.items()}


def _join(parts: Path, options: argparse.Namespace) -> int:
    """One file of the first `count` paths; how many it holds."""
    chunks = [dict(np.load(path)) for path in sorted(parts.glob("*.npz"))]
    arrays = {name: np.concatenate([c[name] for c in chunks])[: options.count] for name in chunks[0]}
    rules, search = _setting(options.published)
    with files.written_whole(options.out, "wb") as file:
        np.savez_compressed(
            file,
            world=json.dumps(asdict(WORLDS[rules.world])),
            search=json.dumps(asdict(search) | {"published": options.published}),
            **arrays,
        )
    return len(arrays["ids"])


if __name__ == "__main__":
    sys.exit(run_command(main))
