"""The expert's paths as training data: worlds -> expert.npz. Interrupted, the same command goes on.

    python -m hrm_jax.paths --count 5000 --out data/expert.npz
    python -m hrm_jax.paths --published --count 5000 --out data/published.npz

What the file holds is said in `hrm_jax.artefacts.expert`. NumPy only.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.console.parser import JOBS, Parser, at_least, interruptible, program, run_command
from hrm_jax.referee.paths import dataset


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module docstring."""
    parser = Parser(program("paths"), __doc__)
    add = parser.add_argument
    add("--count", type=int, default=5000, help="paths wanted")
    add("--first", type=int, default=dataset.FIRST, help="id of the first world")
    add("--published", action="store_true", help="the original's worlds, expert and stretched paths")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    add("--out", type=Path, required=True, help="the expert.npz to write")
    options = parser.parse_args(arguments)
    at_least(options, count=(1, 1_000_000), jobs=(1, JOBS), first=(0, 2**31 - 1))
    with interruptible("the same command goes on"):
        dataset.build(options.out, options.count, options.published, options.first, options.jobs)
    print(f"{options.out}: {options.count:,} paths")


if __name__ == "__main__":
    sys.exit(run_command(main))
