"""Orbax, behind the few verbs that the loop and the exporter use.

`checkpoints/` of a workdir has orbax's own layout. A checkpoint is the train state, which is data only, and
in its metadata a checksum of every array. Saving is asynchronous; a kill at any moment leaves the last whole
one. One that is damaged is passed over for the newest good one, and never deleted.
"""

import contextlib
import logging
import math
import pathlib
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from hrm_jax.artefacts.errors import RequestError, WriteError, one_line
from hrm_jax.training import processes

NONE_YET = "{workdir} holds no checkpoint yet: run python -m hrm_jax.train --workdir {workdir}"
METRIC = "eval/loss"
CHECKSUMS, STEP = "crc32", "step"  # keys of a step's metadata: the checksums of its arrays, and its number


def loss_of(metrics: dict[str, float] | None) -> float:
    """The held-out loss in a checkpoint's metrics; infinite, and so never the best, where it is no number."""
    loss = (metrics or {}).get(METRIC, math.inf)
    return loss if math.isfinite(loss) else math.inf


BEST = {"best_fn": loss_of, "best_mode": "min"}


class Checkpoints:
    """The checkpoints that a run writes: the latest `keep`, and the best by held-out loss."""

    def __init__(self, workdir: pathlib.Path, keep: int, config: dict[str, Any]):
        best = preserve.BestN(
            get_metric_fn=loss_of, reverse=True, n=1, keep_checkpoints_without_metrics=False
        )
        policy = preserve.AnyPreservationPolicy([preserve.LatestN(keep), best])
        # Without best_fn orbax writes no metrics at all, whatever the policy says.
        options = ocp.CheckpointManagerOptions(**BEST, preservation_policy=policy)
        self._folder = _folder(workdir)
        with self._saving():
            self._manager = ocp.CheckpointManager(self._folder, options=options, metadata={"config": config})

    def save(self, step: int, state: Any, metrics: dict[str, float] | None) -> None:
        """Begin saving `state`; `metrics` of this very step, if it was evaluated. A step is saved once."""
        if step == self._manager.latest_step():
            return
        known = {METRIC: loss_of(metrics)}  # of every step: orbax warns of one without
        args = ocp.args.Composite(state=ocp.args.StandardSave(state))
        metadata = {CHECKSUMS: checksums(state), STEP: step}
        with self._saving():
            if not self._manager.save(step, args=args, metrics=known, force=True, custom_metadata=metadata):
                raise RuntimeError(f"step {step} was not saved, for {self._manager.latest_step()} was")

    def close(self) -> None:
        """Wait for the save under way; an error of a background save is raised here at the latest."""
        with self._saving():
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """A full disk or a folder that is gone: every layer of orbax has a type of error of its own."""
        try:
            yield
        except Exception as error:
            raise WriteError(f"{self._folder} cannot be written ({_line(error)})") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep orbax from saying, in logs and through `sys.excepthook`, what it raises too or puts right itself.

    Blocks may overlap, in several threads.
    """

    def grave(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL

    def heard(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if str(error) != "Event loop is closed":  # of writers, once orbax has given up
            before(kind, error, trace)

    before, sys.excepthook = sys.excepthook, heard
    logger = logging.getLogger("absl")  # orbax's
    logger.addFilter(grave)
    try:
        yield
    finally:
        logger.removeFilter(grave)
        if sys.excepthook is heard:
            sys.excepthook = before


# ---------------------------------------------------------------- reading


class _Damaged(Exception):
    """What is wrong with a checkpoint."""


def restore_newest(workdir: pathlib.Path, like: Any, say: Callable[[str], None]) -> tuple[int, Any] | None:
    """Step and state of the newest good checkpoint; None where there is none at all.

    The state is laid out on the devices as `like` (shapes with shardings) says. Damaged checkpoints go into
    the folder `damaged/`, and `say` is told of it. Where none is good, nothing is touched: `RequestError`.
    """
    if not _folder(workdir).is_dir():
        return None
    with _reading(workdir, ocp.StandardCheckpointHandler()) as manager:
        steps = _steps(manager, workdir)
        args = ocp.args.StandardRestore(like)
        step, state, damaged = _first_good(manager, workdir, steps, args) if steps else (0, None, {})
        for older in steps[len(damaged) + 1 :]:
            with contextlib.suppress(_Damaged), _noticing(older, damaged):
                _metrics(manager, older)
    bad = {str(number): why for number, why in damaged.items()}
    names = [path.name for path in _folder(workdir).iterdir()]
    # A file is no step for orbax, but in its way; 07 is one that it would look for in 7.
    bad |= {name: "no step's folder" for name in names if name.isdecimal() and name not in map(str, steps)}
    for name, why in bad.items():
        say(f"step {name} is damaged ({why}): {_set_aside(workdir, name)}; going on from step {step}")
    return (step, state) if steps else None


def restore_params(
    workdir: pathlib.Path,
    which: str = "latest",
    averaged: bool = True,
    say: Callable[[str], None] = print,
) -> tuple[int, dict[str, Any]]:
    """Step and parameters alone, as NumPy: of the "latest" or "best" step, or of a step number.

    The averaged parameters where the run kept them and `averaged` asks for them; what has no average (sparse
    embeddings, fixed vectors) as it is. Neither the optimizer state nor model code is needed. For a damaged
    step the next one is taken, and `say` is told; one that was asked for by number is refused.
    """
    if not _folder(workdir).is_dir():
        raise RequestError(NONE_YET.format(workdir=workdir))
    with _reading(workdir, ocp.PyTreeCheckpointHandler()) as manager:
        steps = _preferred(manager, workdir, which)
        step, tree, damaged = _first_good(manager, workdir, steps, averaged)
    for name, why in damaged.items():
        say(f"step {name} is damaged ({why}): step {step} is taken")
    return step, tree.get("params", {}) | tree.get("ema_params", {})


@contextlib.contextmanager
def _reading(
    workdir: pathlib.Path, handler: ocp.CheckpointHandler
) -> Generator[ocp.CheckpointManager, None, None]:
    # Lightweight: metrics are read one by one, for a damaged file among them must not hide the others.
    options = ocp.CheckpointManagerOptions(**BEST, create=False, lightweight_initialize=True)
    handlers = {"state": handler}
    with quiet(), ocp.CheckpointManager(_folder(workdir), options=options, item_handlers=handlers) as manager:
        yield manager


def _folder(workdir: pathlib.Path) -> pathlib.Path:
    return (workdir / "checkpoints").resolve()  # a relative one makes orbax fail in its background thread


def _steps(manager: ocp.CheckpointManager, workdir: pathlib.Path) -> list[int]:
    """The steps that have a folder of their own, the newest first."""
    return sorted((n for n in manager.all_steps() if (_folder(workdir) / str(n)).is_dir()), reverse=True)


def _preferred(manager: ocp.CheckpointManager, workdir: pathlib.Path, which: str) -> list[int]:
    """The steps that `which` may mean, the best choice first."""
    steps = _steps(manager, workdir)
    if not steps:
        raise RequestError(NONE_YET.format(workdir=workdir))
    if which == "latest":
        return steps
    if which == "best":  # of equals, as orbax, the latest
        return sorted(steps, key=lambda step: _loss(manager, step))
    if which.isascii() and which.isdigit() and int(which) in steps:
        return [int(which)]
    raise RequestError(f"--step {which}: latest, best, or one of {', '.join(map(str, reversed(steps)))}")


def _loss(manager: ocp.CheckpointManager, step: int) -> float:
    with contextlib.suppress(_Damaged), _noticing(step, {}):
        return loss_of(_metrics(manager, step))
    return math.inf


def _first_good(
    manager: ocp.CheckpointManager, workdir: pathlib.Path, steps: Iterable[int], asked: Any
) -> tuple[int, Any, dict[int, str]]:
    """The first of `steps` that is whole, what it holds, and what is wrong with those before it."""
    damaged: dict[int, str] = {}
    for step in steps:
        with contextlib.suppress(_Damaged), _noticing(step, damaged):
            return step, _restored(manager, step, asked), damaged
    whose = ", ".join(f"step {step} ({why})" for step, why in damaged.items())
    others = [step for step in _steps(manager, workdir) if step not in damaged]
    if others:
        raise RequestError(
            f"{workdir}: {whose} is damaged; there are {', '.join(map(str, others))}, latest, best"
        )
    raise RequestError(
        f"{workdir} holds no checkpoint that can be read: {whose}; remove its checkpoints/ to begin again"
    )


@contextlib.contextmanager
def _noticing(step: int, damaged: dict[int, str]) -> Iterator[None]:
    """Turn whatever goes wrong with a step, on any process, into `_Damaged` on all, and keep the reason.

    Orbax, tensorstore and JSON have a type of error for every damage.
    """
    why = ""
    try:
        yield
    except Exception as error:
        why = _line(error)
    if processes.anywhere(bool(why)):
        damaged[step] = why or "on another process"
        raise _Damaged(damaged[step])


def _restored(manager: ocp.CheckpointManager, step: int, asked: Any) -> Any:
    """What is asked of a step: the arguments of a whole state, or, of parameters, whether averaged ones."""
    metadata = manager.metadata(step)
    if not metadata.init_timestamp_nsecs:  # orbax writes it first, and takes a file that is no JSON for none
        raise _Damaged("_CHECKPOINT_METADATA is not readable")
    _metrics(manager, step)
    args = _params_alone(metadata.item_metadata["state"].tree, asked) if isinstance(asked, bool) else asked
    restored = manager.restore(step, args=ocp.args.Composite(state=args))["state"]
    noted = metadata.custom_metadata or {}  # nothing in a checkpoint of before
    own = noted.get(STEP, getattr(restored, "step", step))
    if int(own) != step:
        raise _Damaged(f"it is a copy of step {int(own)}")
    expected = noted.get(CHECKSUMS, {})
    for name, found in checksums(restored).items():
        if expected.get(name, found) != found:
            raise _Damaged(f"the checksum of {name} differs")
    return restored


def _params_alone(tree: dict[str, Any], averaged: bool) -> ocp.args.PyTreeRestore:
    average = tree.get("ema_params") if averaged and jax.tree.leaves(tree.get("ema_params")) else {}
    rest = {name: group for name, group in tree["params"].items() if name not in average}
    wanted = {name: tree for name, tree in (("params", rest), ("ema_params", average)) if tree}
    return ocp.args.PyTreeRestore(
        item=jax.tree.map(lambda m: np.zeros((), m.dtype), wanted),
        restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted),
        partial_restore=True,
    )


def _metrics(manager: ocp.CheckpointManager, step: int) -> dict[str, float] | None:
    metrics = manager.metrics(step)
    if metrics is not None and not isinstance(dict(metrics).get(METRIC), float):
        raise _Damaged("its metrics are not readable")
    return metrics


def _set_aside(workdir: pathlib.Path, name: str) -> str:
    """Move what is named like a step out of orbax's sight; where it is now."""
    number, place = 1, workdir / "damaged" / name
    while place.exists():
        number, place = number + 1, place.with_name(f"{name}.{number}")
    if jax.process_index() == 0:
        try:
            place.parent.mkdir(exist_ok=True)
            (_folder(workdir) / name).rename(place)
        except OSError as error:
            raise WriteError(f"{place}: cannot be written ({error.strerror})") from None
    processes.anywhere(False)  # all wait until it is done
    return f"moved to {place}"


def checksums(tree: Any) -> dict[str, int]:
    """{path: CRC-32} of the arrays of a tree; of those that no single process holds, none.

    An array that is not finite is a `RequestError`: no run goes on from it.
    """
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            continue
        array = np.asarray(leaf)
        if not np.isfinite(array).all():
            raise RequestError(f"{name} is not finite")
        found[name] = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found


def _line(error: BaseException) -> str:
    text = one_line(error)
    return text if len(text) <= 200 else f"{text[:197]}..."
