"""hrm-cloud's last run (script hrm_cloud_8gpu_v2): 29,411,842 parameters, LAMB, 8 devices.

    python -m hrm_jax.train --config configs/hrm_8gpu_v2.py --workdir runs/hrm_8gpu_v2

52,740 updates of 4,096 samples (8 x 512); published as "significantly worse". The network cannot see the
order of its history (fault F21), and LAMB is the uncorrected variant of the package torch-optimizer.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 4_096
    c.model = base.hrm_8gpu_v2()
    c.optimizer.name = "lamb"
    c.optimizer.bias_correction = False
    c.optimizer.eps = 1e-6
    c.optimizer.learning_rate = 3e-4
    c.optimizer.schedule = "cosine"
    c.optimizer.final_learning_rate = 1e-6
    base.published_data(c, episodes=60_000)
    base.every_epoch(c, epochs=12, updates_per_epoch=4_395)
    return c
