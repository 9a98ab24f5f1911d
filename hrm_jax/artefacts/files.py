"""Files that are whole or absent, whatever kills the program that writes them."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import IO

from hrm_jax.artefacts.errors import RequestError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file next to `path` for writing; it takes the place of `path` when the block ends well."""
    path = pathlib.Path(path)
    check_writable(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, mode) as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def is_meant(text: str) -> bool:
    """Whether a text is the name of a file, be it there or not, rather than of something built in."""
    return pathlib.Path(text).exists() or ("=" not in text and (text.endswith(".npz") or os.sep in text))


def check_writable(path: pathlib.Path) -> None:
    """Raise a `RequestError` where a file cannot be written, making its folder where it can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path}: its folder cannot be made ({error.strerror})") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise RequestError(f"{path}: not a file that can be written")
