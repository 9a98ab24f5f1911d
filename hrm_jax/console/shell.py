"""Commands of hrm_jax as lines of a shell, for whatever starts them: Slurm, GNU parallel, xargs, a person."""

import os
import shlex
import sys
from collections.abc import Sequence

from hrm_jax.artefacts.errors import RequestError


def line(*commands: Sequence[str]) -> str:
    """One line that runs commands one after another, each if the one before went well.

    In this folder and with this Python, wherever the shell is: the modules of a checkout are found from
    there. A command is the name of its module and its words. A word that would need two lines is a
    `RequestError`.
    """
    typed = (shlex.join([sys.executable, "-m", f"hrm_jax.{name}", *words]) for name, *words in commands)
    found = " && ".join([shlex.join(["cd", os.getcwd()]), *typed])
    if "\n" in found or "\r" in found:
        raise RequestError(f"{found!r}: a line break in a name; a list has a line a command")
    return found
