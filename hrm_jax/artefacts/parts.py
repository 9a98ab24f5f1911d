"""Long work in parts: interrupted, the same request goes on where it was, and the result appears in one step.

The parts of OUT stand in OUT.parts until OUT is complete, with a note of the request that they belong to.
Other processes, on machines that share the disk, may make some of them before (`make`). A part is taken only
with its seal (`seal`); what is damaged, or another's, is said and made again.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import archive, files, json_file, workers
from hrm_jax.artefacts.archive import Arrays
from hrm_jax.artefacts.errors import RequestError, WriteError

NOTE, LOCK, SEAL = "request.json", "lock", "seal"


@contextlib.contextmanager
def work_folder(out: Path, request: dict[str, Any]) -> Generator[Path, None, None]:
    """The folder of the parts of `out`; the block ends by putting the whole result in the place of `out`.

    It is kept when the block is interrupted or fails, or the disk is full, to go on with, and removed when it
    ends or when it raises a `RequestError`: that request cannot be met. The parts of another request are
    refused, and parts that another process is making.
    """
    files.check_writable(out)
    ended = False
    try:
        with _begun(out, request) as folder:
            try:
                yield folder
                ended = True
            except RequestError as error:
                ended = not isinstance(error, WriteError)  # of a full disk
                raise
    finally:
        if ended:  # and the lock is closed: on a disk of the network, a file that is open cannot be removed
            shutil.rmtree(folder)


def make(
    out: Path, request: dict[str, Any], part: Callable[[int], Arrays], numbers: Sequence[int], jobs: int
) -> Generator[Arrays, None, None]:
    """The arrays of these parts of `out`, which from then on are there; other processes may make others."""
    with _begun(out, request, shared=True) as folder:
        yield from workers.ordered(functools.partial(_stored, folder, part), numbers, jobs)


def missing(out: Path, request: dict[str, Any], numbers: Iterable[int]) -> list[int]:
    """Which of these parts of `out` have no file; a `RequestError` where the parts of another request are."""
    folder = folder_of(out)
    if (folder / NOTE).exists():
        check_same(json_file.load(folder / NOTE, dict[str, Any], NOTE), request, folder, "was begun")
    return [number for number in numbers if not _place(folder, number).exists()]


def folder_of(out: Path) -> Path:
    """The folder of the parts of `out`."""
    return out.with_name(out.name + ".parts")


@contextlib.contextmanager
def _begun(out: Path, request: dict[str, Any], shared: bool = False) -> Iterator[Path]:
    """The folder of the parts of `out`, with this request's note; `shared`: others may make parts, too."""
    folder = folder_of(out)
    note = folder / NOTE
    files.check_writable(note)
    # Not the note is locked: of several that begin at once, each puts its own, the same, in its place.
    with files.alone(folder / LOCK, str(folder), shared):
        if note.exists():
            check_same(json_file.load(note, dict[str, Any], NOTE), request, folder, "was begun")
        else:
            with files.atomic_write(note) as file:
                json.dump(request, file)
        yield folder


def check_same(found: dict[str, Any], request: dict[str, Any], place: Path, how: str) -> None:
    """Refuse to mix two requests, naming what differs."""
    request = json.loads(json.dumps(request))  # tuples as the file has them
    # As texts: 0 is not False, nor 5 5.0.
    texts = [{key: json.dumps(value) for key, value in some.items()} for some in (found, request)]
    different = [key for key in found | request if len({text.get(key, "null") for text in texts}) > 1]
    if different:
        differences = ", ".join(f"{key} {found.get(key)!r}, now {request.get(key)!r}" for key in different)
        raise RequestError(
            f"{place} {how} with other settings ({differences}); remove it, or give another --out"
        )


def stream(folder: Path, make: Callable[[int], Arrays], jobs: int) -> Generator[Arrays, None, None]:
    """The arrays of `make(0)`, `make(1)`, … without end, in order; what `folder` has is not made again.

    `make` is pickled where there are several processes: a function of a module, or a partial of one.
    """
    return workers.ordered(functools.partial(_stored, folder, make), itertools.count(), jobs)


def _stored(folder: Path, make: Callable[[int], Arrays], number: int) -> Arrays:
    path = _place(folder, number)
    if path.exists():
        try:
            with archive.reading(path, "none", "damaged") as arrays:
                if str(arrays.pop(SEAL)) == seal(folder, number, arrays):
                    return arrays
                raise RequestError("another request's, or changed")
        except RequestError as error:
            print(f"{error}; it is made again", file=sys.stderr, flush=True)
    arrays = make(number)
    archive.write(path, arrays | {SEAL: np.array(seal(folder, number, arrays))}, np.savez)
    return arrays


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npz"


def seal(folder: Path, number: int, arrays: Arrays) -> str:
    """A digest of part `number`'s arrays, and of the request that the parts in `folder` belong to."""
    digest = hashlib.blake2b((folder / NOTE).read_bytes(), digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([number, name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
