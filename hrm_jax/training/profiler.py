"""A profiler trace of a few steps of a run, to be read in Perfetto."""

import pathlib

import jax

WARM_UP = 10  # steps: compilation and the first steps stay out of the trace


class Trace:
    """A trace of `length` steps into <workdir>/profile, begun `WARM_UP` steps after `start`; 0: none."""

    def __init__(self, length: int, start: int, workdir: pathlib.Path):
        self._begin = start + WARM_UP if length else None
        self._end = start + WARM_UP + length
        self._folder = str(workdir / "profile")

    def after(self, step: int, scalars: dict) -> None:
        """To be called after every step."""
        if self._begin is None or step not in (self._begin, self._end):
            return
        jax.block_until_ready(scalars)
        if step == self._begin:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
        else:
            jax.profiler.stop_trace()
