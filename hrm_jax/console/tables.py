"""Tables of text, and the numbers in them."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as an aligned markdown table, the first row its heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def percent(share: float | Fraction) -> str:
    """A share as per cent with one decimal, without the sign."""
    return f"{100 * float(share):.1f}"


def interval(result: Mapping[str, Any]) -> str:
    """`[54.2, 79.2]`: the 95 % interval of a result, in per cent."""
    return f"[{', '.join(map(percent, result['interval']))}]"


def rate(result: Mapping[str, Any], n: int | None = None) -> str:
    """`34/50  68.0 % [54.2, 79.2]`: successes of `n`, or of its own, their rate and its 95 % interval."""
    return f"{result['success']}/{n or result['n']}  {percent(result['rate'])} % {interval(result)}"
