"""Recorded answers to puzzles: the file that `hrm_jax.solve --record` writes, read, checked, and packed.

Shapes: M models, K examples, T segments of thought, S cells of a puzzle, which is height x width of them in
rows. Tokens are those of the data set: its inputs, its labels, and after every segment a model's answer.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.reporting.arrays import pack, shaped

KINDS = ("maze", "sudoku", "arc")  # what the viewer can draw; any other it shows as numbers
PROBABILITY = 10_000  # chances go to the page in so many parts


@dataclass(frozen=True)
class PuzzleTraces:
    """The contents of the file."""

    path: Path
    kind: str  # of KINDS, or empty
    height: int
    width: int
    models: list[str]
    index: np.ndarray  # [K], the examples' places in the data set
    inputs: np.ndarray  # [K, S]
    labels: np.ndarray  # [K, S]
    predictions: np.ndarray  # [M, K, T, S]
    q_halt: np.ndarray  # float [M, K, T]; NaN where a model has no Q-head
    q_continue: np.ndarray  # float [M, K, T]; NaN where a model has no such head

    @property
    def segments(self) -> int:
        """How long the models thought."""
        return self.predictions.shape[2]

    def exact(self, ignored: int | None) -> np.ndarray:
        """Whether all cells that count are right, bool [M, K, T]; labels `ignored` do not count."""
        free = np.zeros(self.labels.shape, bool) if ignored is None else self.labels == ignored
        return ((self.predictions == self.labels[:, None]) | free[:, None]).all(axis=-1)

    def halts(self) -> np.ndarray:
        """Where a model would stop by itself, bool [M, K, T]; nowhere without a Q-head."""
        rival = np.where(np.isnan(self.q_continue), 0.0, self.q_continue)
        return self.q_halt > rival  # never of a NaN


def load(path: Path) -> PuzzleTraces:
    """Read the file; one that is anything else is a `RequestError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _read(path, arrays)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file; the report names it as its traces") from None
    except KeyError as error:
        raise RequestError(f"{path}: incomplete, {error.args[0]} is missing") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: not the traces of hrm_jax.solve ({error})") from None


def _read(path: Path, arrays: dict[str, np.ndarray]) -> PuzzleTraces:
    """The arrays, checked against each other; what does not fit is a ValueError."""
    kind, models = str(arrays["kind"]), [str(name) for name in np.atleast_1d(arrays["models"])]
    if len(set(models)) < len(models):
        raise ValueError(f"models names one twice: {', '.join(models)}")
    inputs = shaped(arrays, "inputs", (None, None))
    examples, cells = inputs.shape
    predictions = shaped(arrays, "predictions", (len(models), examples, None, cells))
    if 0 in predictions.shape:
        raise ValueError(f"predictions is {list(predictions.shape)}; 1 of each is needed")
    height, width = (int(shaped(arrays, side, ())) for side in ("height", "width"))
    if min(height, width) < 1 or height * width != cells:
        raise ValueError(f"{height} x {width} cells; inputs are of {cells}")
    return PuzzleTraces(
        path, kind if kind in KINDS else "", height, width, models,
        shaped(arrays, "index", (examples,)), inputs, shaped(arrays, "labels", (examples, cells)),
        predictions,
        *(_opinion(arrays, name, predictions.shape[:3], models) for name in ("q_halt", "q_continue")),
    )  # fmt: skip


def _opinion(arrays: dict, name: str, shape: tuple[int, ...], models: list[str]) -> np.ndarray:
    """Logits of the Q-head: numbers throughout, or none at all of a model."""
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; numbers {list(shape)} are needed")
    gaps = np.isnan(array).mean(axis=(1, 2))
    for model, share in zip(models, gaps, strict=True):
        if 0 < share < 1:
            raise ValueError(f"{name} of {model} is NaN in places; throughout, or nowhere")
    return array


# ---------------------------------------------------------------- packing for the page


def packed(traces: PuzzleTraces, ignored: int | None, trained: dict[str, int | None]) -> dict:
    """What puzzles.js reads; every array is what `arrays.pack` makes of it.

    `trained` has the number of segments that every model was trained with, where it is known.
    """
    exact, halts = traces.exact(ignored), traces.halts()
    return {
        "kind": traces.kind,
        "size": [traces.height, traces.width],
        "segments": traces.segments,
        "trained": [trained.get(name) for name in traces.models],
        "ignored": ignored,
        "models": traces.models,
        "examples": [
            {
                "id": int(traces.index[k]),
                "inputs": pack(traces.inputs[k], 0),
                "labels": pack(traces.labels[k], 0),
                "answers": [
                    {
                        "exact": _flags(exact[m, k]),
                        "halts": _flags(halts[m, k]),
                        "predictions": pack(traces.predictions[m, k], 0),
                        "halt": _chances(traces.q_halt[m, k]),
                        "rival": _chances(traces.q_continue[m, k]),
                    }
                    for m in range(len(traces.models))
                ],
            }
            for k in range(len(traces.index))
        ],
    }


def _flags(values: np.ndarray) -> str:
    return "".join("01"[int(value)] for value in values)


def _chances(logits: np.ndarray) -> dict | None:
    """Sigmoids of logits [T], packed; None where there are none."""
    if np.isnan(logits).any():
        return None
    chances = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))  # which never overflows
    return pack(np.round(PROBABILITY * chances), 0)
