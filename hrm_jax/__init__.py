"""Hierarchical reasoning models in JAX/Flax, and the referee that judges them with NumPy alone."""

import importlib
import signal
import sys
from typing import Any

__version__ = "0.2.0"

# What is used from Python, and where it is; imported when it is first asked for.
PUBLIC = {
    "judge": "hrm_jax.api",
    "load": "hrm_jax.judging.loading",
    "Report": "hrm_jax.api",
    "Scenarios": "hrm_jax.artefacts.scenarios",
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'hrm_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


# Ctrl-C while a command's modules are imported ends it without a traceback; then `console.parser` takes over.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    if any(name.startswith("hrm_jax") for name in sys.orig_argv):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
