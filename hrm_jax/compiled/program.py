"""An optimised XLA program, read from its text: instructions, and how often the loops run each of them.

The text is `jax.stages.Compiled.as_text()`; the CPU, GPU and TPU compilers write it alike.
"""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f8e4m3fn": 1, "f8e5m2": 1, "c64": 8, "c128": 16}
BYTES |= {f"{kind}{bits}": bits // 8 for kind in "suf" for bits in (8, 16, 32, 64)}
HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
ARRAY = re.compile(rf"\b({'|'.join(BYTES)})\[([\d,<=]*)\](?:\{{([^}}]*)\}})?")
CALLS = "calls|to_apply|branch_computations|true_computation|false_computation"
CALLED = re.compile(rf"\b(?:{CALLS})=(?:\{{([^}}]*)\}}|%?([\w.\-]+))")
NAME = re.compile(r"%([\w.\-]+)")


class Array(NamedTuple):
    """What an instruction gives, or a part of it."""

    dtype: str
    shape: tuple[int, ...]
    near: bool  # it lies in a memory on the chip, where the layout names one

    @property
    def bytes(self) -> int:
        """Its size."""
        return int(BYTES[self.dtype] * math.prod(self.shape))


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    root: bool
    results: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]  # names of instructions
    text: str  # the operands, and attributes after them

    @property
    def bytes(self) -> int:
        """Of all that it gives."""
        return sum(array.bytes for array in self.results)

    @property
    def source(self) -> str:
        """The name that jax gave it: the path of functions and loops, and its primitive."""
        found = re.search(r'op_name="([^"]*)"', self.text)
        return found.group(1) if found else ""

    def told(self, pattern: str) -> str:
        """The group of a pattern in its text, which must be there."""
        found = re.search(pattern, self.text)
        if not found:
            raise ValueError(f"{self.opcode} {self.name}: no {pattern}")
        return found.group(1)

    @property
    def called(self) -> tuple[str, ...]:
        """The computations that it runs once, a fused one among them; not those of a loop."""
        parts = (several or one for several, one in CALLED.findall(self.text))
        return tuple(name for part in parts for name in re.findall(r"[\w.\-]+", part))


Computation = dict[str, Instruction]


class Run(NamedTuple):
    """An instruction where it is run."""

    instruction: Instruction
    computation: Computation  # in which it stands
    times: int
    looped: bool


class Program(NamedTuple):
    """Computations by name; one of them is where it begins."""

    computations: Mapping[str, Computation]
    entry: str

    def runs(self, start: str | None = None, times: int = 1, looped: bool = False) -> Iterator[Run]:
        """Every instruction that is run from the entry on. What is fused is one instruction."""
        computation = self.computations[start or self.entry]
        for one in computation.values():
            if one.opcode == "while":
                yield from self.runs(one.told(r"body=%?([\w.\-]+)"), times * (self.trips(one) or 1), True)
            elif one.opcode in ("call", "conditional", "async-start"):
                for name in one.called:
                    yield from self.runs(name, times, looped)
            else:
                yield Run(one, computation, times, looped)

    def inside(self, one: Instruction) -> Iterator[tuple[Instruction, Computation]]:
        """What an instruction fuses or calls, all the way down, each with the computation that it is in."""
        for name in one.called:
            computation = self.computations.get(name, {})
            for inner in computation.values():
                yield inner, computation
                yield from self.inside(inner)

    def trips(self, loop: Instruction) -> int | None:
        """How often a loop runs its body, if the program says so: the count of jax's scans always."""
        if found := re.search(r'known_trip_count":\{"n":"(\d+)"', loop.text):
            return int(found.group(1))
        # The TPU compiler writes no count: it is the constant that the condition compares with.
        condition = self.computations[loop.told(r"condition=%?([\w.\-]+)")]
        numbers = {
            int(found.group(1))
            for one in condition.values()
            if one.opcode == "constant" and (found := re.match(r"(\d+)\)", one.text))
        }
        return numbers.pop() if len(numbers) == 1 else None


def read(text: str) -> Program:
    """The program that a text describes."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = computations.setdefault(header.group(2), {})
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and (found := INSTRUCTION.match(line)):
            root, name, results, opcode, rest = found.groups()
            current[name] = Instruction(name, bool(root), _arrays(results), opcode, _operands(rest), rest)
    if not entry:
        raise ValueError("this is no text of an XLA program: it has no ENTRY")
    return Program(computations, entry)


@functools.cache
def _arrays(text: str) -> tuple[Array, ...]:
    return tuple(
        Array(dtype, tuple(int(n) for n in re.findall(r"\d+", shape)), bool(re.search(r"S\([1-9]\)", layout)))
        for dtype, shape, layout in ARRAY.findall(text)
    )


def _operands(rest: str) -> tuple[str, ...]:
    """Names up to the parenthesis that closes the operands."""
    depth = 1
    for end, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return tuple(NAME.findall(rest[:end]))
    return tuple(NAME.findall(rest))
