"""10x10 mazes on 2 CPU cores, the canonical route; any shortest route is it in 36 % of them.

Not trained to its end yet: a segment of 101 positions costs six times one of 4x4 sudoku (RESULTS.md).

python -m hrm_jax.puzzles maze --size 10 --shortest 12 --train 10000 --test 1000 --out data/maze10
python -m hrm_jax.train --config configs/act_maze10.py --workdir runs/maze10
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.small_puzzle(c, "data/maze10", vocabulary=6, sequence=100)
    c.steps = 3_000
    c.eval_every = 1_000
    c.checkpoint.every = 1_000
    return c
