"""The hybrid that the documents hoped for: a denoiser of paths that sees where the obstacles will be.

    python -m hrm_jax.train --config configs/diffusion_hybrid.py --workdir runs/hybrid --config.data.path=FILE

The map shows how the obstacles move, and 8 moments of their future: in training the truth, in planning what a
predictor says. Each denoising step is followed by two descents on the space-time cost of the predicted clean
path, and every 4 steps a new plan is denoised from half noise on the last one. It is
`configs/diffusion.py:hybrid`; that file has its parts one by one, and a size for 2 CPU cores.

30,000 updates of 512 paths for one GPU (not run yet: none was at hand); data by python -m hrm_jax.paths. The
small size, of configs/diffusion.py:hybrid,small, succeeds in 496 of 500 worlds: RESULTS.md.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.diffusion(c)
    c.model.channels = ("static", "obstacles", "velocity", "forecast")
    c.plan.forecast = "predictor"
    c.plan.cost_guidance = 2
    c.plan.replan = 4
    return c
