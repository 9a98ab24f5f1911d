"""Whether a state_dict converts and fits a model, and whether the model computes what the original did."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from hrm_jax.artefacts import model_file
from hrm_jax.artefacts.errors import RequestError

OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
FAMILIES = (
    "HRM-cloud's gated or recurrent (embed.*, L_block*.*, H_block*.*, head.*), lstm (lstm.*, fc.*), path "
    "denoiser v2 (map_enc.*, coord_enc.*, time_mlp.*, down1.*, …), HRM-ACT and TRM (embed_tokens.*, "
    "L_level.*, H_level.*, lm_head.*, …)"
)


def one_line_errors(convert: Callable) -> Callable:
    """`convert`, whose errors about names and shapes become `RequestError`s."""

    @functools.wraps(convert)
    def checked(*arguments: Any) -> Any:
        try:
            return convert(*arguments)
        except KeyError as error:
            raise RequestError(f"the state_dict lacks {error}; known layouts are {FAMILIES}") from None
        except (ValueError, IndexError) as error:
            raise RequestError(
                f"shapes of the state_dict do not fit ({error}); known layouts are {FAMILIES}"
            ) from None

    return checked


def check_parameters(expected: Any, params: dict[str, Any], name: str) -> None:
    """Raise a one-line `RequestError` unless `params` have the names and shapes that model `name` expects."""
    from flax.traverse_util import flatten_dict  # the door's listing and --help do without flax

    expected, leaves = flatten_dict(expected, sep="/"), model_file.flatten(params)
    for leaf in sorted(expected.keys() ^ leaves.keys()):
        problem = "lacks" if leaf in expected else "has, in addition to what is known,"
        raise RequestError(f"the state_dict {problem} {leaf}; known layouts are {FAMILIES}")
    for leaf, wanted in expected.items():
        if leaves[leaf].shape != wanted.shape:
            raise RequestError(
                f"{leaf} has shape {list(leaves[leaf].shape)}, {name} wants {list(wanted.shape)}"
            )


def compare(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> tuple[list[str], bool]:
    """A line for every name, and whether any error, relative to the largest magnitude, exceeds tolerance.

    Where exact zeros are expected (dead queries and keys) nothing but zeros will do.
    """
    lines, failed = [], False
    for name, value in expected.items():
        tolerance = GRADIENT_TOLERANCE if name.startswith("grad/") else OUTPUT_TOLERANCE
        scale = np.abs(value.astype(np.float64)).max()
        tolerance = tolerance if scale else 0.0
        error = np.abs(ours[name].astype(np.float64) - value).max() / (scale or 1.0)
        bad = not error <= tolerance
        lines.append(f"{name:<24} {error:.2e}  (tolerance {tolerance:g}){'  FAILED' if bad else ''}")
        failed |= bad
    return lines, failed
