"""Success against density: the same predictors among ever more, ever faster obstacles.

python -m hrm_jax.density --model reflection --model oracle --model lstm=model.npz --out runs/density

Every cell of the grid obstacles x speed is a world of its own, otherwise like `standard` and judged like it.
Leaves OUT/density.json, which the report turns into a figure, and prints the table.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrm_jax.artefacts import files, health
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.report_file import Density, DensityCell
from hrm_jax.console.parser import Parser, at_least, program, run_command
from hrm_jax.console.tables import markdown, rate
from hrm_jax.judging import entrants, evaluation, keeping, marks, request, statistics
from hrm_jax.judging.entrants import BACKENDS, Predictor
from hrm_jax.judging.evaluation import Match
from hrm_jax.referee import drawing
from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.reporting import writing
from hrm_jax.worlds.rules import SUCCESS
from hrm_jax.worlds.world import WORLDS, World

STANDARD = CELL_PROTOCOLS["standard"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module docstring."""
    parser = Parser(program("density"), __doc__)
    add = parser.add_argument
    add("--model", action="append", required=True, metavar="NAME|FILE|NAME=FILE", help="as in evaluate")
    add("--obstacles", type=int, nargs="+", default=[6, 12, 20, 30], metavar="N", help="their numbers")
    add("--speeds", type=float, nargs="+", default=[0.4, 0.8, 1.2], metavar="CELLS",
        help="their speeds, in cells a step")  # fmt: skip
    add("--episodes", type=int, default=200, help="scenarios a cell")
    add("--backend", choices=BACKENDS, default="numpy")
    add("--out", type=Path, required=True, help="a folder")
    options = parser.parse_args(arguments)
    at_least(options, episodes=(1, 100_000))
    grid = dict.fromkeys((n, speed) for n in options.obstacles for speed in options.speeds)
    worlds = [_world(*cell) for cell in grid]
    models = request.sources(options.model)
    predictors = [entrants.read_predictor(name, path, options.backend) for name, path in models.items()]
    for predictor in predictors:  # each is read once, and refused if it fits no world
        predictor.enter(worlds[0])
    out = options.out / "density.json"
    files.check_writable(out, [predictor.path for predictor in predictors])
    density = _judge(worlds, predictors, options.episodes, options.backend)
    keeping.keep(out, density, _table(density))
    writing.write(writing.Request(out=options.out, density=out))


def _world(n_obstacles: int, speed: float) -> World:
    """The world of one cell of the grid."""
    if not 1 <= n_obstacles <= 100:
        raise RequestError(f"--obstacles {n_obstacles}: 1 to 100")
    if not 0 < speed <= 2:
        raise RequestError(f"--speeds {speed}: above 0, up to 2 cells a step")
    name = f"{n_obstacles} obstacles at {speed:g} cells a step"
    return replace(WORLDS["standard"], name=name, n_obstacles=n_obstacles, speed=speed)


def _judge(worlds: Sequence[World], predictors: Sequence[Predictor], episodes: int, backend: str) -> Density:
    """Every predictor's success in the first `episodes` scenarios of each world."""
    cells: list[DensityCell] = []
    for i, world in enumerate(worlds, 1):
        print(f"{i}/{len(worlds)}: {world.name}", file=sys.stderr, flush=True)
        scenarios = drawing.draw(world, range(episodes))
        compared = {predictor.name: predictor.enter(world) for predictor in predictors}
        results = evaluation.play_all(Match(scenarios, STANDARD, backend, compared, list(compared)))
        models: dict[str, Any] = {
            name: {
                "n": episodes,
                **statistics.rate(result.outcomes.count(SUCCESS), episodes),
                **health.told(compared[name].about),
            }
            for name, result in results.items()
        }
        cells.append({"n_obstacles": world.n_obstacles, "speed": world.speed, "models": models})
    return {"protocol": STANDARD.name, "seeds": (0, episodes), "cells": cells}


def _table(density: Density) -> str:
    """A row a cell, a column a model."""
    names = list(density["cells"][0]["models"])
    rows = [["obstacles", "speed", *names]]
    for cell in density["cells"]:
        shown = [rate(cell["models"][name]) + marks.mark(cell["models"][name]) for name in names]
        rows.append([str(cell["n_obstacles"]), f"{cell['speed']:g}", *shown])
    return "\n\n".join([markdown(rows), *marks.sentences(density["cells"][0]["models"])])


if __name__ == "__main__":
    sys.exit(run_command(main))
