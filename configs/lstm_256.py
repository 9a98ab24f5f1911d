"""hrm-cloud's LSTM, compared with its mid HRM (script hrm_cloudMid): 793,090 parameters.

    python -m hrm_jax.train --config configs/lstm_256.py --workdir runs/lstm_256

65,940 updates of 8,192 samples at a constant rate, unclipped; published 34/50 under `hrm-cloud/2025-12`.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 8_192
    c.model = base.lstm()
    c.model.width = 256
    base.published_data(c, episodes=60_000)
    base.published_constant(c, 4e-4)
    base.every_epoch(c, epochs=30, updates_per_epoch=2_198)
    return c
