"""Answers to puzzles, asked for once each and judged after every segment.

An answer may be right exactly, leniently (by the rule of its kind), and token by token.
Axes: N, K examples, T segments, S cells.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrm_jax.artefacts import answers_file
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.judging import keeping
from hrm_jax.judging.solvers import Solver
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.puzzles.kinds import SEGMENTS


class Scores(NamedTuple):
    """Of answers [..., K, S]."""

    exact: np.ndarray  # bool [..., K]: every label that counts is met
    lenient: np.ndarray | None  # bool [..., K]: right by the kind's own rule; None: only the label is right
    tokens: np.ndarray  # float64 [..., K]: share of the labels that count


@dataclass(frozen=True)
class Result:
    """How N examples were answered."""

    exact: np.ndarray  # bool [N]
    lenient: np.ndarray | None  # bool [N]
    tokens: np.ndarray  # float64 [N]
    segments: list[dict[str, float]]  # means after each segment; empty of a single one without Q values
    answers: np.ndarray | None  # uint8 [N, S], if kept
    q_halt: np.ndarray  # float32 [N] at the end
    measures: dict[str, np.ndarray]  # float64 [N]: what else the kind measures, NaN where there is nothing

    def of(self, chosen: np.ndarray) -> "Result":
        """That of the examples `chosen` [N] alone, without the segments."""
        arrays = {name: array[chosen] for name, array in vars(self).items() if isinstance(array, np.ndarray)}
        measures = {name: values[chosen] for name, values in self.measures.items()}
        return replace(self, **arrays, measures=measures, segments=[])


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


def batches(
    solver: Solver, puzzles: PuzzleSet, index: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pieces [K] of `index` with their answers [T, K, S] and Q values [T, K, 2]; always calls of one size."""
    identifiers, size = puzzles.puzzle_of_example, min(solver.batch, len(index))
    for first in range(0, len(index), size):
        piece = index[first : first + size]
        padding = size - len(piece)
        inputs = np.pad(puzzles.inputs[piece], ((0, padding), (0, 0)), constant_values=puzzles.meta.pad_id)
        blank = puzzles.meta.blank_identifier_id
        names = np.pad(identifiers[piece], (0, padding), constant_values=blank)
        answers, q = solver.answer(inputs, names)
        yield piece, answers[:, : len(piece)], q[:, : len(piece)]


def judge(
    solver: Solver,
    puzzles: PuzzleSet,
    count: int,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Ask for the first `count` examples, each once; `keep` the answers."""
    pieces, kept = [], []
    sums: dict[str, np.ndarray] = {}
    for piece, answers, q in batches(solver, puzzles, np.arange(count)):
        scores = score(puzzles, piece, answers)
        for name, values in _measures(scores, q).items():
            sums[name] = sums.get(name, np.float64(0)) + values.sum(
                axis=1, dtype=np.float64
            )  # over examples: [T]
        last = (scores.exact[-1], scores.lenient if scores.lenient is None else scores.lenient[-1])
        more = measure(puzzles, piece, answers[-1], q)
        pieces.append((*last, scores.tokens[-1], q[-1, :, 0].astype(np.float32), more))
        if keep:
            kept.append(answers[-1].astype(np.uint8))
        if progress:
            progress(int(piece[-1]) + 1, count)
    exact, lenient, tokens, q_halt, more = zip(*pieces, strict=True)
    means = {name: (total / count).tolist() for name, total in sums.items()}
    by_segment = [dict(zip(means, row, strict=True)) for row in zip(*means.values(), strict=True)]
    return Result(
        np.concatenate(exact),
        None if lenient[0] is None else np.concatenate(lenient),
        np.concatenate(tokens),
        by_segment if len(by_segment) > 1 or "halted" in means else [],
        np.concatenate(kept) if keep else None,
        np.nan_to_num(np.concatenate(q_halt)),
        {name: np.concatenate([part[name] for part in more]) for name in more[0]},
    )


def measure(
    puzzles: PuzzleSet, index: np.ndarray, answers: np.ndarray, q: np.ndarray
) -> dict[str, np.ndarray]:
    """What the kind measures, [K] each, of answers [K, S] with Q values [T, K, 2]; NaN: no such number."""
    measuring = kinds.of(puzzles).measuring
    if measuring is None:
        return {}
    stopped = np.minimum(1 + (~_halted(q)).sum(axis=0), len(q))
    stopped = np.where(np.isnan(q[..., 0]).any(axis=0), np.nan, stopped)
    return measuring.of(puzzles, index, answers) | {SEGMENTS: stopped}


def _halted(q: np.ndarray) -> np.ndarray:
    """bool [T, K]: where the Q head has said stop by then; without a value for continuing, where above 0."""
    return np.logical_or.accumulate(q[..., 0] > np.nan_to_num(q[..., 1]), axis=0)


def _measures(scores: Scores, q: np.ndarray) -> dict[str, np.ndarray]:
    """What is averaged over examples after each segment: [T, K] each, from Q values [T, K, 2]."""
    found = {"exact": scores.exact}
    if scores.lenient is not None:
        found["lenient"] = scores.lenient
    found["tokens"] = scores.tokens
    if not np.isnan(q[..., 0]).any():
        found |= {"halted": _halted(q), "q_accuracy": (q[..., 0] >= 0) == scores.exact}
    return found


# ---------------------------------------------------------------- recording


def choose(solved: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` informative examples of solved [M, N], in order.

    Those on which the models differ most come first; of those alike, solved and unsolved ones by turns.
    """
    share = solved.mean(axis=0)
    turn = np.where(share > 0.5, np.cumsum(share > 0.5), np.cumsum(share < 0.5))
    return np.sort(np.lexsort((turn, np.abs(share - 0.5)))[:count])


def record(
    path: Path,
    puzzles: PuzzleSet,
    solvers: Mapping[str, Solver],
    index: np.ndarray,
    judged: Mapping[str, np.ndarray],
) -> None:
    """Write what the solvers answer to the examples `index` [K] after every segment.

    The last answer of a solver that has fewer segments than others stays. Examples that are not exact as they
    were when `judged` [N], in other batches, are left out: beside their report they would be a contradiction.
    """
    recorded = []
    for solver in solvers.values():
        _, *columns = zip(*batches(solver, puzzles, index), strict=True)
        recorded.append([np.concatenate(pieces, axis=1) for pieces in columns])
    segments = range(max(len(answers) for answers, _ in recorded))
    longest = [[array[np.minimum(segments, len(array) - 1)] for array in pair] for pair in recorded]
    predictions, q = (np.stack(column).swapaxes(1, 2) for column in zip(*longest, strict=True))
    exact = score(puzzles, index, predictions[:, :, -1]).exact
    same = (exact == np.stack([judged[name][index] for name in solvers])).all(axis=0)
    keeping.say_left_out("examples", int((~same).sum()), len(index))
    index, predictions, q = index[same], predictions[:, same], q[:, same]
    answers = Answers(
        kind=puzzles.kind,
        height=puzzles.height,
        width=puzzles.width,
        models=list(solvers),
        index=index,
        inputs=puzzles.inputs[index],
        labels=puzzles.labels[index],
        puzzle_of_example=puzzles.puzzle_of_example[index],
        predictions=predictions.astype(np.uint8),
        q_halt=q[..., 0].astype(np.float32),
        q_continue=q[..., 1].astype(np.float32),
    )
    answers_file.write(path, answers)
