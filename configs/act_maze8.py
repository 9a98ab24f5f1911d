"""8x8 mazes of loose walls on 2 CPU cores, the canonical one of their shortest routes.

python -m hrm_jax.puzzles maze --size 8 --shortest 8 --train 40000 --test 1000 --out data/maze8
python -m hrm_jax.train --config configs/act_maze8.py --workdir runs/maze8

Cells hear their four neighbours, as in configs/act_city8.py: a segment is 16 steps of a way. Slots begin
staggered; every puzzle gets all four segments.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.hearing_puzzle(c, "data/maze8", vocabulary=6, columns=8)
    c.steps = 6_000
    c.act.segments = c.act.least = 4
    c.act.stagger = True
    c.model.puzzle_width = 0
    return c
