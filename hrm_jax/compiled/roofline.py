"""The least time that a compiled step can take: kernel after kernel, as fast as arithmetic and memory allow.

A kernel takes the longer of FLOPs / peak rate and bytes / bandwidth, where every operand is read once, of
slices the slice alone, and every result is written once. Copies between a TPU's memories run beside its
kernels: they count for the bandwidth alone. What a device adds to that (launches, waiting for other devices,
tiles that are not full, data read again) is not in it: it is a floor, not a forecast.
"""

import collections
import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from hrm_jax.compiled.chips import Chip
from hrm_jax.compiled.program import Computation, Instruction, Program

# No kernels: names of what exists already, and the ends of what has begun.
SILENT = {"parameter", "tuple", "get-tuple-element", "constant", "bitcast", "after-all", "partition-id",
          "replica-id", "opt-barrier", "iota", "broadcast", "reshape"}  # fmt: skip
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
               "collective-broadcast", "ragged-all-to-all")  # fmt: skip
VIEWS = {"bitcast", "reshape"}  # of one array as another
SLICES = {"slice", "dynamic-slice", "gather"}


class Kernel(NamedTuple):
    """A kernel of a step."""

    kind: str  # "matmul", "attention", "fusion", "copy", …
    source: str  # the name that jax gave it
    flops: int  # of its products
    bytes: int  # that it moves from and to the device's memory
    times: int

    def seconds(self, chip: Chip) -> float:
        """Of all its runs, at least."""
        return self.times * max(self.flops / chip.flops, self.bytes / chip.bandwidth)

    @property
    def beside(self) -> bool:
        """It runs while others compute."""
        return self.kind.endswith("-start")


class Collective(NamedTuple):
    """A collective of a step."""

    kind: str
    source: str
    bytes: int  # of what it reads or of what it gives, whichever is more, on one device
    dtypes: tuple[str, ...]
    times: int
    looped: bool


class Floor(NamedTuple):
    """What a step must take on a chip."""

    seconds: float
    share: float  # of the time that its products would take alone, at the chip's rate
    flops: int  # of products
    bytes: int
    kernels: int


def floor(program: Program, chip: Chip) -> Floor:
    """Of all kernels of a program; not of its collectives."""
    found = list(kernels(program))
    flops, moved = (sum(k.times * getattr(k, name) for k in found) for name in ("flops", "bytes"))
    seconds = sum(kernel.seconds(chip) for kernel in found if not kernel.beside)
    seconds = max(seconds, moved / chip.bandwidth)
    share = flops / chip.flops / seconds if seconds else 0.0
    return Floor(seconds, share, flops, moved, sum(kernel.times for kernel in found))


def collectives(program: Program) -> list[Collective]:
    """All collectives, those in fusions too."""
    found: dict[Any, Collective] = {}
    for run in program.runs():
        one = run.instruction
        for inner, computation in ((one, run.computation), *program.inside(one)):
            if not (kind := _collective(inner)):
                continue
            # The TPU compiler runs one collective in pieces, in several fusions: they keep its channel.
            pieces = inner is not one
            place = (kind, inner.results, inner.told(r"channel_id=(\d+)")) if pieces else len(found)
            read = sum(computation[name].bytes for name in inner.operands if name in computation)
            given = inner.bytes - read if inner.opcode in _PAIRED else inner.bytes
            dtypes = tuple(sorted({array.dtype for array in inner.results if array.shape}))
            found[place] = Collective(kind, inner.source, max(read, given), dtypes, run.times, run.looped)
    return list(found.values())


_PAIRED = {"all-gather-start", "collective-permute-start"}  # they give their operands, too


def _collective(one: Instruction) -> str:
    """Its kind, or "" of another instruction."""
    kind = one.opcode.removesuffix("-start")
    return kind if kind in COLLECTIVES else ""


def kernels(program: Program) -> Iterator[Kernel]:
    """All kernels of a step but its collectives, in the order of the program."""
    for run in program.runs():
        one = run.instruction
        if one.opcode in SILENT or one.opcode.endswith("-done") or _collective(one):
            continue
        flops = products(program, one, run.computation)
        moved = _far(one)
        moved += sum(_far(run.computation[name]) for name in one.operands if name in run.computation)
        kind = "matmul" if flops else one.opcode
        if one.opcode == "fusion":
            moved = _fusion_bytes(program, one, run.computation)
        elif one.opcode.endswith("-start"):  # a copy to another memory: both ends are in its result
            arrays = [a for a in one.results if a.shape]
            moved = 0 if all(a.near for a in arrays) else min(a.bytes for a in arrays)
        elif one.opcode == "custom-call":
            target = one.told(r'custom_call_target="([^"]+)"')
            if target == "AllocateBuffer":
                continue
            kind = "attention" if "fmha" in target else "matmul" if flops else target
            if flops and kind == "matmul":  # the workspace is not what it has to move
                moved -= sum(a.bytes for a in one.results[1:] if not a.near)
        yield Kernel(kind, one.source, flops, moved, run.times)


def _far(one: Instruction) -> int:
    return sum(array.bytes for array in one.results if not array.near)


# ---------------------------------------------------------------- FLOPs


