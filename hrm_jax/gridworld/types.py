"""What the simulator makes of episodes: training windows and scenes."""

from typing import NamedTuple

import jax


class Windows(NamedTuple):
    """Training windows in the published unit: positions and displacements over the world's size.

    A group is the set of obstacles that one example may look at: one, or a world's N.
    """

    history: jax.Array  # [G, N, T, 2] positions, oldest first
    target: jax.Array  # [G, N, 2] displacement of the step that follows
    weight: jax.Array  # [G] mean 1; 0 pads the last batch of an epoch


class Scenes(NamedTuple):
    """Training examples of whole worlds: what was seen, and what came after. Positions over size."""

    history: jax.Array  # [G, N, T, 2] observed, gaps filled, oldest first
    observed: jax.Array  # [G, N, T] float32: 1 observed, 0 filled in
    agent: jax.Array  # [G, T, 2]
    static: jax.Array  # [G, R, C] float32: 1 at static cells
    future: jax.Array  # [G, N, horizon, 2], the truth
