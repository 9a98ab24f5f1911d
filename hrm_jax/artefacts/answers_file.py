"""report.traces.npz of `hrm_jax.solve --record`: answers to puzzles after every segment; writer and reader.

Shapes: M models, K examples, T segments, S cells of a puzzle, which is height x width of them in rows. Tokens
are those of the data set: its inputs, its labels, and a model's answers.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.traces_file import ABSENT, shaped

SHAPES = {"inputs": "K S", "predictions": "M K T S", "height": "", "width": "", "index": "K", "labels": "K S"}
IDENTIFIERS = "puzzle_of_example"


@dataclass(frozen=True, eq=False)
class Answers:
    """The contents of the file: an array for every field, with its name."""

    models: list[str]
    index: np.ndarray  # [K], the examples' places in the data set
    inputs: np.ndarray  # [K, S]
    labels: np.ndarray  # [K, S]
    puzzle_of_example: np.ndarray  # [K], puzzle identifiers; 0 in older files, which do not say them
    predictions: np.ndarray  # [M, K, T, S]
    q_halt: np.ndarray  # float [M, K, T]; NaN where a model has no Q head
    q_continue: np.ndarray  # float [M, K, T]; NaN where a model has no such head
    kind: str  # of puzzles.kinds.KINDS, or empty
    height: int
    width: int

    @property
    def segments(self) -> int:
        """After how many segments answers were recorded."""
        return self.predictions.shape[2]

    def exact(self, ignored: int | None) -> np.ndarray:
        """Whether all cells that count are right, bool [M, K, T]; labels `ignored` do not count."""
        free = np.zeros(self.labels.shape, bool) if ignored is None else self.labels == ignored
        return ((self.predictions == self.labels[:, None]) | free[:, None]).all(axis=-1)

    def halts(self) -> np.ndarray:
        """Where a model would stop by itself, bool [M, K, T]; nowhere without a Q head."""
        threshold = np.where(np.isnan(self.q_continue), 0.0, self.q_continue)
        return self.q_halt > threshold  # never of a NaN


def write(path: Path, answers: Answers) -> None:
    """Write the file, whole or not at all."""
    archive.write(path, {field.name: getattr(answers, field.name) for field in fields(Answers)})


def load(path: Path) -> Answers:
    """Read the file; one that is anything else is a `RequestError`."""
    with archive.reading(path, ABSENT, "not the traces of hrm_jax.solve") as arrays:
        return _read(arrays)


def _read(arrays: Arrays) -> Answers:
    """The arrays, checked against each other; what does not fit is a ValueError."""
    models = [str(name) for name in np.atleast_1d(arrays["models"])]
    if len(set(models)) < len(models):
        raise ValueError(f"models names one twice: {', '.join(models)}")
    sizes = {"M": len(models)}
    found = {name: shaped(arrays, name, shape, sizes) for name, shape in SHAPES.items()}
    unsaid = {IDENTIFIERS: np.zeros(sizes["K"], np.int32)}
    found[IDENTIFIERS] = shaped(unsaid | arrays, IDENTIFIERS, "K", sizes)
    if found[IDENTIFIERS].min(initial=0) < 0:
        raise ValueError(f"{IDENTIFIERS} has numbers below 0")
    height, width, predictions = int(found["height"]), int(found["width"]), found["predictions"]
    if 0 in predictions.shape:
        raise ValueError(f"predictions is {list(predictions.shape)}; 1 of each is needed")
    if min(height, width) < 1 or height * width != sizes["S"]:
        raise ValueError(f"{height} x {width} cells; inputs are of {sizes['S']}")
    q_values = {
        name: _q_values(arrays, name, predictions.shape[:3], models) for name in ("q_halt", "q_continue")
    }
    described = {"models": models, "kind": str(arrays["kind"]), "height": height, "width": width}
    contents: dict[str, Any] = found | q_values | described
    return Answers(**contents)


def _q_values(arrays: Arrays, name: str, shape: tuple[int, ...], models: list[str]) -> np.ndarray:
    """Logits of the Q head: numbers throughout, or none at all of a model."""
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != "f" or np.isinf(array).any():
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; numbers {list(shape)} are needed")
    if np.isinf(array).any():
        raise ValueError(f"{name} is infinite in places")
    gaps = np.isnan(array).mean(axis=(1, 2))
    for model, share in zip(models, gaps, strict=True):
        if 0 < share < 1:
            raise ValueError(f"{name} of {model} is NaN in places; throughout, or nowhere")
    return array
