"""Success against density: the same predictors among ever more, ever faster obstacles.

python -m hrm_jax.density --model reflection --model oracle --model lstm=model.npz --out runs/density

Every cell of the grid obstacles x speed is a world of its own, otherwise like `standard` and judged like it.
Leaves OUT/density.json, which the report turns into a figure, and prints the table.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hrm_jax import evaluate
from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, program, run_command
from hrm_jax.judging import entrants as rivals
from hrm_jax.referee import drawing
from hrm_jax.referee.cells.protocols import PROTOCOLS
from hrm_jax.report import main as write_page
from hrm_jax.report import markdown, rate
from hrm_jax.worlds.world import WORLDS, World

STANDARD = PROTOCOLS["standard"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module docstring."""
    options = _parser().parse_args(arguments)
    if options.episodes < 1:
        raise RequestError(f"--episodes {options.episodes}: at least 1")
    worlds = [make_world(n, speed) for n in options.obstacles for speed in options.speeds]
    paths = evaluate.model_files(options.model)
    for name, path in paths.items():  # a model that does not fit is found before the first episode
        rivals.make_rival(name, path, options.backend, worlds[0])
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out / "density.json"
    files.check_writable(out)
    cells = []
    for i, world in enumerate(worlds, 1):
        print(f"{i}/{len(worlds)}: {world.name}", file=sys.stderr, flush=True)
        cells.append(judge(world, paths, options.episodes, options.backend))
    report = {"protocol": STANDARD.name, "seeds": [0, options.episodes], "cells": cells}
    with files.written_whole(out) as file:
        file.write(json.dumps(report, indent=1) + "\n")
    print(table(report))
    write_page(["--density", str(out), "--out", str(options.out)])


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("density"), __doc__)
    add = parser.add_argument
    add("--model", action="append", required=True, metavar="NAME|FILE|NAME=FILE", help="as in evaluate")
    add("--obstacles", type=int, nargs="+", default=[6, 12, 20, 30], metavar="N")
    add("--speeds", type=float, nargs="+", default=[0.4, 0.8, 1.2], metavar="CELLS")
    add("--episodes", type=int, default=200, help="scenarios a cell")
    add("--backend", choices=rivals.BACKENDS, default="numpy")
    add("--out", type=Path, required=True, help="a folder")
    return parser


def make_world(n_obstacles: int, speed: float) -> World:
    """The world of one cell of the grid."""
    if not 1 <= n_obstacles <= 100:
        raise RequestError(f"--obstacles {n_obstacles}: 1 to 100")
    if not 0 < speed <= 2:
        raise RequestError(f"--speeds {speed}: above 0, up to 2 cells a step")
    name = f"{n_obstacles} obstacles at {speed:g} cells a step"
    return replace(WORLDS["standard"], name=name, n_obstacles=n_obstacles, speed=speed)


def judge(world: World, paths: dict[str, Path | None], episodes: int, backend: str) -> dict:
    """One cell: every model's success in `episodes` scenarios of `world`."""
    scenarios = drawing.draw(world, range(episodes))
    compared = {name: rivals.make_rival(name, path, backend, world) for name, path in paths.items()}
    results = evaluate.play_all(compared, scenarios, STANDARD, backend)
    models = evaluate.build_report(scenarios, STANDARD, results, compared)["models"]
    kept = ("n", "success", "rate", "interval")
    return {
        "n_obstacles": world.n_obstacles,
        "speed": world.speed,
        "models": {name: {key: model[key] for key in kept} for name, model in models.items()},
    }


def table(report: dict) -> str:
    """A row a cell, a column a model."""
    names = list(report["cells"][0]["models"])
    rows = [["obstacles", "speed", *names]]
    for cell in report["cells"]:
        results = [rate(cell["models"][name]) for name in names]
        rows.append([str(cell["n_obstacles"]), f"{cell['speed']:g}", *results])
    return markdown(rows)


if __name__ == "__main__":
    sys.exit(run_command(main))
