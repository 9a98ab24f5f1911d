"""hrm-cloud's LSTM, compared with its headline HRM (script hrm_cloud_8gpu): 3,159,042 parameters.

    python -m hrm_jax.train --config configs/lstm_512.py --workdir runs/lstm_512

131,850 updates of 4,096 samples at a constant rate, unclipped; about 100 minutes on an A10 as published,
loss 1e-6, 33/50 under `hrm-cloud/2025-12`: exactly what an exact future gets there.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 4_096
    c.model = base.lstm()
    c.model.width = 512
    base.published_data(c, episodes=60_000)
    base.published_constant(c, 6e-4)
    base.every_epoch(c, epochs=30, updates_per_epoch=4_395)
    return c
