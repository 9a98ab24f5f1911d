"""hrm-cloud's mid HRM (script hrm_cloudMid): 3,624,194 parameters, gated, 60,000 episodes.

    python -m hrm_jax.train --config configs/hrm_mid.py --workdir runs/hrm_mid

87,920 updates of 8,192 samples; the original ran on one B200 and published 31/50 under
`hrm-cloud/2025-12`. It kept weights and Adam's moments in bfloat16 (fault F11); here only matmuls are.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 8_192
    c.model.width = 256
    c.model.heads = 4
    c.model.blocks = 2
    c.model.dtype = "bfloat16"
    base.published_data(c, episodes=60_000)
    base.published_onecycle(c, 4e-4)
    base.every_epoch(c, epochs=40, updates_per_epoch=2_198)
    return c
