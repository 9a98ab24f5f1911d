"""6x6 sudoku on 2 CPU cores.

python -m hrm_jax.puzzles sudoku --size 6 --out data/sudoku6
python -m hrm_jax.train --config configs/act_sudoku6.py --workdir runs/sudoku6
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.small_puzzle(c, "data/sudoku6", vocabulary=8, sequence=36)
    c.steps = 4_000
    c.eval_every = 1_000
    c.checkpoint.every = 1_000
    return c