def products(program: Program, one: Instruction, computation: Computation) -> int:
    """FLOPs of the matrix products that an instruction is or fuses."""
    return _flops(one, computation) + sum(_flops(*inner) for inner in program.inside(one))


def _flops(one: Instruction, computation: Computation) -> int:
    if one.opcode == "custom-call":
        return _library_flops(one, computation)
    if one.opcode == "dot":
        axes = [int(n) for n in _attribute(one, "lhs_contracting_dims").split(",") if n]
        left = computation[one.operands[0]].results[0].shape
        return 2 * math.prod(one.results[0].shape) * math.prod(left[axis] for axis in axes)
    if one.opcode == "convolution":
        return _convolution_flops(one, computation)
    return 0


def _convolution_flops(one: Instruction, computation: Computation) -> int:
    """A TPU's products are convolutions, axes of a batch or of several matrices among their windows.

    So only what meets is counted: a tap that falls on padding, or between dilated entries, costs nothing.
    """
    found = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.text)
    assert found, one.text
    left, right, out = found.groups()
    image, kernel = (computation[name].results[0].shape for name in one.operands[:2])
    result = one.results[0].shape
    window = dict(re.findall(r"(\w+)=([\dx_\-]+)", _attribute(one, "window")))
    flops = 2 * result[out.index("b")] * result[out.index("f")] * kernel[right.index("i")]
    for place, label in enumerate(sorted(label for label in right if label.isdigit())):

        def of(name: str, default: str, place: int = place) -> str:
            return window[name].split("x")[place] if name in window else default

        low = int(of("pad", "0_0").split("_")[0])
        steps = int(of("stride", "1")), int(of("lhs_dilate", "1")), int(of("rhs_dilate", "1"))
        sizes = image[left.index(label)], kernel[right.index(label)], result[out.index(label)]
        flops *= _meetings(*sizes, low, *steps)
    return flops


@functools.cache
def _meetings(image: int, kernel: int, out: int, low: int, stride: int, spread: int, reach: int) -> int:
    """How many pairs of an output and a tap fall on an entry of the image, along one axis."""
    place = np.arange(out)[:, None] * stride + np.arange(kernel) * reach - low
    return int(((place >= 0) & (place < (image - 1) * spread + 1) & (place % spread == 0)).sum())


def _library_flops(one: Instruction, computation: Computation) -> int:
    target = one.told(r'custom_call_target="([^"]+)"')
    if "cublas" in target:
        axes = one.told(r'"lhs_contracting_dimensions":(\[[^\]]*\])')
        left = computation[one.operands[0]].results[0].shape
        inner = math.prod(left[int(axis)] for axis in json.loads(axes))
        return 2 * math.prod(one.results[0].shape) * inner
    if "fmha" in target:
        queries, keys = (computation[name].results[0].shape for name in one.operands[:2])
        batch, length, heads, size = queries
        pair = 2 * batch * heads * length * keys[1] * size
        return pair * (5 if "Backward" in target else 2)  # backwards the scores again, and four
    return 0


def _attribute(one: Instruction, name: str) -> str:
    found = re.search(rf"\b{name}=\{{([^}}]*)\}}", one.text)
    return found.group(1) if found else ""


# ---------------------------------------------------------------- bytes of a fusion


def _fusion_bytes(program: Program, one: Instruction, computation: Computation) -> int:
    """What a fusion reads of its operands, and writes.

    Of an operand that it only slices, the slices; one that it updates in place costs the update alone.
    """
    inner = program.computations[one.called[0]]
    uses = collections.defaultdict(list)
    for part in inner.values():
        for name in part.operands:
            uses[name].append(part)
    numbers = {int(p.told(r"^(\d+)")): p for p in inner.values() if p.opcode == "parameter"}
    read, kept = 0, 0
    for number, name in enumerate(one.operands):
        whole = _far(computation[name]) if name in computation else 0
        seen = _uses(uses, numbers[number].name) if number in numbers else []
        if seen and all(user.opcode in SLICES for _, user in seen):
            read += min(whole, sum(_reach(uses, user) for _, user in seen))
        elif seen and all(
            user.opcode == "dynamic-update-slice" and user.operands[0] == by for by, user in seen
        ):
            kept += whole
        else:
            read += whole
    written = _far(one) - kept
    for part in inner.values():
        if part.opcode == "dynamic-update-slice" and part.operands[1] in inner:
            written += inner[part.operands[1]].bytes if kept else 0
    return read + max(written, 0)


Uses = Mapping[str, list[Instruction]]


def _uses(uses: Uses, name: str) -> list[tuple[str, Instruction]]:
    """Who uses an array, or another view of it: (the name it is used by, the user)."""
    found = []
    for user in uses[name]:
        found += _uses(uses, user.name) if user.opcode in VIEWS else [(name, user)]
    return found


def _reach(uses: Uses, one: Instruction) -> int:
    """Bytes read through a slice, or through slices of it."""
    seen = _uses(uses, one.name)
    if seen and all(user.opcode in SLICES for _, user in seen):
        return min(one.bytes, sum(_reach(uses, user) for _, user in seen))
    return one.bytes
