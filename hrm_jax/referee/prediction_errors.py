"""How far predicted positions are from the truth, by steps ahead, in memory that does not grow."""

from collections.abc import Sequence

import numpy as np


class ErrorCounts:
    """Counts of prediction errors by steps ahead: their quantiles in memory that does not grow."""

    WIDTH = 0.02  # cells a bin; the last bin holds what is beyond
    BINS = 2000

    def __init__(self, horizon: int):
        self.counts = np.zeros((horizon, self.BINS + 1), np.int64)
        self.sums = np.zeros(horizon)

    def add(self, predicted: np.ndarray, future: np.ndarray) -> None:
        """Count the distances between positions [A, T, N, 2], in cells."""
        error = np.sqrt(np.sum((predicted - future) ** 2, axis=-1)).swapaxes(0, 1)
        self.sums += error.sum(axis=(1, 2))
        bins = np.minimum(error / self.WIDTH, self.BINS).astype(np.int64).reshape(len(error), -1)
        bins += np.arange(len(error))[:, None] * (self.BINS + 1)
        self.counts += np.bincount(bins.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def summary(self, within: Sequence[float] = (0.2, 0.5, 1.0)) -> dict | None:
        """Mean, median and 90 % quantile by steps ahead, and the share nearer than `within`, in cells."""
        total = self.counts.sum(axis=1, keepdims=True)
        if not total.size or not total.all():
            return None
        share = np.cumsum(self.counts, axis=1) / total
        return {
            "mean": (self.sums / total[:, 0]).round(4).tolist(),
            **{
                name: ((share >= q).argmax(axis=1) * self.WIDTH + self.WIDTH / 2).round(3).tolist()
                for name, q in (("median", 0.5), ("p90", 0.9))
            },
            "within": {str(d): share[:, round(d / self.WIDTH) - 1].round(5).tolist() for d in within},
        }
