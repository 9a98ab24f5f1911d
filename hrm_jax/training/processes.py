"""One run on several processes: joining them, and decisions that all of them must take alike."""

import jax
import numpy as np

from hrm_jax.artefacts.errors import RequestError


def join(distributed: bool, coordinator: str | None, count: int | None, index: int | None) -> None:
    """Make this process one of several: `index` of `count`, or as Slurm, MPI or the TPU pod say."""
    if coordinator:
        if count is None or index is None:
            raise RequestError("--coordinator needs --num_processes and --process_id")
        jax.distributed.initialize(coordinator, count, index)
    elif distributed:
        jax.distributed.initialize()


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return jax.process_index() == 0


def from_first(values: tuple[float, ...]) -> tuple[float, ...]:
    """What process 0 has, on every process."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return tuple(float(v) for v in multihost_utils.broadcast_one_to_all(np.array(values, np.float32)))


def any_of(value: bool) -> bool:
    """Whether `value` is true on any process. All must call this at the same moment."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array(value)).any())
