"""HRM on 30x30 cities, as the original's last run: 2,100,482 parameters.

    python -m hrm_jax.puzzles city --size 30 --train 150 --test 100 --out data/city30
    python -m hrm_jax.train --config configs/act_city_small.py --workdir runs/act_city_small

10,000 epochs of 150 groups in batches of 64, whole batches of ten epochs a thousand: 23,430 updates, 1.5
million samples. Its checkpoint "worked for logistics test"; no number was published.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.city(c, "data/city30", sequence=900)
    c.batch_size = 64
    c.steps = 23_430
    c.eval_every = 2_343
    c.checkpoint.every = 2_343
    c.model.width = 128
    c.model.heads = 2
    c.model.puzzle_width = 128
    return c
