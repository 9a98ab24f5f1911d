"""The command line of `hrm_jax.interop`."""

from hrm_jax.artefacts.errors import exit_on_request_error
from hrm_jax.interop import main

if __name__ == "__main__":
    exit_on_request_error(main)
