"""npz archives: arrays by name, written whole or not at all; what cannot be read is one line.

Nothing in a file is believed before it is read: what it says of its size is checked against a bound and
against the file, so that no array is made for numbers that are not there; pickled objects are never loaded.
"""

import contextlib
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, one_line

Arrays = dict[str, np.ndarray]
Reader = Callable[[Path, str, str], Arrays]  # (path, what to say if it is absent, if it is damaged)
LARGEST = 2**32  # bytes that compressed arrays of a file may come to; others are as large as their file
LARGEST_EMPTY = 2**24  # what the axes of an array without entries may come to, those of size 0 apart
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def write(path: str | os.PathLike, arrays: Mapping[str, Any], save: Callable = np.savez_compressed) -> None:
    """Write the arrays, and texts as arrays of one text; `save` is NumPy's writer."""
    with files.atomic_write(path, "wb") as file:
        save(file, **arrays)


def check_names(arrays: Arrays, known: Container[str], what: str) -> None:
    """Refuse arrays that nobody would read, of an archive called `what`."""
    if strange := [name for name in arrays if name not in known]:
        raise RequestError(f'holds "{strange[0]}", which no {what} has')


def read(path: Path, absent: str, wrong: str) -> Arrays:
    """All arrays of an archive."""
    if not files.exists(path):
        raise RequestError(absent)
    if not path.is_file():  # a folder, or a pipe that nobody may ever write to
        raise RequestError(f"{wrong} (not a file)")
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            _check_sizes(members, path.stat().st_size)
            return {_name(member): _array(file, member) for member in members}
    except RequestError:
        raise
    except Exception as error:  # zipfile, zlib, struct and NumPy have a type of their own for any damage
        raise RequestError(f"{wrong} ({one_line(error)})") from None


@contextlib.contextmanager
def reading(path: str | os.PathLike, absent: str, wrong: str, read: Reader = read) -> Iterator[Arrays]:
    """All arrays of an archive, or of what else `read` reads, for a block that makes something of them.

    What is wrong is a `RequestError` that names the file: it says `absent` of a file that is not there, which
    array or key is missing, `wrong` and why of a file that is damaged or that the block cannot make anything
    of, and else what the block complains of.
    """
    try:
        yield read(Path(path), absent, wrong)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    except KeyError as error:
        raise RequestError(f"{path}: incomplete, {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise RequestError(f"{path}: {wrong} ({one_line(error)})") from None


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse a directory that lists a name twice, or more than there can be."""
    name, times = Counter(member.filename for member in members).most_common(1)[0] if members else ("", 0)
    if times > 1:
        raise RequestError(f'it holds "{name}" {times} times')
    packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
    unpacked = sum(member.file_size for member in packed)
    if unpacked > LARGEST:
        raise RequestError(f"it unpacks to {unpacked:,} bytes; at most {LARGEST:,} are read")
    whole = all(member.file_size == member.compress_size for member in members if member not in packed)
    if not whole or sum(member.compress_size for member in members) > size:
        raise ValueError("arrays that are larger than the file")


def _name(member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise ValueError(f'"{member.filename}" is no array')
    return member.filename.removesuffix(".npy")


def _array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as stream:
        _check_header(stream, member)
    with file.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Refuse an array whose shape and type do not come to the bytes that follow."""
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{member.filename} is of version {version}")
    shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise RequestError(f"{member.filename} holds pickled objects, which are never loaded")
    if math.prod(shape) * dtype.itemsize != member.file_size - stream.tell() or min(shape, default=0) < 0:
        raise ValueError(f"{member.filename} is not {list(shape)} of {dtype}, as it says")
    if math.prod(size for size in shape if size) > LARGEST_EMPTY and not math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename} is {list(shape)} of {dtype}, of nothing")
