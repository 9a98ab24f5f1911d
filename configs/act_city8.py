"""8x8 cities at rush hours on 2 CPU cores: 81.3 % of 4,000 held-out routes cheapest, without traffic 59.6 %.

    python -m hrm_jax.puzzles city --size 8 --hours 8 17 18 --apart 8: --train 40000 --test 1000 \\
                                   --out data/city8
    python -m hrm_jax.train --config configs/act_city8.py --workdir runs/city8
    bash launch/puzzles.sh runs/city8 city8             (both, and the judgement of every segment)

25 minutes of about one core (RESULTS.md). Cells hear their four neighbours instead of attending to all: costs
are then relaxed along the roads, 16 steps of the way in a segment of 8 modules of two blocks, all of which
the gradient reaches. Every puzzle gets all four segments: where the Q head may end solved ones, later
segments are taught by unsolved ones alone, and spoil what was right.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.hearing_puzzle(c, "data/city8", vocabulary=12, columns=8)
    c.steps = 10_000
    c.act.segments = c.act.least = 4
    return c
