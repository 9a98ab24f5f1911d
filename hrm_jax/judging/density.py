"""Success against density: a world for every number and speed of obstacles, otherwise like `standard`."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import Density, DensityCell
from hrm_jax.console.tables import markdown, rate
from hrm_jax.judging import entrants, evaluation
from hrm_jax.judging.entrants import Predictor
from hrm_jax.referee import drawing
from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.worlds.world import WORLDS, World

STANDARD = CELL_PROTOCOLS["standard"]


def make_world(n_obstacles: int, speed: float) -> World:
    """The world of one cell of the grid."""
    if not 1 <= n_obstacles <= 100:
        raise RequestError(f"--obstacles {n_obstacles}: 1 to 100")
    if not 0 < speed <= 2:
        raise RequestError(f"--speeds {speed}: above 0, up to 2 cells a step")
    name = f"{n_obstacles} obstacles at {speed:g} cells a step"
    return replace(WORLDS["standard"], name=name, n_obstacles=n_obstacles, speed=speed)


def read_predictors(files: Mapping[str, Path | None], backend: str, asked: World) -> list[Predictor]:
    """The predictors to compare, each file read once; refused where one does not fit the world `asked`."""
    predictors = [entrants.read_predictor(name, path, backend) for name, path in files.items()]
    for predictor in predictors:
        predictor.enter(asked)
    return predictors


def judge(worlds: Sequence[World], predictors: Iterable[Predictor], episodes: int, backend: str) -> Density:
    """Every predictor's success in the first `episodes` scenarios of each world."""
    cells = []
    for i, world in enumerate(worlds, 1):
        print(f"{i}/{len(worlds)}: {world.name}", file=sys.stderr, flush=True)
        cells.append(_cell(world, predictors, episodes, backend))
    return {"protocol": STANDARD.name, "seeds": [0, episodes], "cells": cells}


def _cell(world: World, predictors: Iterable[Predictor], episodes: int, backend: str) -> DensityCell:
    scenarios = drawing.draw(world, range(episodes))
    compared = {predictor.name: predictor.enter(world) for predictor in predictors}
    results = evaluation.play_all(compared, scenarios, STANDARD, backend)
    summaries = {name: evaluation.summary(result) for name, result in results.items()}
    kept = ("n", "success", "rate", "interval")
    return {
        "n_obstacles": world.n_obstacles,
        "speed": world.speed,
        "models": {name: {key: model[key] for key in kept} for name, model in summaries.items()},
    }


def table(density: Density) -> str:
    """A row a cell, a column a model."""
    names = list(density["cells"][0]["models"])
    rows = [["obstacles", "speed", *names]]
    for cell in density["cells"]:
        results = [cell["models"][name] for name in names]
        shown = [rate(result, result["n"]) for result in results]
        rows.append([str(cell["n_obstacles"]), f"{cell['speed']:g}", *shown])
    return markdown(rows)
