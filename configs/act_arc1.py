"""HRM on ARC-AGI-1 with 1,000 augmentations a task, the official settings: 27,276,290 parameters.

    python -m hrm_jax.puzzles arc --source FOLDER --out data/arc1
    python -m hrm_jax.train --config configs/act_arc1.py --workdir runs/act_arc1
    python -m hrm_jax.solve --data data/arc1 --model model.npz     (votes over the augmentations)

100,000 epochs of one augmentation of every task, 768 examples an update; the number of updates follows from
the data. Published: 40.3 % of ARC-AGI-1's public evaluation in two tries (8 GPUs, 24 hours). The puzzle
table, a row for every augmentation, is counted apart, and SignSGD trains the rows that an update reads.
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.arc(c, "data/arc1")
    return c
