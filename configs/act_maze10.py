"""10x10 mazes of loose walls on 2 CPU cores, the canonical one of their shortest routes (act_maze8: 8x8).

86.4 to 87.7 % exact (three seeds) in 25 minutes of one core.

python -m hrm_jax.puzzles maze --size 10 --shortest 12 --train 40000 --test 1000 --out data/maze10
python -m hrm_jax.train --config configs/act_maze10.py --workdir runs/maze10
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.hearing_maze(c, 10)
    return c
