"""4x4 sudoku on 2 CPU cores.

python -m hrm_jax.puzzles sudoku --size 4 --out data/sudoku4
python -m hrm_jax.train --config configs/act_sudoku4.py --workdir runs/sudoku4
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.small_puzzle(c, "data/sudoku4", vocabulary=6, sequence=16)
    c.steps = 2_000
    c.eval_every = 500
    c.checkpoint.every = 500
    return c
