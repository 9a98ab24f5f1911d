"""npz archives: arrays by name, written whole or not at all; what cannot be read is one line."""

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError

Arrays = dict[str, np.ndarray]


def write(path: str | os.PathLike, arrays: Mapping[str, Any], save: Callable = np.savez_compressed) -> None:
    """Write the arrays, and texts as arrays of one text; `save` is NumPy's writer."""
    with files.atomic_write(path, "wb") as file:
        save(file, **arrays)


@contextlib.contextmanager
def reading(path: str | os.PathLike, absent: str, wrong: str) -> Iterator[Arrays]:
    """All arrays of an archive, for a block that makes something of them.

    What is wrong is a `RequestError` that names the file: it says `absent` of a file that is not there, which
    array or key is missing, `wrong` and why of a file that is damaged or that the block cannot make anything
    of, and else what the block complains of.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        yield arrays
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise RequestError(f"{path}: {absent}") from None
    except KeyError as error:
        raise RequestError(f"{path}: incomplete, {error.args[0]} is missing") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: {wrong} ({error})") from None
