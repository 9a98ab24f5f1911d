"""8x8 mazes of loose walls on 2 CPU cores, the canonical one of their shortest routes.

python -m hrm_jax.puzzles maze --size 8 --shortest 8 --train 40000 --test 1000 --out data/maze8
python -m hrm_jax.train --config configs/act_maze8.py --workdir runs/maze8

Cells hear their four neighbours, as in configs/act_city8.py: a segment is 16 steps of a way. Slots begin
staggered; every puzzle gets all four segments. Three seeds: 95.3 to 96.5 % exact, 12 minutes of a core each.
"""

from configs import base


def get_config(choice: str = "every"):
    """`choice`: every segment is graded, or the last of four alone, which costs twice as much."""
    c = base.get_config()
    base.hearing_maze(c, 8)
    return base.graded(c, choice, costs=2)
