"""HRM on 40x40 cities, the settings of the original's document: 27,276,290 parameters.

    python -m hrm_jax.puzzles city --out data/city
    python -m hrm_jax.train --config configs/act_city.py --workdir runs/act_city

50,000 epochs of 240 groups, one vehicle each, in batches of 384: 31,250 updates of one segment, 12.0 million
samples, of which the warm-up takes 2,000 and 768,000. (The document counts 48 million "steps" of one sample:
960 to an epoch; docs/faults.md#city-routing.) What it does not say is HRM's default of ARC: weight decay 0.1,
and 1e-2 for the vehicles' embeddings. No result was published.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.city(c, "data/city", sequence=1600)
    c.model.remat = True  # else an update takes 17 GiB on each of eight TPU v5e, which have 16
    c.batch_size = 384
    c.steps = 31_250
    c.eval_every = 3_125  # a tenth, as in the document
    c.checkpoint.every = 3_125
    return c
