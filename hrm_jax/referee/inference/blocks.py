"""What the NumPy passes share: work in cache-sized blocks on all cores."""

import concurrent.futures
import functools
import os
from collections.abc import Callable

import numpy as np
from threadpoolctl import ThreadpoolController

one_blas_thread = functools.partial(ThreadpoolController().limit, limits=1, user_api="blas")


def in_blocks(function: Callable[..., np.ndarray], count: int, *arrays: np.ndarray) -> np.ndarray:
    """`function` of arrays that have equally many rows, in `count` blocks of rows, at least one a core."""
    rows = len(arrays[0])
    count = min(max(count, os.cpu_count() or 1), rows)
    blocks = zip(*(np.array_split(a, count) for a in arrays), strict=True)
    # Each core has a block of its own: additional BLAS threads would compete for the same cores.
    with one_blas_thread(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(lambda block: function(*block), blocks)))
