"""The published CSV files of mazes and sudokus (the "hub"): source, question, answer, rating."""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError

COLUMNS = ("source", "question", "answer", "rating")


def read_csv(path: Path, alphabet: dict[str, int], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of questions and answers uint8 [N, S], ratings int32 [N]. A space is a cell, never stripped."""
    table = np.zeros(256, np.uint8)
    for sign, token in alphabet.items():
        table[ord(sign)] = token
    texts: dict[str, list[str]] = {"question": [], "answer": []}
    ratings: list[int] = []
    try:
        with open(path, newline="", encoding="ascii") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise RequestError(
                    f"{path} lacks the columns {', '.join(missing)}; wanted: {','.join(COLUMNS)}"
                )
            for row in reader:
                for name, rows in texts.items():
                    if len(row[name] or "") != length:
                        raise RequestError(
                            f"{path} line {reader.line_num}: the {name} has {len(row[name] or '')} signs, "
                            f"not {length}"
                        )
                    rows.append(row[name])
                ratings.append(_rating(row["rating"], path, reader.line_num))
    except FileNotFoundError:
        raise RequestError(f"{path} is missing; --csv takes a folder with train.csv and test.csv") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if not ratings:
        raise RequestError(f"{path} has no rows")
    tokens = []
    for name, rows in texts.items():
        signs = np.frombuffer("".join(rows).encode(), np.uint8).reshape(-1, length)
        tokens.append(table[signs])
        wrong = np.argwhere(tokens[-1] == 0)
        if len(wrong):
            row, column = wrong[0]
            raise RequestError(
                f"{path}: the {name} of row {row + 1} has the sign {chr(signs[row, column])!r}; "
                f"allowed: {''.join(alphabet)!r}"
            )
    return tokens[0], tokens[1], np.array(ratings, np.int32)


def _rating(text: str | None, path: Path, line: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise RequestError(f"{path} line {line}: the rating is {text!r}; an integer is expected") from None


def rows(
    options: argparse.Namespace,
    split: str,
    alphabet: dict[str, int],
    wrong: Callable[[np.ndarray, np.ndarray], np.ndarray],
    fault: str,
) -> dict[str, np.ndarray]:
    """Inputs, labels and ratings of the rows of one split's file that the options ask for.

    Refused is a file with a row that is `wrong` (of tokens [N, S] each: bool [N]), with what is its `fault`.
    """
    path = options.csv / f"{split}.csv"
    inputs, labels, rating = read_csv(path, alphabet, options.size**2)
    low, high = getattr(options, "rating", None) or (0, 2**31 - 1)
    kept = np.flatnonzero((rating >= low) & (rating <= high))
    if not len(kept):
        raise RequestError(f"{path}: no row is rated from {low} to {high}")
    faulty = wrong(inputs, labels)
    if faulty.any():
        raise RequestError(f"{path}: row {faulty.argmax() + 1} {fault}")
    if split == "train" and options.subsample is not None:
        if options.subsample > len(kept):
            raise RequestError(f"--subsample {options.subsample}: {path} has {len(kept)} rows")
        rng = np.random.default_rng([options.seed, 0x5B])
        kept = kept[np.sort(rng.choice(len(kept), options.subsample, replace=False))]
    return {"inputs": inputs[kept], "labels": labels[kept], "rating": rating[kept]}
