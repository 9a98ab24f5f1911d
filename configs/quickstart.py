"""The five-minute experiment of launch/quickstart.sh: a small HRM, or `:lstm`, on 2 CPU cores."""

from configs import base


def get_config(model: str = "hrm"):
    """`model`: "hrm" or "lstm"."""
    if model not in ("hrm", "lstm"):
        raise ValueError(f'variant "{model}": one of hrm, lstm')
    c = base.get_config()
    c.steps = 2_000
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
        c.model.width = 64
    c.model.features = "motion"
    return c
