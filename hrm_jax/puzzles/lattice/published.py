"""The 470 mazes of the published Pointer-over-Heads runs, as facts: open edges and ends, bit by bit.

They are what maze-dataset 1.4.2 (with muutils 0.8.12) makes in a virtual environment of its own by

    for split, asked, seed in ("train", 500, 42), ("test", 100, 10042):
        config = MazeDatasetConfig(name=split, grid_n=12, n_mazes=3 * asked, seed=seed,
                                   maze_ctor=LatticeMazeGenerators.gen_dfs)
        found = MazeDataset.from_config(config, load_local=False, save_local=False)
        found.filter_by.path_length(min_length=50).save(f"{split}.zanj")

and `hrm-jax puzzles lattice --zanj train.zanj test.zanj --out FOLDER` builds the same data set of the files.
"""

import importlib.resources

import numpy as np

from hrm_jax.puzzles.lattice.law import Mazes
from hrm_jax.worlds import lattice

SIZE = 12


def load(split: str) -> Mazes:
    """The 389 mazes of train, or the 81 of test."""
    file = importlib.resources.files("hrm_jax.puzzles.lattice") / "published.npz"
    with file.open("rb") as opened, np.load(opened) as arrays:
        edges, ends = arrays[f"{split}_edges"], arrays[f"{split}_ends"].astype(int)
    down, right = np.unpackbits(edges, axis=-1, count=SIZE).astype(bool).swapaxes(0, 1)
    return Mazes(lattice.masks(np, down, right), *ends.T)
