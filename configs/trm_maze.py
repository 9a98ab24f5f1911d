"""TRM with attention on 30x30 mazes (Maze-Hard): 6,822,914 parameters.

    python -m hrm_jax.puzzles maze --out data/maze30
    python -m hrm_jax.train --config configs/trm_maze.py --workdir runs/trm_maze

65,104 updates of 768 mazes (20 EFLOP). Published: 85.3 % exact, 78.5 to 85.1 by others; 1.46 s an update on
one B200. Blocks are computed anew in the backward pass: without it an update takes 63 GiB on each of eight
TPU v5e, which have 16 (`--dry_run --topology`, docs/devices.md).
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.puzzle(c, "data/maze30", vocabulary=6, sequence=900)
    base.trm(c, l_cycles=4)
    c.model.remat = True
    c.steps = 65_104  # 50,000 epochs of 1,000 mazes
    c.eval_every = 6_510
    c.checkpoint.every = 1_302
    return c
