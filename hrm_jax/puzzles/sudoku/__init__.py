"""Sudokus: `solver`, `symmetry` and `build`."""
