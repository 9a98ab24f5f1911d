"""Files that are whole or absent, whatever kills the program that writes them; paths as users name them."""

import contextlib
import fcntl
import os
import pathlib
import re
import secrets
from collections.abc import Iterable, Iterator
from typing import IO

from hrm_jax.artefacts.errors import RequestError, WriteError

ENDINGS = (".npz", ".safetensors", ".csv")  # of files that are named in requests
# What operating systems, office programs and editors leave in folders: hidden, lock and backup files, bins.
LITTER = re.compile(
    r"[.~#$@].*|.*[~#]|__macosx|lost\+found|thumbs\.db|desktop\.ini|icon\r|system volume.*", re.I
)


def expanded(text: str | os.PathLike) -> pathlib.Path:
    """The path that a user names: `~` is the home folder, everywhere."""
    return pathlib.Path(os.path.expanduser(text))


def listed(folder: pathlib.Path, suffix: str = "") -> list[pathlib.Path]:
    """What a folder holds, in order, but for `LITTER`; `suffix`: how names end, in letters of any case."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise RequestError(f"{folder}: cannot be listed ({error.strerror or error})") from None
    return [path for path in found if path.name.lower().endswith(suffix) and not LITTER.fullmatch(path.name)]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a new file next to `path` for writing; it takes the place of `path` when the block ends well.

    The new file's name is this writer's own: of two that write one file, the later one's is left, whole. Text
    is UTF-8. A full disk, like anything else that the system refuses, is a `WriteError`.
    """
    path = pathlib.Path(path)
    with _saying(path):
        _check_place(path)
        partial = _beside(path)
        try:
            with open(partial, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
                yield file
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike, reads: Iterable[str | os.PathLike | None] = ()) -> None:
    """Raise a `RequestError` where a file cannot be written, making its folder where it can.

    `reads`: files and folders that the same request reads, or writes besides; `path` may not be one of them,
    nor lie in one.
    """
    path = pathlib.Path(path)
    with _saying(path):
        for other in reads:
            if other and "\0" not in f"{path}{other}" and _is_within(path, other):
                raise RequestError(f"{path}: would be written over another file of this request ({other})")
        _check_place(path)
        partial = _beside(path)  # what `atomic_write` will do is done once, and undone
        open(partial, "x").close()
        partial.unlink()


@contextlib.contextmanager
def alone(path: str | os.PathLike, what: str, shared: bool = False) -> Iterator[None]:
    """Refuse `what` while another process has it, as a lock on this file tells; nothing is written to it.

    `shared`: with others that share it. The lock falls with the process, however that ends; processes that it
    started do not hold it.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        raise RequestError(f"{path}: not a file that can be written")
    with open(path, "a+") as file:
        try:
            fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise RequestError(f"{what}: another process is at work on it") from None
        yield


def is_meant(text: str) -> bool:
    """Whether a text is the name of a file, be it there or not, rather than of something built in."""
    return (
        bool(text)
        and exists(expanded(text))
        or ("=" not in text and (text.lower().endswith(ENDINGS) or os.sep in text))
    )


def exists(path: pathlib.Path) -> bool:
    """Whether there is such a file or folder; of no path that the system does not even take."""
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


@contextlib.contextmanager
def _saying(path: pathlib.Path) -> Iterator[None]:
    """Turn what the system complains of into one line about `path`."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path}: cannot be written ({error.strerror or error})") from None


def _is_within(path: pathlib.Path, other: str | os.PathLike) -> bool:
    return pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(other))


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"hrm_jax-{secrets.token_hex(8)}.partial")


def _check_place(path: pathlib.Path) -> None:
    if "\0" in str(path):
        raise RequestError(f"{path!r}: not a file that can be written (a NUL in its name)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"{path}: its folder cannot be made ({error.strerror})") from None
    # A device would be replaced by a file; a name that is too long raises here.
    if path.exists() and not path.is_file():
        raise RequestError(f"{path}: not a file that can be written")


def printable(name: object) -> str:
    """A name of the file system as it is shown: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(name))
