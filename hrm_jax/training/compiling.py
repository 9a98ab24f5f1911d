"""What the compiled step of an experiment needs of a device: memory, collectives, kernels."""

import re
import time
from typing import Any, NamedTuple

import jax

from hrm_jax.artefacts.errors import RequestError, one_line
from hrm_jax.compiled import program, roofline
from hrm_jax.compiled.chips import Chip
from hrm_jax.compiled.roofline import Collective, Floor
from hrm_jax.training import sharding, step
from hrm_jax.training.experiment import Experiment

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Needs(NamedTuple):
    """Of one device."""

    arguments: int  # bytes of state and batch
    scratch: int  # bytes of all that is computed on the way
    seconds: float  # that compilation took
    sent: tuple[Collective, ...]
    floor: Floor | None  # None without a chip, or where the compiler found too little memory to go on

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return self.arguments + self.scratch

    def megabytes(self, looped: bool) -> float:
        """What is sent a step, inside loops or outside of them."""
        return sum(one.times * one.bytes for one in self.sent if one.looped == looped) / 1e6


class Laid(NamedTuple):
    """The update of an experiment, and the layouts of its arguments."""

    update: step.Update
    state: step.TrainState
    batch: Any


def laid(experiment: Experiment) -> Laid:
    """What is compiled of an experiment."""
    _, layout = step.initializer(experiment)
    batch = jax.eval_shape(lambda: experiment.task.batch(0))
    spread = jax.tree.map(lambda _: sharding.over_batch(experiment.mesh), batch)
    return Laid(step.make_update(experiment, layout), layout, sharding.laid_out(batch, spread))


def needs(found: Laid, chip: Chip | None = None) -> Needs:
    """Compile an update for the mesh that it is laid out on, which is of so many of a `chip`."""
    begun = time.monotonic()
    try:
        compiled = found.update.lower(found.state, found.batch).compile()
    except jax.errors.JaxRuntimeError as error:
        return Needs(0, _exhausted(error), time.monotonic() - begun, (), None)
    seconds, memory = time.monotonic() - begun, compiled.memory_analysis()
    arguments, scratch = (getattr(memory, f"{name}_size_in_bytes", 0) for name in ("argument", "temp"))
    if chip is None:
        return Needs(arguments, scratch, seconds, (), None)
    text = program.read(compiled.as_text())
    return Needs(arguments, scratch, seconds, tuple(roofline.collectives(text)), roofline.floor(text, chip))


def _exhausted(error: Exception) -> int:
    """The bytes that a compiler asks for, where it finds less: TPU's plans the memory itself."""
    text = one_line(error)
    asked = re.search(r"(?:Used |temporaries \()([\d.]+)([KMGT])", text)
    if "RESOURCE_EXHAUSTED" not in text or not asked:
        raise RequestError(f"the compiler gave up: {text[:300]}") from None
    return int(float(asked.group(1)) * UNITS[asked.group(2)])
