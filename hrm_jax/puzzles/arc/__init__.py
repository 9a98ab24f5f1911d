"""ARC: `grids`, public `files`, `build` and `voting`."""
