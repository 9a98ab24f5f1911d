"""The published 12x12 baseline as it was run, walls unseen: a transformer of 7,210,896 parameters.

    python -m hrm_jax.puzzles lattice --published --out data/pot
    python -m hrm_jax.train --config configs/pot_baseline.py --workdir runs/pot_baseline
    python -m hrm_jax.export --workdir runs/pot_baseline --out pot_baseline.npz
    python -m hrm_jax.solve --data data/pot --model pot_baseline.npz

Of the published 81 mazes it had 55.56 % accuracy and 44.44 % optimality in one run, 67.90 and 55.56 in
another. The floors of that measure, in which moves go through walls: a random walk 69.9 and 37.7, the
Manhattan walk 100 and 100 (docs/faults.md, P1 to P3). 50 epochs of 389 mazes, 650 updates, 500 of them
warm-up.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.published_lattice(c)
    return c
