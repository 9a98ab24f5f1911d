"""Sudokus: `solver`, `generate`, `symmetry`, `build` and `statistics`."""
