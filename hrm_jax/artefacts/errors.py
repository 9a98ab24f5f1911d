"""The one kind of error that is the user's: a wrong request, told in one line, exit code 2."""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable


class RequestError(Exception):
    """What is wrong with the request and what is allowed, in one line."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean "x"?` for the closest allowed name, or the empty string."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def exit_on_request_error(main: Callable[[], int | None]) -> None:
    """Run a command line: exit 0 when done, 2 with one line on a `RequestError`, 1 on anything else."""
    try:
        sys.exit(main() or 0)
    except RequestError as error:
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `RequestError`s: one line instead of a page of usage."""

    def error(self, message: str):
        raise RequestError(f"{message} (see {self.prog} --help)")
