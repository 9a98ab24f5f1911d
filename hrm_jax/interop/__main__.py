"""The command line of `hrm_jax.interop`."""

import sys

from hrm_jax.console.parser import run_command
from hrm_jax.interop import main

if __name__ == "__main__":
    sys.exit(run_command(main))
