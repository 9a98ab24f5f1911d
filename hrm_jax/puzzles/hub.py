"""The published CSV files of mazes and sudokus (the "hub"): source, question, answer, rating."""

import csv
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


def subsample(rows: int, count: int | None, seed: int, path: Path) -> np.ndarray:
    """Indices of the rows to keep, in order: all, or `count` of them drawn without replacement."""
    if count is None:
        return np.arange(rows)
    if count > rows:
        raise RequestError(f"--subsample {count}: {path} has {rows} rows")
    return np.sort(np.random.default_rng([seed, 0x5B]).choice(rows, count, replace=False))
