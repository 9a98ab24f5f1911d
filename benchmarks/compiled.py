"""Training steps compiled for devices that are not here: what RESULTS.md shows of them.

    pip install 'hrm_jax[aot-tpu,aot-gpu]'
    python benchmarks/compiled.py results/compiled.json [--only v5e] [--again]

A row a process, one after another; what the file has already is left, but for `--again`. All of it takes
twenty minutes of 2 idle cores. `python benchmarks/results.py fill` writes the table.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hrm_jax.artefacts import files
from hrm_jax.compiled.chips import GIB
from hrm_jax.console.parser import Parser, run_command

ROOT = Path(__file__).resolve().parent.parent
ROWS = [  # config, topology, fields that are set
    ("hrm_full", "v5e:2x4", {}),
    ("hrm_full", "v5e:2x4", {"mesh.fsdp": 4}),
    ("hrm_full", "h100:8", {}),
    ("hrm_full", "h100:1", {}),
    ("hrm_full", "h200:1", {}),
    ("hrm_full", "v5e:2x4", {"model.recurrence": "scan"}),
    ("hrm_full", "v5e:2x4", {"model.recurrence": "unrolled"}),
    ("hrm_full", "h100:8", {"model.recurrence": "scan"}),
    ("hrm_full", "h100:1", {"model.recurrence": "scan"}),
    ("hrm_full", "h200:1", {"model.recurrence": "scan"}),
    ("act_maze", "v5e:2x4", {}),
    ("act_maze", "h100:8", {}),
    ("act_maze", "h100:1", {}),
    ("trm_maze", "v5e:2x4", {}),
    ("trm_maze", "h100:1", {}),
    ("diffusion_v2", "v5e:2x4", {}),
    ("diffusion_v2", "h100:1", {}),
    ("act_sudoku", "v5e:2x4", {}),
    ("act_arc1", "v5e:2x4", {}),
    ("act_city", "v5e:2x4", {}),
    ("act_city", "h100:1", {}),
    ("trm_sudoku", "v5e:2x4", {}),
    ("hrm_mid", "v5e:2x4", {}),
    ("hrm_fullscale", "v5e:2x4", {}),
    ("hrm_fullscale", "h100:1", {}),
    ("hrm_8gpu_v2", "v5e:2x4", {}),
    ("lstm_512", "v5e:2x4", {}),
    ("pot_poh", "v5e:2x4", {}),
]
Row = tuple[str, str, dict[str, object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    parser = Parser("python benchmarks/compiled.py", __doc__)
    parser.add_argument("out", type=Path, help="FILE.json, which is added to")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name has this")
    parser.add_argument("--again", action="store_true", help="rows that are there, too")
    parser.add_argument("--row", default="", metavar="NAME", help="compile one, and print what it needs")
    options = parser.parse_args(arguments)
    if options.row:
        print(json.dumps(measured(next(row for row in ROWS if named(row) == options.row))))
        return 0
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for row in ROWS:
        name = named(row)
        if options.only in name and (options.again or name not in found):
            command = [sys.executable, str(Path(__file__)), str(options.out), "--row", name]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                return done.returncode
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, found[name], flush=True)
            found = {name: found[name] for name in map(named, ROWS) if name in found}
            with files.atomic_write(options.out) as file:
                json.dump(found, file, indent=1)
    return 0


def named(row: Row) -> str:
    """Config, topology and fields of a row."""
    config, place, fields = row
    return " ".join([config, place, *(f"{key}={value}" for key, value in fields.items())])


def measured(row: Row) -> dict[str, object]:
    """What its step needs."""
    from hrm_jax.compiled import topology

    name, place, fields = row
    asked = topology.parse(place)
    topology.prepare(asked)
    from hrm_jax.tasks import build
    from hrm_jax.training import compiling, configs, sharding

    config = configs.read(name, [f"--config.{key}={value}" for key, value in fields.items()])
    mesh = sharding.make_mesh(config.mesh.fsdp, topology.devices(asked))
    found = compiling.needs(compiling.laid(build(config, mesh, dry=True)), asked.chip)
    facts: dict[str, object] = {
        "gib": round(found.memory / GIB, 2),
        "of": round(asked.chip.memory / GIB, 2),
        "compile_s": round(found.seconds),
    }
    if found.floor:
        facts |= {
            "outside_mb": round(found.megabytes(False), 1),
            "inside_mb": round(found.megabytes(True), 1),
            "kernels": found.floor.kernels,
            "floor_ms": round(1e3 * found.floor.seconds, 1),
            "share": round(found.floor.share, 3),
        }
    return facts


if __name__ == "__main__":
    sys.exit(run_command(main))
