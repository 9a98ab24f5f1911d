"""The folder of a run: one training at a time, and `config.json`, which says what is trained there.

Beside it stand `checkpoints/` (`checkpoint.py`), `metrics.jsonl` (`metrics.py`) and `lock`.
"""

import contextlib
import json
import pathlib
import re
from typing import Any, TypedDict

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError

# Fields that may change between two starts: they alter neither the data nor the parameters.
FREE = (
    "log_every",
    "eval_every",
    "checkpoint.",
    "mesh.",
    "profile_steps",
    "compile_cache",
    "model.unroll",
    "plan.",
    "model.remat",
    "model.attention",
    "data.device_gib",
)
LENGTHS = ("steps", "epochs")  # may grow


class Config(TypedDict):
    """`config.json`: what every run's config has; the task knows the rest."""

    task: str
    seed: int
    data: dict[str, Any]
    model: dict[str, Any]


class _Custom(TypedDict):
    config: dict[str, Any]


class Kept(TypedDict):
    """What orbax keeps of a run besides its steps."""

    custom_metadata: _Custom


def folder(text: str) -> pathlib.Path:
    """A folder that a command line names, "~" expanded; a bucket's address is refused."""
    if re.match(r"\w+://", text):
        raise RequestError(
            f"--workdir {text}: a folder of this machine is needed; mount the bucket, or copy the run later"
        )
    return files.expanded(text)


def locked(workdir: pathlib.Path) -> contextlib.AbstractContextManager:
    """Keep other trainings out of a workdir; the system opens the lock when the process ends, however."""
    path = workdir / "lock"
    files.check_writable(path.with_name("config.json"))
    return files.alone(path, f"{workdir} is being trained: wait for its end, or give another --workdir")


def claim(workdir: pathlib.Path, config: dict[str, Any]) -> dict[str, Any]:
    """Write `config.json`; the one that was there, or nothing.

    A workdir that another config has begun is refused, naming what differs. A run may become longer.
    """
    path, found = workdir / "config.json", {}
    config = json.loads(json.dumps(config))  # a tuple is a list in a file
    if path.exists() or (workdir / "checkpoints").exists():
        found = read_config(workdir)
        _refuse_other(workdir, found, config)
    with files.atomic_write(path) as file:
        file.write(json.dumps(config, indent=2) + "\n")
    return found


def _refuse_other(workdir: pathlib.Path, found: dict[str, Any], config: dict[str, Any]) -> None:
    from flax.traverse_util import flatten_dict  # a command line is read without jax

    old, new = flatten_dict({"init_from": "", **found}, sep="."), flatten_dict(config, sep=".")
    # A field that the file lacks is newer than the run, and its default is what was done before.
    names = [n for n in sorted(old) if old[n] != new.get(n) and not n.startswith(FREE)]
    names = [n for n in names if not (n in LENGTHS and 0 < old[n] < new[n])]
    if names:
        differing = "; ".join(f"{n} ({old[n]} there, {new.get(n)} here)" for n in names)
        only_shorter = set(names) <= set(LENGTHS)
        hint = "a run can become longer, not shorter: " if only_shorter else ""
        raise RequestError(
            f"{workdir} was begun with another config: {differing}; {hint}give another --workdir"
        )


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """The config of a workdir, as JSON data; where its file is damaged, orbax's copy, which is said."""
    try:
        config = json_file.read(workdir / "config.json", "config.json")
        json_file.check(workdir / "config.json", config, Config, "config.json")
        return config
    except RequestError as error:
        damage = error
    try:
        copy = json_file.load(workdir / "checkpoints" / "metadata" / "_ROOT_METADATA", Kept, "copy")
    except RequestError:
        raise RequestError(f"{workdir} is no workdir of hrm_jax.train ({damage})") from None
    print(f"{damage}; the copy in checkpoints/ is taken")
    return copy["custom_metadata"]["config"]
