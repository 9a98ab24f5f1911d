"""One run on several processes: joining them, and decisions that all must take alike, to stop among them."""

import signal
import threading
from typing import Any, Self

import jax
import numpy as np
from jax.experimental import multihost_utils

from hrm_jax.artefacts.errors import RequestError


def join(distributed: bool, coordinator: str | None, count: int | None, index: int | None) -> None:
    """Make this process one of several: `index` of `count`, or as Slurm, MPI or the TPU pod say."""
    if coordinator:
        if count is None or index is None:
            raise RequestError("--coordinator needs --num_processes and --process_id")
        jax.distributed.initialize(coordinator, count, index)
    elif distributed:
        jax.distributed.initialize()


def from_first(values: tuple[float, ...]) -> tuple[float, ...]:
    """What process 0 has, on every process."""
    if jax.process_count() == 1:
        return values
    return tuple(float(v) for v in multihost_utils.broadcast_one_to_all(np.array(values, np.float32)))


def anywhere(flag: bool) -> bool:
    """Whether `flag` is set on any process; all must ask, and wait for one another."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


class StopSignal:
    """SIGTERM and Ctrl-C ask the loop to save and end.

    Within its `with` block, remembers the first SIGTERM or Ctrl-C; a second Ctrl-C kills. Outside the main
    thread, which alone hears signals, it hears none.
    """

    def __init__(self):
        self.name = ""

    def __enter__(self) -> Self:
        heard = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if heard else ()
        self._before = {number: signal.signal(number, self._remember) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not Python's

    def _remember(self, number: int, frame: Any) -> None:
        self.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def agreed(self, step: int, every: int) -> bool:
        """Whether to stop now. Several processes stop together, at a multiple of `every` steps."""
        if jax.process_count() == 1:
            return bool(self.name)
        return not step % every and anywhere(bool(self.name))
