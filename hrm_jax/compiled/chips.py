"""Accelerators by their data sheets: how much they hold, and how fast they multiply and move."""

from typing import NamedTuple

GIB = 2**30


class Chip(NamedTuple):
    """What one device of a kind can do."""

    name: str
    memory: int  # bytes that a program may use
    flops: float  # bfloat16 products a second
    bandwidth: float  # bytes a second from and to its memory


# GPUs: of the 989 TFLOP/s on the sheet large products reach 790: the power limit forbids the sheet's clock.
# TPUs: the sheet.
CHIPS = {
    "h100": Chip("H100 80 GB", 79 * GIB, 790e12, 3.35e12),
    "h200": Chip("H200 141 GB", 139 * GIB, 790e12, 4.8e12),
    "v4": Chip("TPU v4", 32 * GIB, 275e12, 1.2e12),
    "v5e": Chip("TPU v5e", int(15.75 * GIB), 197e12, 0.819e12),
    "v5p": Chip("TPU v5p", 95 * GIB, 459e12, 2.765e12),
    "v6e": Chip("TPU v6e", int(31.25 * GIB), 918e12, 1.64e12),
}


def of_device(kind: str) -> Chip | None:
    """The chip that jax's `device_kind` names, if it is one of these."""
    return next((chip for name, chip in CHIPS.items() if name in kind.lower()), None)
