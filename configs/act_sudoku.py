"""HRM on 9x9 sudoku, 1,000 puzzles and 1,000 augmentations of each, official settings: 27,275,266 parameters.

    python -m hrm_jax.puzzles sudoku --size 9 --train 1000 --augment 1000 --out data/sudoku9
      (of Sudoku-Extreme: --csv FOLDER --subsample 1000 --augment 1000 instead of --size and --train)
    python -m hrm_jax.train --config configs/act_sudoku.py --workdir runs/act_sudoku

26,041 updates of one segment of 768 puzzles (0.73 EFLOP). Published: 55.0 % exact on Sudoku-Extreme, 45 to 57
by others; our own puzzles are easier than that collection, their numbers cannot be compared.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.puzzle(c, "data/sudoku9", vocabulary=11, sequence=81)
    c.steps = 26_041  # 20,000 epochs of 1,000 groups
    c.eval_every = 2_604
    c.checkpoint.every = 2_604
    return c
