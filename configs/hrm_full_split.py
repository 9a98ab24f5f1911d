"""hrm-cloud's full-size gated HRM on one GPU (script hrm_cloudFullScaleSplit): 28,969,474 parameters.

    python -m hrm_jax.train --config configs/hrm_full_split.py --workdir runs/hrm_full_split

87,900 updates of 4,096 samples; the original ran on one B200 within 8 hours and reported a loss of 1e-4.
`--config.model.initial_state=noise --config.batch_size=8192` is the RobustFix script.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 4_096
    c.model.dtype = "bfloat16"
    base.published_data(c, episodes=60_000)
    base.published_onecycle(c, 3e-4)
    base.every_epoch(c, epochs=20, updates_per_epoch=4_395)
    return c
