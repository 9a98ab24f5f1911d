"""What long work has found is not lost: it reaches its file or a spare one, and the screen, before extras."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hrm_jax.artefacts import files, report_file
from hrm_jax.artefacts.errors import RequestError, WriteError
from hrm_jax.console.parser import interruptible

MOST_RECORDED = 1000  # episodes, or examples, of which a page has them all


def check(out: Path, recorded: int, reads: Sequence[str | Path | None]) -> None:
    """Refuse, before the work, places that cannot be written or that the same request reads."""
    files.check_writable(out, reads)
    if recorded:
        files.check_writable(_traces(out), [*reads, out])


def keep(out: Path, report: Any, table: str) -> None:
    """Write a report, of a type of `report_file`, and print its table, both whatever becomes of the other.

    Where the report cannot be written to `out`, a `WriteError` names the temporary file that has it.
    """
    failed = _write(out, report)
    print(table, flush=True)
    if failed:
        raise WriteError(failed)
    print(f"\nWrote {out}.", flush=True)


def record(out: Path, report: Any, write: Callable[[Path], None]) -> None:
    """Let `write` record episodes or answers next to the report in `out`, which then names their file."""
    with interruptible(f"{out} is whole, without what was to be recorded"):
        write(_traces(out))
        report["traces"] = _traces(out).name
        report_file.write(out, report)


def say_left_out(what: str, left_out: int, chosen: int) -> None:
    """Say how many of those chosen are not recorded; that none is left is a `RequestError`."""
    if not left_out:
        return
    said = f"{left_out} of {chosen} {what} came out otherwise than when they were judged, by rounding"
    if left_out == chosen:
        raise RequestError(f"nothing is recorded: {said}")
    print(f"{said}: they are left out", file=sys.stderr)


def _traces(out: Path) -> Path:
    return out.with_suffix(".traces.npz")


def _write(out: Path, report: Any) -> str:
    """What went wrong, and where the report is now; or empty."""
    try:
        report_file.write(out, report)
        return ""
    except RequestError as error:
        spare = _written_elsewhere(out.name, report)
        lost = "nor can a temporary file: the table is all that there is of the report"
        return f"{error}; the report is in {spare}" if spare else f"{error}, {lost}"


def _written_elsewhere(name: str, report: Any) -> Path | None:
    """A temporary file that has the report; None where it cannot be written either."""
    with contextlib.suppress(RequestError, OSError):
        folder = Path(tempfile.mkdtemp(prefix="hrm_jax-"))
        try:
            report_file.write(folder / name, report)
            return folder / name
        except RequestError:
            folder.rmdir()
    return None
