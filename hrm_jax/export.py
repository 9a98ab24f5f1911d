"""Files for the planning side, which never imports jax: a checkpoint becomes `model.npz`.

    python -m hrm_jax.export --workdir runs/x --out model.npz
"""

import json
import os
import pathlib
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from hrm_jax import provenance
from hrm_jax.errors import Parser, RequestError, exit_on_request_error


def flatten(params: Any) -> dict[str, np.ndarray]:
    """A parameter tree as {"group/leaf": array}."""
    return {name: np.asarray(leaf) for name, leaf in flatten_dict(params, sep="/").items()}


def write_model(out: pathlib.Path, params: Any, config: dict[str, Any]) -> None:
    """Write `params` and `config` (model, world, history, …) as a self-describing `model.npz`, atomically."""
    config = {"format": "hrm_jax/1", **config, "versions": provenance.versions(), "commit": provenance.commit()}
    arrays = {f"params/{name}": leaf for name, leaf in flatten(params).items()}
    write_npz(out, config=np.array(json.dumps(config)), **arrays)


def write_npz(out: pathlib.Path, **arrays: np.ndarray) -> None:
    """`np.savez` to `out` all or nothing."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise RequestError(f"--out {out}: needs a file name in an existing folder")
    partial = out.with_name(out.name + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, **arrays)
    os.replace(partial, out)


def export_model(workdir: pathlib.Path, which: str, out: pathlib.Path) -> str:
    """Write the parameters of a checkpoint of `workdir` as `model.npz`; a line that says what was written."""
    from hrm_jax import checkpoint
    from hrm_jax.tasks import TASKS

    config = checkpoint.read_config(workdir)
    step, params = checkpoint.restore_params(workdir, which)
    description = TASKS[config["task"]].describe(config)
    write_model(out, params, {**description, "step": step, "config": config})
    count = sum(leaf.size for leaf in flatten(params).values())
    return f"{out}: {description['model']['name']}, {count:,} parameters, step {step:,} of {workdir}"


def main() -> int:
    """Command line; see the module docstring."""
    parser = Parser(prog="python -m hrm_jax.export", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="a run of hrm_jax.train")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the model.npz to write")
    parser.add_argument("--step", default="latest", help="latest, best, or a step number")
    args = parser.parse_args()
    print(export_model(args.workdir, args.step, args.out))
    return 0


if __name__ == "__main__":
    exit_on_request_error(main)
