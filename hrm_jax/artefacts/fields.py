"""The fields of a config's group, checked against what their annotations allow."""

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from hrm_jax.artefacts.errors import RequestError, nearest

LARGEST = 2**31 - 1  # of a whole number that no rule bounds more tightly
DIGITS = 40  # of a wrong number that an error shows
LARGEST_FLOAT, LEAST_FLOAT = 3.4028234e38, 1.1754944e-38  # of float32, in which all is computed; 0 apart


class Rule(NamedTuple):
    """What a field may be, for `Annotated[type, rule]`: a test, and words for what passes it."""

    allows: Callable[[Any], bool]
    words: str
    names: tuple[str, ...] = ()  # all that it allows; the nearest one is suggested


def at_least(least: float) -> Rule:
    """Numbers from `least` up."""
    return Rule(lambda value: value >= least, f"at least {least}")


def at_most(most: float) -> Rule:
    """Numbers up to `most`."""
    return Rule(lambda value: value <= most, f"at most {most:,}")


def one_of(names: Iterable[str]) -> Rule:
    """Names; `Literal["a", "b"]` is the same where they are written out."""
    names = tuple(names)
    return Rule(lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}", names)


Positive = Annotated[int, at_least(1)]
NotNegative = Annotated[int, at_least(0)]
Fraction = Annotated[float, Rule(lambda value: 0 <= value < 1, "at least 0 and less than 1")]
AboveZero = Annotated[float, Rule(lambda value: value >= LEAST_FLOAT, f"above 0, from {LEAST_FLOAT:.3} on")]
# Loops, layers and cells of a network: what is larger is no network, but a slip that takes hours to show.
Few = Annotated[int, at_least(1), at_most(10_000)]


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


TYPES: dict[Any, Rule] = {  # what each type means, before any rule: NaN and infinity are no numbers
    int: Rule(
        lambda value: _is_number(value, Integral) and abs(value) <= LARGEST,
        f"a whole number up to {LARGEST:,}",
    ),
    float: Rule(
        lambda value: _is_number(value, Real) and abs(value) <= LARGEST_FLOAT,
        f"a finite number, up to {LARGEST_FLOAT:.3}",
    ),
    bool: Rule(lambda value: isinstance(value, bool), "True or False"),
    str: Rule(lambda value: isinstance(value, str), "a text"),
}


def _rules(hint: Any, value: Any) -> Sequence[Rule]:
    """The rules of an annotation for a value of it."""
    if get_origin(hint) in (Union, types.UnionType):  # of a type and None
        return () if value is None else _rules(get_args(hint)[0], value)
    if get_origin(hint) is Literal:
        return [one_of(get_args(hint))]
    kind, *rules = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    return [TYPES[kind], *rules] if kind in TYPES else rules


def build(group: str, kind: type, values: Any) -> Any:
    """The dataclass `kind` of a config's group, which has just its fields, all of them checked."""
    place, names = group and f"{group}.", [field.name for field in dataclasses.fields(kind)]
    if not isinstance(values, Mapping):
        raise RequestError(f"{group} = {values!r}: a group of the fields {', '.join(names)} is needed")
    for name in values:
        if name not in names:
            raise RequestError(f"unknown config field {place}{name}{nearest(str(name), names)}")
    for name in names:
        if name not in values:
            raise RequestError(f"the config lacks {place}{name}; begin with a config of configs/")
    built = kind(**values)
    check(group, built)
    return built


def check(group: str, config: Any) -> None:
    """Refuse the first field of a dataclass whose value its annotation does not allow, in one line.

    A whole number without a rule is at most `LARGEST`, a number is finite, and becomes a float: with one that
    is written as a whole number jax would compute in 32 bits.
    """
    check_given(group, type(config), vars(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, float) and TYPES[float] in _rules(field.type, value):
            object.__setattr__(config, field.name, float(value))


def _shown(value: Any) -> str:
    # Python itself writes no more than some thousands of digits.
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        return f"a number of more than {DIGITS} digits"
    return f"{value!s:.99}"


def check_given(group: str, kind: type, values: Any) -> None:
    """The same of values by name, of this version or an older one: not all need be there."""
    if not isinstance(values, Mapping):
        raise RequestError(f"{group} = {values!r:.99}: a group of fields is needed")
    for field in dataclasses.fields(kind):
        if field.name not in values:
            continue
        value = values[field.name]
        for rule in _rules(field.type, value):
            if not rule.allows(value):
                shown = f'"{value:.99}"' if isinstance(value, str) else _shown(value)
                suggestion = nearest(value if isinstance(value, str) else "", rule.names)
                place = group and f"{group}."
                raise RequestError(f"{place}{field.name} = {shown}: {rule.words}{suggestion}")
