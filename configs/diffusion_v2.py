"""The published denoiser of paths (diffusion_v2): U-Net with attention, 4,128,258 parameters, 2,000 updates.

    python -m hrm_jax.train --config configs/diffusion_v2.py --workdir runs/v2 --config.data.path=FILE

Data: 5,256 paths of the published expert, stretched to 64 points, by hrm_jax.paths; 256 of them are held out.
Every update sees the other 5,000: minutes on a GPU. Published: A10G, 60 % by the legacy rule
`diffusion/2025-12`. Expect about what a straight line with the same 40 refinements gets, 66 % on the 50
published worlds: the refinement does the work.

As published, faults included (docs/faults.md): F24 start, goal and half of the map code never enter the
network; F25 the sampler's noise levels are not those of training; F26 an average of the parameters that keeps
13.5 % of the initial ones; F27 paths lose their timing; F30 obstacles are drawn as walls, their centres
truncated. Ours: every world has a seed of its own (the original draws 50 streams of worlds, one of which
begins with a test world, F31), ties of the expert go by exact costs, paths held out only draw a curve.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.published_diffusion(c, base.path_unet(), paths=5_000, updates=2_000)
    c.ema_correction = False
    c.model.condition = "published"
    c.plan.steps = 100
    return c
