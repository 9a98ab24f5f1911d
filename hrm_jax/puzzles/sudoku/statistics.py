"""What the sudokus of a data set are like."""

import numpy as np

from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.sudoku.build import BLANK


def statistics(puzzles: PuzzleSet, other: PuzzleSet | None = None) -> dict[str, float | int]:
    """What the sudokus of a split are like; ratings are those of our builder, where it made the set."""
    base = puzzles.first_of_group
    clues = (puzzles.inputs[base] != BLANK).sum(axis=1)
    found = {
        "puzzles (groups)": len(base),
        "examples": len(puzzles.inputs),
        "clues, mean": float(clues.mean()),
        "clues, least": int(clues.min()),
        "clues, most": int(clues.max()),
        "tokens right by copying the input, %": float(100 * clues.mean() / puzzles.meta.seq_len),
    }
    path = puzzles.folder / puzzles.split / "all__ratings.npy"
    if path.exists():
        rating = np.load(path)
        found |= {
            "backtracks, mean": float(rating.mean()),
            "backtracks, median": float(np.median(rating)),
            "backtracks, 95 %": float(np.quantile(rating, 0.95)),
            "solved by singles alone, %": float(100 * (rating == 0).mean()),
        }
    return found
