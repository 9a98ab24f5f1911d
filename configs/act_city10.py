"""10x10 cities at rush hours on 2 CPU cores.

    python -m hrm_jax.puzzles city --size 10 --hours 8 17 18 --apart 7: --train 8000 --test 1000 \\
                                   --out data/city10
    python -m hrm_jax.train --config configs/act_city10.py --workdir runs/city10
    bash launch/puzzles.sh runs/city10 city10           (both, and the judgement of every segment)
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.small_puzzle(c, "data/city10", vocabulary=12, sequence=100)
    c.steps = 3_000
    c.eval_every = 500
    c.checkpoint.every = 500
    return c
