"""What all command lines share: how they are named, described, refused and ended.

A command is a module with `main(arguments)`, which returns its exit code (None: 0) and raises `RequestError`
where the request is wrong; `run_command` turns that into what a shell sees.
"""

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import hrm_jax
from hrm_jax.artefacts.errors import RequestError, nearest, one_line
from hrm_jax.artefacts.files import expanded
from hrm_jax.console import completion

Main = Callable[[Sequence[str] | None], int | None]

LARGEST = 10**9  # of numbers of a command line that have no bound of their own
OF_STREAMS = (errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC)  # what writing to them may say
PACKAGE = Path(hrm_jax.__file__).resolve().parent
JOBS = max(256, os.cpu_count() or 1)  # processes that a command starts at most
_interrupts: list[int] = []  # the Ctrl-Cs of this process
TRAINING = ("jax", "jaxlib", "flax", "optax", "orbax", "chex", "ml_collections", "absl")  # hrm_jax[train]


def program(command: str = "") -> str:
    """`command` as it can be typed in this process: `hrm-jax X`, `python -m hrm_jax X` or `… hrm_jax.X`."""
    started = Path(sys.argv[0])
    if started.stem == "hrm-jax":
        return f"hrm-jax {command}".rstrip()
    if not command or started.resolve() == PACKAGE / "__main__.py":
        return f"python -m hrm_jax {command}".rstrip()
    return f"python -m hrm_jax.{command}"


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Adds the defaults that are values: a switch that is off and an option that is absent have none."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or action.default in (None, False, [], argparse.SUPPRESS):
            return text
        if "default" in text:
            return text
        return f"{text} (default: {_words(action.default)})".strip()


def _words(value: Any) -> str:
    words = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return words.replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """A command line with --help, --version and defaults, whose errors are `RequestError`s of one line.

    `description` is the command's docstring; the commands in it are shown as they can be typed.
    """

    def __init__(self, prog: str, description: str | None = None, **settings: Any):
        typed = re.sub(r"python -m hrm_jax\.(\w+)", lambda m: program(m[1]), description or "")
        super().__init__(
            prog=prog, description=typed, allow_abbrev=False, formatter_class=_HelpFormatter, **settings
        )
        version = f"hrm_jax {hrm_jax.__version__}"
        self.add_argument("--version", action="version", version=version, help="print the version and exit")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's, unless a shell asks what may be typed."""
        if completion.asked():
            completion.answer(self)
        return super().parse_known_args(args, namespace)

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        """The value of an argument; in a path, `~` is the home folder, and no name is too long."""
        value = super()._get_value(action, text)
        if not isinstance(value, Path):
            return value
        path = expanded(value)
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass  # the command says what it needs of it
        except (OSError, ValueError) as error:
            self.error(
                f"argument {action.metavar or action.dest}: {text[:60]!r} is no path ({error.args[-1]})"
            )
        return path

    def error(self, message: str) -> NoReturn:
        """Refuse the request in one line instead of a page of usage."""
        raise RequestError(f"{message} (see {self.prog} --help)")


def choose(
    prog: str, text: str, commands: Mapping[str, str], arguments: Sequence[str] | None
) -> tuple[str, list[str]]:
    """The command that is named first, of {name: what it does}, and the words after it.

    Without a name, or with --help, the commands are listed and the process ends.
    """
    if completion.asked():
        return completion.descend(commands), []
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if words[0].startswith("-"):
        lines = "\n".join(f"  {name:<10} {line}" for name, line in commands.items())
        more = f"{prog} COMMAND --help says more."
        parser = Parser(prog, text, usage="%(prog)s COMMAND …", epilog=f"commands:\n{lines}\n\n{more}")
        parser.parse_args(words)
    name, *rest = words
    if name not in commands:
        raise RequestError(
            f'no command "{name}"{nearest(name, commands)}; commands are {", ".join(commands)}'
        )
    return name, rest


def at_least(options: Any, **bounds: int | tuple[int, int]) -> None:
    """Refuse numbers among `options` that are given and out of bounds: the least, or a pair with the most."""
    for name, bound in bounds.items():
        least, most = bound if isinstance(bound, tuple) else (bound, LARGEST)
        value = getattr(options, name)
        if value is not None and value < least:
            raise RequestError(f"--{name} {value}: {f'at least {least}' if least else '0 or more'}")
        if value is not None and value > most:
            raise RequestError(f"--{name} {value}: at most {most:,}")


@contextmanager
def interruptible(consequence: str) -> Iterator[None]:
    """Say with Ctrl-C what it leaves behind: "no report was written"; of several, the innermost says it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(*(interrupt.args or [consequence])) from None


def run_command(main: Main, arguments: Sequence[str] | None = None) -> int:
    """A command's exit code: its own or 0; 2 and one line where the request is wrong; 130 after Ctrl-C.

    So it is where a stream is closed or full, too; 141, silently, where what reads the output has ended.
    """
    _mend_streams()
    # `hrm_jax` says why it may be SIG_DFL; a shell's background job ignores it.
    if signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = _answer(main, arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        code = 141
    except OSError as error:
        if error.filename is not None or error.errno not in OF_STREAMS:
            return _say(2, f"error: {one_line(error)}")
        code = _say(2, f"error: the output cannot be written ({error.strerror})")
    with suppress(OSError, ValueError):  # or Python would say it again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _answer(main: Main, arguments: Sequence[str] | None) -> int:
    try:
        return main(arguments) or 0
    except RequestError as error:
        return _say(2, f"error: {_short(one_line(error))}")
    except KeyboardInterrupt as interrupt:
        return _say(130, "\n" + ": ".join(["interrupted", *map(str, interrupt.args)]))
    except MemoryError as error:
        return _say(2, f"error: not enough memory ({one_line(error)})")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING:
            raise
        return _say(2, f"error: this needs jax: pip install 'hrm_jax[train]' ({error})")
    except Exception as error:
        if _interrupts:  # in the middle of an import, Ctrl-C ends as whatever the import makes of it
            return _say(130, "\ninterrupted")
        if "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error):  # jax's
            return _say(2, f"error: not enough memory ({_short(one_line(error))})")
        raise


def _interrupt(number: int, frame: Any) -> None:
    _interrupts.append(number)
    raise KeyboardInterrupt


def _short(text: str) -> str:
    """Without the middle of a value that nobody wants to see whole."""
    return text if len(text) <= 1000 else f"{text[:600]} … {text[-300:]}"


def _mend_streams() -> None:
    """Let closed streams lead nowhere, not into the next file opened, and streams take any file's name."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                while os.open(os.devnull, os.O_RDWR) < number:
                    pass
            setattr(sys, name, open(os.devnull, "r+"))
        elif number and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _say(code: int, line: str) -> int:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return code
