"""The documents' trial run of v1: the same network and process on 500 paths, for 100 updates.

    python -m hrm_jax.train --config configs/diffusion_v0.py --workdir runs/v0 --config.data.path=FILE

The first 500 paths of the published data of configs/diffusion_v2.py, 100 updates that see all 500: minutes
on 2 CPU cores. Published: 20 % by the legacy rule; a denoiser this little trained adds noise to what the
refinement alone gives. OUR READING: v0 is v1 (configs/diffusion_v1.py, its faults F25, F27 and F30 and our
readings) on fewer paths for fewer epochs, an epoch being one update, as in the code of v2.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.published_convnet(c, paths=500, updates=100)
    return c
