"""Completion of `hrm-jax …` by the shell's TAB key, with argcomplete (`hrm_jax[completion]`).

eval "$(register-python-argcomplete hrm-jax)" in ~/.bashrc or ~/.zshrc turns it on. The shell then runs the
command with the line in the environment, and the parser that the line leads to answers in place of parsing.
Otherwise nothing here is imported but `os`.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

ASKED = "_ARGCOMPLETE"  # set by the shell: from which word of the line on the parser at hand is meant
Values = Mapping[str, Callable[[], Iterable[str]]]  # option: what it takes besides files
_values: dict[str, Callable[[], Iterable[str]]] = {}
_answering: list[bool] = []  # argcomplete parses the line so far with the parser that it answers for


def asked() -> bool:
    """Whether a shell asks what may follow, instead of running a command."""
    return ASKED in os.environ and not _answering


def offer(values: Values) -> None:
    """Let options be completed by these values."""
    _values.update(values)


def descend(commands: Iterable[str]) -> str:
    """The command that the line names next; where that is what is being typed, the answer, and the end."""
    import argparse

    import argcomplete

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    _, _, _, words, _ = argcomplete.split_line(line, point)
    here = int(os.environ[ASKED])
    if len(words) > here and words[here] in commands:
        os.environ[ASKED] = str(here + 1)
        return words[here]
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=list(commands))
    argcomplete.autocomplete(parser, always_complete_options=False)
    raise SystemExit


def answer(parser: Any) -> None:
    """What may follow in a parser's part of the line, and the end of the process."""
    import argcomplete

    for action in parser._actions:
        for option in action.option_strings:
            if option in _values:
                action.completer = lambda values=_values[option], **_: list(values())
    _answering.append(True)
    argcomplete.autocomplete(parser)
