"""Progress of long work: a live bar on stderr where that is a terminal, and a line at the end."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

Progress = Callable[[int, int], None]  # (done, in all)


@contextlib.contextmanager
def watch(name: str, unit: str, total: int, closing: bool = True) -> Iterator[Progress]:
    """Yield a function to call with (done, in all); `closing` says at the end how long it took."""
    began = time.perf_counter()
    with tqdm(desc=name, unit=f" {unit}", total=total, leave=False, disable=None) as bar:

        def show(done: int, in_all: int) -> None:
            bar.total = in_all
            bar.update(done - bar.n)

        yield show
    if closing:
        say_took(name, unit, total, time.perf_counter() - began)


def say_took(name: str, unit: str, total: int, seconds: float) -> None:
    """A line at the end of what was long."""
    tqdm.write(f"{name}: {total:,} {unit} in {seconds:.1f} s", file=sys.stderr)
    sys.stderr.flush()
