"""Hierarchical reasoning models in JAX/Flax, and the referee that judges them with NumPy alone."""

__version__ = "0.2.0"
