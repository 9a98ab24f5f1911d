"""Our HRM, mid-sized: motion in, a correction out, correct norms, attention across obstacles.

    python -m hrm_jax.train --config configs/hrm_motion.py --workdir runs/hrm_motion

20,000 updates of 6,144 samples, streamed from the corrected world, on one GPU; not yet run to its end (see
RESULTS.md). On a laptop, `--config.model.width=64 --config.steps=2000 --config.batch_size=1536`.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.steps = 20_000
    c.batch_size = 6_144
    c.ema_decay = 0.999
    c.model.width = 256
    c.model.heads = 4
    c.model.blocks = 2
    c.model.norm = "rms"
    c.model.init_std = 0.0
    c.model.features = "motion"
    c.model.attention = "obstacles"
    c.model.dtype = "bfloat16"
    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "onecycle"
    return c
