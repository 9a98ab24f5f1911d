"""Data sets that several machines make: the parts of one (`build`) as commands, for any scheduler.

The machines share a disk. Each command makes some parts, in the folder where the builder itself keeps them;
the builder takes what is there, makes what is not, and so writes the same data set, to the bit.
"""

import argparse
import contextlib
import functools
import shlex
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from hrm_jax.artefacts import parts
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console import shell
from hrm_jax.console.parser import at_least, program

MOST = 10**6  # parts of a data set

Part = Callable[[dict[str, Any], int], dict[str, np.ndarray]]


def asked(
    options: argparse.Namespace, settings: dict[str, Any], part: Part, count: Callable[[], int]
) -> bool:
    """Whether `options` ask for parts and no data set (--list, --parts); then they are listed, or made.

    `count`: how many parts the data set takes, about.
    """
    if options.list is None and options.parts is None:
        return False
    at_least(options, list=(1, MOST))
    if options.parts and options.parts[1] >= MOST:
        raise RequestError(f"--parts {options.parts[0]}:…: A:B with B below {MOST:,}, both included")
    if options.out.exists():
        print(f"{options.out}: there already", file=sys.stderr)
    elif options.parts:
        _make(options, settings, part)
    else:
        _list(options, settings, count())
    return True


def _make(options: argparse.Namespace, settings: dict[str, Any], part: Part) -> None:
    first, last = options.parts
    numbers, puzzles = range(first, last + 1), 0
    made = parts.make(options.out, settings, functools.partial(part, settings), numbers, options.jobs)
    with contextlib.closing(made):
        for arrays in tqdm(made, "parts", len(numbers), unit="", disable=None):
            puzzles += len(arrays.get("inputs", ()))
    print(f"{parts.folder_of(options.out)}: parts {first} to {last}, {puzzles:,} puzzles")


def _list(options: argparse.Namespace, settings: dict[str, Any], count: int) -> None:
    stripped = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    stripped.add_argument("--list")
    words = stripped.parse_known_args(options.words)[1]
    each, lines = -(-count // options.list), []
    for first in range(0, count, each):
        numbers = range(first, min(first + each, count))
        if parts.missing(options.out, settings, numbers):
            lines.append(shell.line(("puzzles", *words, f"--parts={first}:{numbers[-1]}")))
    command = shlex.join([*program("puzzles").split(), *words])
    told = f"in {len(lines)} commands; when they are done" if lines else "are there; to put them together"
    print(f"{count:,} parts, about, {told}: {command}", file=sys.stderr)
    if lines:
        print("\n".join(lines))
