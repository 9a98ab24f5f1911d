"""The one kind of error that is the user's: a wrong request, answered with one line and exit code 2."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class RequestError(Exception):
    """What is wrong with the request and what is allowed, in one line whatever texts of others are in it."""

    def __init__(self, message: object):
        super().__init__("".join(char if char.isprintable() else " " for char in str(message)))


class WriteError(RequestError):
    """What the system does not let be written: the request may be met when there is room again."""


@contextlib.contextmanager
def naming(what: object) -> Iterator[None]:
    """Let the block's request errors begin with what they are about, such as a file."""
    try:
        yield
    except RequestError as error:
        raise type(error)(f"{what}: {error}") from None


def one_line(error: BaseException) -> str:
    """What an error of the system or of a library says, in one line; its type where it says nothing."""
    try:
        return " ".join(str(error).split()) or type(error).__name__
    except Exception:  # of a class that anybody may write
        return type(error).__name__


def known(kind: str, name: str, allowed: Iterable[str]) -> str:
    """`name`, refused unless it is one of `allowed`; `kind` says what it names."""
    allowed = tuple(allowed)
    if name not in allowed:
        names = ", ".join(allowed)
        raise RequestError(f'unknown {kind} "{name}"{nearest(name, allowed)}; allowed: {names}')
    return name


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean "x"?` for the closest allowed name, or the empty string."""
    close = difflib.get_close_matches(str(name), list(allowed), n=1)  # from Python it may be no text
    return f'; did you mean "{close[0]}"?' if close else ""
