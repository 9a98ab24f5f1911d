"""The folder of a run: one training at a time, and `config.json`, which says what is trained there.

Beside it stand `checkpoints/` (`checkpoint.py`), `metrics.jsonl` (`metrics.py`) and `lock`.
"""

import contextlib
import json
import pathlib
import re
import shutil
import sys
from typing import Any, NotRequired, TypedDict

from hrm_jax.artefacts import files, json_file
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.puzzles import KERNELS

# Fields that may change between two starts: they alter neither the data nor the parameters.
FREE = (
    "log_every",
    "eval_every",
    "checkpoint.",
    "mesh.",
    "profile_steps",
    "compile_cache",
    "model.unroll",
    "model.recurrence",
    "plan.",
    "model.remat",
    "data.device_gib",
)
LENGTHS = ("steps", "epochs")  # may grow


class Optimizer(TypedDict):
    """What of the group `optimizer` is read without a task."""

    max_bad_steps: NotRequired[int]


class Config(TypedDict):
    """`config.json`: what every run's config has; the task knows the rest."""

    task: str
    seed: int
    data: dict[str, Any]
    model: dict[str, Any]
    optimizer: NotRequired[Optimizer]
    steps: NotRequired[int]
    early_stopping: NotRequired[int]
    epochs: NotRequired[int]


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
    if not text.isascii() and sys.getfilesystemencoding() != "utf-8":  # orbax writes names in UTF-8 alone
        raise RequestError(f"--workdir {text!a}: set PYTHONUTF8=1, or give a name of ASCII characters")
    return files.expanded(text)


def locked(workdir: pathlib.Path) -> contextlib.AbstractContextManager:
    """Keep other trainings out of a workdir; the system opens the lock when the process ends, however."""
    path = workdir / "lock"
    files.check_writable(path.with_name("config.json"))
    return files.alone(path, f"{workdir} is being trained: wait for its end, or give another --workdir")


def begun(workdir: pathlib.Path, config: dict[str, Any]) -> dict[str, Any]:
    """The config that a workdir was begun with; nothing where no step of it is kept.

    A workdir that another `config` (`as_json`) has begun is refused, naming what differs. A run may become
    longer.
    """
    checkpoints = workdir / "checkpoints"
    if not (checkpoints.is_dir() and any(path.name.isdecimal() for path in checkpoints.iterdir())):
        return {}
    found = read_config(workdir)
    _refuse_other(workdir, found, config)
    return found


def claim(workdir: pathlib.Path, config: dict[str, Any], before: dict[str, Any]) -> None:
    """Write `config.json`, once a run can begin; `before` is what `begun` returned."""
    if not before:  # another config may have failed to begin here
        shutil.rmtree(workdir / "checkpoints" / "metadata", ignore_errors=True)
    with files.atomic_write(workdir / "config.json") as file:
        file.write(json.dumps(config, indent=2) + "\n")


def as_json(config: dict[str, Any]) -> dict[str, Any]:
    """A config as its file has it: a tuple is a list there, and a number of NumPy one of Python."""
    return json.loads(json.dumps(config, default=lambda number: getattr(number, "item", number.__float__)()))


def _refuse_other(workdir: pathlib.Path, found: dict[str, Any], config: dict[str, Any]) -> None:
    if names := differing(found, config):
        old, new = flat({"init_from": "", **found}), flat(config)
        apart = "; ".join(f"{n} ({old[n]} there, {new.get(n)} here)" for n in names)
        hint = "a run can become longer, not shorter: " if set(names) <= set(LENGTHS) else ""
        raise RequestError(f"{workdir} was begun with another config: {apart}; {hint}give another --workdir")


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Dotted names of the fields in which a config is another run's than an `old` one.

    A field that the old one lacks is newer than the run, and its default is what was done before.
    """
    old, new = flat({"init_from": "", **old}), flat(new)
    names = [n for n in sorted(old) if not alike(n, old[n], new.get(n))]
    return [n for n in names if not (n in LENGTHS and 0 < old[n] < new.get(n, 0))]


def alike(name: str, old: Any, new: Any) -> bool:
    """Whether a field, by its dotted name, has the same value, or two that give the same run."""
    # Of an HRM predictor it names another network.
    kernels = name == "model.attention" and old in KERNELS and new in KERNELS
    free = kernels or name.startswith(FREE)
    return free or bool(old == new)


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A nested config by dotted names."""
    from flax.traverse_util import flatten_dict  # a command line is read without jax

    return flatten_dict(config, sep=".")


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """The config of a workdir, as JSON data; where its file is damaged, orbax's copy, which is said.

    A file that this copy contradicts is refused: one of them was changed.
    """
    try:
        path = workdir / "checkpoints" / "metadata" / "_ROOT_METADATA"
        kept = json_file.load(path, Kept, "copy")["custom_metadata"]["config"]
        json_file.check(path, kept, Config, "copy")
    except RequestError:
        kept = {}
    try:
        config = json_file.read(workdir / "config.json", "config.json")
        json_file.check(workdir / "config.json", config, Config, "config.json")
    except RequestError as error:
        if not kept:
            raise RequestError(f"{workdir} is no workdir of hrm_jax.train ({error})") from None
        print(f"{error}; the copy in checkpoints/ is taken")
        return kept
    if kept and (names := differing(kept, config)):
        there, here = flat(kept).get(names[0]), flat(config).get(names[0])
        raise RequestError(
            f"{workdir}/config.json: {names[0]} is {here}, but {there} in the copy in checkpoints/; "
            "put right the one that was changed"
        )
    return config
