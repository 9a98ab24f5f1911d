"""Mazes: `grids`, their `law`, `build`, `scoring` and `statistics`."""
