"""Lattice mazes: their `generators` and `law`, `build`, `files`, `answers` and `walks`."""
