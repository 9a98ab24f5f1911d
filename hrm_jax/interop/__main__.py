"""Import PyTorch checkpoints of the originals; prove with golden files that our functions are theirs.

python -m hrm_jax.interop import original.pt --out model.npz
python -m hrm_jax.interop golden tests/golden/lstm_d16.npz
"""

import pathlib
import sys
from collections.abc import Sequence

from hrm_jax.console.parser import Parser, choose, program, run_command

COMMANDS = {
    "golden": "compare outputs and gradients with those of a golden file",
    "import": "convert a PyTorch checkpoint into model.npz",
}
GOLDEN = """Compare outputs and gradients with those of a golden file; exit code 1 above tolerance.

    python -m hrm_jax.interop golden tests/golden/lstm_d16.npz
"""
IMPORT = """Convert a PyTorch checkpoint into model.npz. The options say what its shapes do not.

    python -m hrm_jax.interop import original.pt --out model.npz
    python -m hrm_jax.interop import maze-30x30-hard.pt --out released.npz
"""


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Command line; see the module docstring."""
    command, rest = choose(program("interop"), __doc__, COMMANDS, arguments)
    return _golden(rest) if command == "golden" else _import(rest)


def _golden(arguments: Sequence[str]) -> int:
    parser = Parser(f"{program('interop')} golden", GOLDEN)
    parser.add_argument(
        "file", type=pathlib.Path, help="an .npz of inputs, parameters, outputs and gradients"
    )
    path = parser.parse_args(arguments).file
    from hrm_jax.interop import golden  # --help does without jax

    return golden.check(path)


def _import(arguments: Sequence[str]) -> None:
    parser = Parser(f"{program('interop')} import", IMPORT)
    add = parser.add_argument
    add("file", type=pathlib.Path, help="a .pt, .safetensors or .npz with the state_dict")
    add("--out", type=pathlib.Path, required=True, help="the model.npz to write")
    add("--heads", type=int, help="attention heads (default: 4; HRM-ACT and TRM: 8; PoH: 6)")
    add("--k_step", type=int, help="steps between two H updates (default: 2)")
    add("--history", type=int, help="steps of history (default: 20)")
    add = parser.add_argument_group("HRM-ACT and TRM").add_argument
    add("--sequence", type=int, help="cells of a puzzle (default: of vocabulary 6 or 12, 900; of 11, 81)")
    add("--prefix", type=int,
        help="positions before the cells (default: what HRM's puzzle embedding needs; TRM: 16)")  # fmt: skip
    add("--h_cycles", type=int, help="H updates a segment (default: HRM 2, TRM 3)")
    add("--l_cycles", type=int, help="L updates before each (default: HRM 2; TRM 4, for sudoku 6)")
    add("--positions", choices=("rope", "learned", "none"),
        help="(default: learned where the file has them, none for the mixer, else rope)")  # fmt: skip
    add("--segments", type=int, help="segments of its training (default: 16)")
    add("--identifiers", type=pathlib.Path, metavar="FILE",
        help="identifiers.json of the data it was trained on, for solve to refuse others")  # fmt: skip
    add("--dtype", choices=("bfloat16", "float32"), help="of its matmuls (default: bfloat16, as theirs)")
    add = parser.add_argument_group("Pointer over Heads").add_argument
    add("--passes", type=int, help="passes of the refinement (default: 4)")
    add("--period", type=int, help="passes from one update of the slow state to the next (default: 4)")
    given = vars(parser.parse_args(arguments))
    from hrm_jax.interop import checkpoints

    checkpoints.import_checkpoint(given.pop("file"), given.pop("out"), **given)


if __name__ == "__main__":
    sys.exit(run_command(main))
