"""hrm-cloud's second small HRM (script hrm_cloudv3): 388,226 parameters, ungated, 30,000 episodes.

    python -m hrm_jax.train --config configs/hrm_small.py --workdir runs/hrm_small

263,700 updates of 2,048 samples; the original ran on one B200. No result was published; its first loss is
about 1e9 (fault F8). Steps like hrm_cloudBoosted's fp16 run are not offered: they were all skipped (F9).
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 2_048
    c.model.width = 128
    c.model.heads = 4
    c.model.blocks = 1
    c.model.block = "recurrent"
    c.model.init_std = 0.0
    c.model.norm_eps = 1e-12
    base.published_data(c, episodes=30_000)
    base.published_onecycle(c, 1e-3)
    base.every_epoch(c, epochs=60, updates_per_epoch=4_395)
    return c
