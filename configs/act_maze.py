"""HRM on 30x30 mazes (Maze-Hard), the official settings: 27,270,146 parameters.

    python -m hrm_jax.puzzles maze --out data/maze30
    python -m hrm_jax.train --config configs/act_maze.py --workdir runs/act_maze

26,041 updates of one segment of 768 mazes (20 million graded segments, 10 EFLOP). Published: 74.5 % exact;
0.61 s an update on one B200. A copy of the input has 87 % of the tokens right and nothing exact. Blocks are
computed anew in the backward pass, so that an update fits eight TPU v5e or one H100 (docs/devices.md); on
eight GPUs `--config.model.remat=False` saves that.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.puzzle(c, "data/maze30", vocabulary=6, sequence=900)
    c.model.remat = True
    c.steps = 26_041  # 20,000 epochs of 1,000 mazes
    c.eval_every = 2_604
    c.checkpoint.every = 868
    return c
