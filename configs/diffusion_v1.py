"""The documents' first denoiser of paths (v1), 546,402 parameters, no attention; the code is lost.

    python -m hrm_jax.train --config configs/diffusion_v1.py --workdir runs/v1 --config.data.path=FILE

The first 2,500 paths of the published data of configs/diffusion_v2.py, 1,000 updates that see all of them, on
a GPU. Published: A10G, 64 % by the legacy rule. Expect about what a straight line with the same 20
refinements gets.

The documents say: a map encoder of two convolutions (16 and 32 channels), three 1-D convolutions, about
500,000 parameters, AdamW from 1e-3 to 1e-5 along a cosine, no average of the parameters, no clipping, 50
sampling steps, 5 samples, 20 refinements. OUR READING, where they are silent: the widths, as in
models/diffusion.py; all the rest, an epoch of one update, weight decay 1e-4 and the sampler included, as in
v2, whose faults F25, F27 and F30 it shares.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.published_convnet(c, paths=2_500, updates=1_000)
    return c
