"""One way of planning whole paths by denoising; the ways differ in one thing each, and `hybrid` has them all.

    python -m hrm_jax.paths --help                  (makes the data, an expert.npz)
    python -m hrm_jax.train --config configs/diffusion.py:once --workdir runs/once --config.data.path=FILE
    python -m hrm_jax.train --config configs/diffusion.py:once,small --workdir … --config.data.path=FILE

once       sees static cells and obstacles, plans once
velocity   once, and how the obstacles move
receding   once, and every 4 steps a new plan, from what is seen by then and the last plan
forecast   once, and where a predictor says that the obstacles will be, which also guides the denoising
hybrid     all of these: configs/diffusion_hybrid.py

Every path is an offset from the timed straight line; the network also sees what stands next to its points
when it is passed. Successes of the small size in 500 worlds (protocol `paths`): once 72 %, velocity 72,
receding 80, forecast 98, hybrid 99; the hybrid's guidance without a network 88 to 95 (RESULTS.md).

Full size: 30,000 updates of 512 paths, width 64, for one GPU. The second word `small`: 1,000 updates of 64
paths, width 32, for 2 CPU cores; enough to put the ways in order, not for the rates of the full size. `once`
and `receding` train alike and only plan differently: the model of one serves the other.
"""

from configs import base

VARIANTS = {
    "once": dict(),
    "velocity": dict(channels=("static", "obstacles", "velocity")),
    "receding": dict(replan=4),
    "forecast": dict(channels=("static", "obstacles", "forecast"), forecast="predictor", cost_guidance=2),
    "hybrid": dict(
        channels=("static", "obstacles", "velocity", "forecast"),
        forecast="predictor",
        cost_guidance=2,
        replan=4,
    ),
}


def get_config(choice: str = "once"):
    """`choice`: VARIANT or VARIANT,small."""
    variant, *size = choice.split(",")
    if variant not in VARIANTS or size not in ([], ["small"]):
        raise ValueError(f'"{choice}": one of {", ".join(VARIANTS)}; with ",small" for 2 CPU cores')
    c = base.get_config()
    base.diffusion(c)
    changes = dict(VARIANTS[variant])
    c.model.channels = changes.pop("channels", c.model.channels)
    c.plan.update(changes)
    if size:
        c.model.width = 32
        c.batch_size = 64
        c.steps = 1_000
        c.ema_decay = 0.99  # at 0.999 a run this short would average most of itself
        c.eval_every = 500
        c.checkpoint.every = 500
    return c
