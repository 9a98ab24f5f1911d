"""SIGTERM and Ctrl-C ask the loop to save and end."""

import signal
from typing import Any, Self

import jax

from hrm_jax.training import processes


class StopSignal:
    """Within its `with` block, remembers the first SIGTERM or Ctrl-C; a second Ctrl-C kills."""

    def __init__(self):
        self.name = ""

    def __enter__(self) -> Self:
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._remember) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: Any) -> None:
        self.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def agreed(self, step: int, every: int) -> bool:
        """Whether to stop now. Several processes stop together, at a multiple of `every` steps."""
        if jax.process_count() > 1 and step % every:
            return False
        return processes.any_of(bool(self.name))
