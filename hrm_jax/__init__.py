"""Hierarchical reasoning models in JAX/Flax, and the referee that judges them with NumPy alone."""

import signal
import sys

__version__ = "0.2.0"

# Ctrl-C while a command's modules are imported ends it without a traceback; then `console.parser` takes over.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    if any(name.startswith("hrm_jax") for name in sys.orig_argv):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
