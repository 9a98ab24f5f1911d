"""Processes that work for this one, and end when it does."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.synchronize import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def unordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[Result, None, None]:
    """The results of `function` as they come, by so many new processes; `function` and items are pickled.

    When it is closed early, as Ctrl-C does, what is at work ends at once.
    """
    context = multiprocessing.get_context("spawn")  # a fork would take half of jax along, where it is loaded
    stop = context.Event()
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, context, initializer=end_with, initargs=(os.getpid(), stop)
    )
    ended = False
    try:
        with _not_for_children():
            tasks = [pool.submit(function, item) for item in items]
        for task in concurrent.futures.as_completed(tasks):
            yield task.result()
        ended = True
    finally:
        if not ended:
            stop.set()
        pool.shutdown(cancel_futures=True)


def end_with(parent: int, stop: Event | None = None) -> None:
    """End this process when its parent was killed, or sets `stop`."""

    def watch() -> None:
        while os.getppid() == parent and not (stop and stop.is_set()):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _not_for_children() -> Iterator[None]:
    """Ctrl-C is this process's business: those that are started here never hear of it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
