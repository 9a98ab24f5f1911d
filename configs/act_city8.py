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
    base.small_puzzle(c, "data/city8", vocabulary=12, sequence=64)
    c.batch_size = 32
    c.steps = 10_000
    c.eval_every = 500
    c.checkpoint.every = 500
    c.data.eval_examples = 512
    c.act.segments = c.act.least = 4
    c.act.loss = "softmax"
    c.optimizer.learning_rate = 2e-3
    c.model.expansion = 2.0
    c.model.mixer = False
    c.model.columns = 8
    c.model.l_cycles = 7
    return c
