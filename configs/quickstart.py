"""The experiment of launch/quickstart.sh: a small HRM, or an LSTM of the same size, on 2 CPU cores.

    python -m hrm_jax.train --config configs/quickstart.py --workdir runs/quickstart/hrm         (1 minute)
    python -m hrm_jax.train --config configs/quickstart.py:lstm --workdir runs/quickstart/lstm   (1 minute)

Expect about 99 % under `standard`, where the oracle gets 100 %, reflection 93 % and blind 41 %.
"""

from configs import base


def get_config(model: str = "hrm"):
    """`model`: "hrm" (28,898 parameters) or "lstm" (29,282)."""
    if model not in ("hrm", "lstm"):
        raise ValueError(f'variant "{model}": one of hrm, lstm')
    c = base.get_config()
    c.steps = 1_000
    c.batch_size = 1_536
    c.eval_every = 500
    c.checkpoint.every = 500
    c.data.history = 8
    c.optimizer.learning_rate = 3e-3
    c.optimizer.schedule = "onecycle"
    if model == "hrm":
        c.model.width = 32
        c.model.heads = 4
        c.model.blocks = 1
        c.model.norm = "rms"
        c.model.init_std = 0.0
    else:
        c.model = base.lstm()
        c.model.width = 48
        c.model.unroll = 8
    c.model.features = "motion"
    return c
