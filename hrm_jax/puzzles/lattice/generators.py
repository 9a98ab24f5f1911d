"""The lattices of maze-dataset, drawn in NumPy: open uint8 [M, N], as in `worlds.lattice`.

`gridworld.lattice` draws the same laws by jax, written apart: each is the other's evidence.
"""

from collections.abc import Callable

import numpy as np

from hrm_jax.worlds import lattice
from hrm_jax.worlds.lattice import MOVES, OPPOSITE

SHARE = 0.4  # of edges that percolation opens


def dfs(rng: np.random.Generator, count: int, size: int, share: float = SHARE) -> np.ndarray:
    """Depth-first search, back to the cell that one came from; it starts off the last row and column."""
    del share
    maze, inside = np.arange(count), edge_ends(size)
    parent = np.full((count, size * size), -1)
    open = np.zeros((count, size * size), np.uint8)
    row, column = rng.integers(size - 1, size=(2, count))
    here = row * size + column
    parent[maze, here] = here
    for _ in range(2 * (size * size - 1)):
        ahead = inside[here]  # [M, 4]
        free = (ahead >= 0) & (parent[maze[:, None], ahead] < 0)
        move = np.where(free, rng.random(free.shape, np.float32), -1).argmax(axis=1)
        going = free.any(axis=1)
        to = np.where(going, ahead[maze, move], parent[maze, here])
        new, old, way = to[going], here[going], move[going]
        open[maze[going], old] |= (1 << way).astype(np.uint8)
        open[maze[going], new] |= (1 << np.array(OPPOSITE)[way]).astype(np.uint8)
        parent[maze[going], new] = old
        here = to
    return open


def kruskal(rng: np.random.Generator, count: int, size: int, share: float = SHARE) -> np.ndarray:
    """The edges in random order, each opened if it joins two parts: the least tree of random weights."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import minimum_spanning_tree

    del share
    cells, inside = size * size, edge_ends(size)
    one, move = np.nonzero(inside[:, [lattice.SOUTH, lattice.EAST]] >= 0)
    two = one + np.where(move == 0, size, 1)
    ends = [(end + cells * np.arange(count)[:, None]).reshape(-1) for end in (one, two)]
    weights = 1 + rng.random(len(ends[0]))
    tree = minimum_spanning_tree(coo_array((weights, ends), shape=(count * cells, count * cells)).tocsr())
    one, two = tree.nonzero()
    return _of_edges(one, two, count, size)


def wilson(rng: np.random.Generator, count: int, size: int, share: float = SHARE) -> np.ndarray:
    """A uniform spanning tree each: from every cell a walk to the tree, without its loops."""
    del share
    ways = [[int(cell) for cell in row if cell >= 0] for row in edge_ends(size)]
    one, two = zip(*(_tree(rng, ways, maze) for maze in range(count)), strict=True)
    return _of_edges(np.concatenate(one), np.concatenate(two), count, size)


def _tree(rng: np.random.Generator, ways: list[list[int]], maze: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges of one tree, between cells that are counted through all mazes."""
    after, known = [0] * len(ways), [True] + [False] * (len(ways) - 1)
    chances: list[float] = []
    for root in range(1, len(ways)):
        here = root
        while not known[here]:
            chances = chances or rng.random(1024).tolist()
            after[here] = ways[here][int(chances.pop() * len(ways[here]))]
            here = after[here]
        here = root
        while not known[here]:
            known[here], here = True, after[here]
    first = maze * len(ways)
    return first + np.arange(1, len(ways)), first + np.array(after[1:])


def percolation(rng: np.random.Generator, count: int, size: int, share: float = SHARE) -> np.ndarray:
    """Every edge open with the chance `share`."""
    down, right = rng.random((2, count, size, size)) < share
    down[:, -1], right[:, :, -1] = False, False
    return lattice.masks(np, down, right)


def dfs_percolation(rng: np.random.Generator, count: int, size: int, share: float = SHARE) -> np.ndarray:
    """A depth-first tree, and every other edge open with the chance `share`."""
    return dfs(rng, count, size) | percolation(rng, count, size, share)


def edge_ends(size: int) -> np.ndarray:
    """int [N, 4]: the cells that the moves lead to; -1 off the board."""
    row, column = np.divmod(np.arange(size * size), size)
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    there = np.array([[row + down, column + right] for down, right in steps])  # [4, 2, N]
    inside = ((there >= 0) & (there < size)).all(axis=1)
    return np.where(inside, there[:, 0] * size + there[:, 1], -1).T


def _of_edges(one: np.ndarray, two: np.ndarray, count: int, size: int) -> np.ndarray:
    """Mazes of edges between neighbours, counted through all mazes; each edge once."""
    open = np.zeros(count * size * size, np.uint8)
    for move in MOVES:
        for here, there in ((one, two), (two, one)):
            open[here[there - here == lattice.shifts(size)[move]]] |= np.uint8(1 << move)
    return open.reshape(count, size * size)


Generator = Callable[[np.random.Generator, int, int, float], np.ndarray]
GENERATORS: dict[str, Generator] = {
    "dfs": dfs,
    "kruskal": kruskal,
    "wilson": wilson,
    "percolation": percolation,
    "dfs_percolation": dfs_percolation,
}
