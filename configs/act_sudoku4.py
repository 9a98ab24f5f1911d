"""4x4 sudoku on 2 CPU cores: all 500 held-out puzzles solved, in 1 min 18 s with data and judgement.

    python -m hrm_jax.puzzles sudoku --size 4 --givens 4:8 --train 2000 --test 500 --augment 30 \\
                                     --out data/sudoku4
    python -m hrm_jax.train --config configs/act_sudoku4.py --workdir runs/sudoku4
    bash launch/puzzles.sh runs/sudoku4 sudoku4         (both, and the judgement of every segment)

There are two kinds of full 4x4 grids up to symmetry, and the test puzzles have no equivalent in training.
"""

from configs import base


def get_config(choice: str = "every"):
    """`choice`: every, or last (act_sudoku6 says what of)."""
    c = base.get_config()
    base.small_puzzle(c, "data/sudoku4", vocabulary=6, sequence=16)
    c.steps = 900
    c.eval_every = 150
    c.checkpoint.every = 150
    return base.graded(c, choice, costs=6)
