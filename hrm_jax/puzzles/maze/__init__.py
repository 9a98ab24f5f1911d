"""Mazes: `grids`, their `law` and `build`."""
