"""hrm-cloud's first full-size HRM (script hrm_cloudFullScale): 24,771,074 parameters, ungated.

    python -m hrm_jax.train --config configs/hrm_fullscale.py --workdir runs/hrm_fullscale

219,750 updates of 4,096 samples; the original ran on four B200 and "timed out". Expect non-finite
gradients from the first step, as in the original (fault F8): the guard skips them, then stops the run.
`--config.model.block=gated` is the repair, which the next script made.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 4_096
    c.model.block = "recurrent"
    c.model.norm_eps = 1e-12
    c.model.init_std = 0.02
    base.published_data(c, episodes=60_000)
    base.published_onecycle(c, 1e-4)
    base.every_epoch(c, epochs=50, updates_per_epoch=4_395)
    return c
