"""Where an artefact comes from: library versions and the commit, without importing the libraries."""

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

import hrm_jax

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
COMMIT = ("git", "--no-optional-locks", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")


def stamp() -> dict[str, Any]:
    """What an artefact says of where it comes from."""
    return {"versions": versions(), "commit": commit()}


def versions() -> dict[str, str]:
    """{"python": ..., "hrm_jax": ..., library: version} for the libraries that are installed."""
    found = {"python": platform.python_version(), "hrm_jax": hrm_jax.__version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of this source tree, with "+" when files differ from it; "unknown" outside git."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "unknown"
    try:
        done = subprocess.run(COMMIT, cwd=root, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
