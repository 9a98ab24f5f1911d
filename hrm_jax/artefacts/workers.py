"""Processes that work for this one: they leave Ctrl-C to it, and none outlives it."""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from hrm_jax.artefacts.errors import RequestError

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 4  # items that every process may be ahead of the one that is waited for


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[Result, None, None]:
    """`map` by several processes, which never are more than a few items ahead; one job is this process.

    When it is closed early, items at work are finished and the others are dropped.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    items = iter(items)
    waiting: deque[concurrent.futures.Future[Result]] = deque()
    ends, end = multiprocessing.Pipe(duplex=False)
    pool = concurrent.futures.ProcessPoolExecutor(jobs, initializer=_begin, initargs=(ends, end))
    with end, ends, pool:
        try:
            with _ctrl_c_waits():
                waiting.extend(pool.submit(function, item) for item in itertools.islice(items, AHEAD * jobs))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
                yield result
        finally:
            for task in waiting:
                task.cancel()


def unordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[Result, None, None]:
    """The results as they come, by new processes, each of which gets `function` once, pickled.

    When it is closed early, as by Ctrl-C, the processes end at once. One that is killed is a `RequestError`.
    """
    ends, end = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")  # a fork would take half of jax along, where it is loaded
    pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _begin, (ends, None, function))
    try:
        with _ctrl_c_waits():
            tasks = [pool.submit(_work, item) for item in items]
        for task in concurrent.futures.as_completed(tasks):
            yield task.result()
    except BrokenProcessPool:
        why = "a process was ended from outside, perhaps for want of memory: fewer --jobs need less"
        raise RequestError(why) from None
    except BaseException:
        end.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        end.close()
        ends.close()


_function: Callable[[Any], Any]  # of a process that works


def _begin(ends: Connection, end: Connection | None, function: Callable[[Any], Any] | None = None) -> None:
    """Begin a process that ends when its parent closes `end`, of which a fork has a copy, or is killed."""
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if function:
        _function = function
    if end:
        end.close()

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            ends.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(item: Any) -> Any:
    return _function(item)


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Let Ctrl-C wait while processes are started: one that it ends before `_begin` takes a lock with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
