"""The expert's paths as training data: worlds in, `expert.npz` out (see `artefacts.expert`)."""

import contextlib
import functools
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import expert as expert_file
from hrm_jax.artefacts import parts
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.referee import drawing, dynamics
from hrm_jax.referee.paths import expert
from hrm_jax.referee.paths.planners import published_future, stretched
from hrm_jax.referee.protocols import PATH_PROTOCOLS
from hrm_jax.worlds.world import WORLDS

FIRST = 1_000_000  # id of the first world: far from those that judge
CHUNK = 250  # worlds between two saves
# The rules in whose world the paths are, and how the expert plans them; the original's where True.
SETTINGS = {
    False: (PATH_PROTOCOLS["paths"], expert.Search()),
    True: (PATH_PROTOCOLS["diffusion/2025-12"], expert.PUBLISHED),
}
SHORTEST = 10  # moves of a published path: the original drops shorter plans


def build(out: Path, count: int, published: bool = False, first: int = FIRST, jobs: int = 1) -> None:
    """Write the first `count` paths of the worlds from `first` on; interrupted, the same request goes on.

    `published`: the original's worlds, expert and stretched paths. Worlds that judge are a `RequestError`.
    """
    rules, search = SETTINGS[published]
    if first < rules.seeds[1]:
        raise RequestError(
            f"--first {first}: from {rules.seeds[1]} on; the worlds before are those that judge"
        )
    with parts.work_folder(out, {"published": published, "first": first}) as folder:
        stream = parts.stream(folder, functools.partial(chunk, published, first, CHUNK), jobs)
        chunks, found = [], 0
        with tqdm(total=count, desc="paths", unit="", disable=None) as progress, contextlib.closing(stream):
            while found < count:
                chunks.append(next(stream))
                found += len(chunks[-1]["ids"])
                progress.update(min(found, count) - progress.n)
        arrays = {name: np.concatenate([c[name] for c in chunks])[:count] for name in chunks[0]}
        described = asdict(search) | {"published": published}
        expert_file.write(out, expert_file.Paths(**arrays), asdict(WORLDS[rules.world]), described)


def chunk(published: bool, first: int, size: int, number: int) -> dict[str, np.ndarray]:
    """The arrays of `expert.npz` for those worlds of chunk `number`, of `size` worlds, that have a plan."""
    rules, search = SETTINGS[published]
    scenarios = drawing.draw(WORLDS[rules.world], range(first + number * size, first + (number + 1) * size))
    state, _ = dynamics.roll(scenarios, scenarios.world.history)
    if published:
        tracks = published_future(state.position, state.velocity, scenarios.world.size, search.points)
    else:
        _, tracks = dynamics.roll(scenarios, search.points - 1, state)
    plans = expert.plan(search, scenarios.static, scenarios.start, scenarios.goal, tracks)
    kept = plans.length >= (SHORTEST if published else 1)
    points = stretched(plans.points, plans.length) if published else plans.points
    arrays = expert_file.Paths(
        ids=scenarios.ids,
        static=scenarios.static,
        positions=state.position.astype(np.float32),
        velocities=state.velocity.astype(np.float32),
        start=scenarios.start,
        goal=scenarios.goal,
        points=points.astype(np.float32),
        length=plans.length,
    )
    return {name: array[kept] for name, array in arrays._asdict().items()}
