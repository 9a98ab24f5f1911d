"""ARC: `grids`, public `files`, `frames`, `build` and `voting`."""
