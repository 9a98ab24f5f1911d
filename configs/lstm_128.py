"""hrm-cloud's LSTM, compared with its second small HRM (script hrm_cloudv3): 199,938 parameters.

    python -m hrm_jax.train --config configs/lstm_128.py --workdir runs/lstm_128

131,850 updates of 2,048 samples at a constant rate, unclipped; no result was published.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    c.batch_size = 2_048
    c.model = base.lstm()
    c.model.width = 128
    base.published_data(c, episodes=30_000)
    base.published_constant(c, 1e-3)
    base.every_epoch(c, epochs=30, updates_per_epoch=4_395)
    return c
