"""Mazes: `grids`, their `law`, `build` and `scoring`."""
