"""How right an answer is: exactly, leniently (by the rule of its kind) and token by token.

Axes: K examples, S cells; answers may have axes of their own before these, as the segments of a model.
"""

from typing import NamedTuple

import numpy as np

from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.dataset import PuzzleSet


class Scores(NamedTuple):
    """Of answers [..., K, S]."""

    exact: np.ndarray  # bool [..., K]: every label that counts is met
    lenient: np.ndarray | None  # bool [..., K]: right by the kind's own rule; None: only the label is right
    tokens: np.ndarray  # float64 [..., K]: share of the labels that count


def score(puzzles: PuzzleSet, index: np.ndarray | slice, answers: np.ndarray) -> Scores:
    """How right the answers [..., K, S] to the examples `index` [K] are.

    An example none of whose labels counts is right, as in the original; its tokens are 0.
    """
    labels = puzzles.labels[index]
    counts = np.ones_like(labels, bool)
    if puzzles.meta.ignore_label_id is not None:
        counts = labels != puzzles.meta.ignore_label_id
    right = answers == labels
    tokens = (right & counts).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1)
    exact = (right | ~counts).all(axis=-1)
    rule = kinds.of(puzzles).lenient
    return Scores(exact, None if rule is None else rule.right(puzzles, index, answers), tokens)
