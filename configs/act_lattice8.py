"""HRM-ACT on 8x8 lattice mazes, to meet Pointer over Heads on the same ones, in minutes on 2 CPU cores.

    python -m hrm_jax.puzzles lattice --size 8 --train 40000 --test 2000 --out data/lattice8
    python -m hrm_jax.train --config configs/act_lattice8.py --workdir runs/lattice8
    python -m hrm_jax.export --workdir runs/lattice8 --out hrm_act.npz
    python -m hrm_jax.solve --data data/lattice8 --model hrm_act.npz --model poh=runs/poh8/model.npz

A move for every cell is asked, as of configs/poh.py:8. Two segments of eight modules of two blocks, of which
every cell hears its four neighbours (configs/act_city8.py).
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.hearing_puzzle(c, "data/lattice8", vocabulary=49, columns=8)
    c.steps = 2_000
    c.act.segments = c.act.least = 2
    c.model.puzzle_width = 0
    return c
