"""The fields of a config's group, checked against what their annotations allow."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from hrm_jax.artefacts.errors import RequestError, nearest


class Rule(NamedTuple):
    """What a field may be, for `Annotated[type, rule]`: a test, and words for what passes it."""

    allows: Callable[[Any], bool]
    words: str
    names: tuple[str, ...] = ()  # all that it allows; the nearest one is suggested


def at_least(least: float) -> Rule:
    """Numbers from `least` up."""
    return Rule(lambda value: value >= least, f"at least {least}")


def one_of(names: Iterable[str]) -> Rule:
    """Names; `Literal["a", "b"]` is the same where they are written out."""
    names = tuple(names)
    return Rule(lambda value: value in names, f"one of {', '.join(names)}", names)


Positive = Annotated[int, at_least(1)]
NotNegative = Annotated[int, at_least(0)]
Fraction = Annotated[float, Rule(lambda value: 0 <= value < 1, "at least 0 and less than 1")]


def check(group: str, config: Any) -> None:
    """Refuse the first field of a dataclass whose value its annotation does not allow, in one line."""
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), field.type
        rules = [one_of(get_args(hint))] if get_origin(hint) is Literal else getattr(hint, "__metadata__", ())
        for rule in rules:
            if not rule.allows(value):
                shown = f'"{value}"' if isinstance(value, str) else value
                suggestion = nearest(str(value), rule.names)
                raise RequestError(f"{group}.{field.name} = {shown}: {rule.words}{suggestion}")
