"""JSON files, checked against the types that describe them."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from hrm_jax.artefacts.errors import RequestError

LONGEST_VALUE = 60  # characters of a wrong value that an error shows


def read(path: str | Path, what: str) -> Any:
    """The contents of a JSON file called `what`; NaN is a number."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not a readable {what} ({error})") from None


def load(path: str | Path, kind: Any, what: str) -> Any:
    """The contents of a JSON file as the type `kind`; anything else is a `RequestError`."""
    data = read(path, what)
    check(path, data, kind, what)
    return msgspec.convert(data, kind)


def check(path: str | Path, data: object, kind: Any, what: str) -> None:
    """Refuse `data`, read from `path`, unless it is of the type `kind`; keys that it does not name are free.

    The error is one line: the file, the place in it, what is there, and what must be.
    """
    complaint = _complaint(data, kind)
    if complaint is None:
        return
    found, wanted = _locate(data, kind, complaint)
    raise RequestError(f"{path}: not a {what}: {found}; {wanted[0].lower()}{wanted[1:].replace('`', '')}")


def _complaint(data: object, kind: Any) -> str | None:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _locate(data: Any, kind: Any, complaint: str) -> tuple[str, str]:
    """What is at the place that is wrong, and what is wanted there.

    msgspec names the fields of an object, but writes `[...]` for any key of a mapping.
    """
    data = copy.deepcopy(data)
    wanted, _, place = complaint.partition(" - at `$")
    value, names = data, []
    for field, index in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", place):
        name: str | int = field
        if index:
            name = _only_culprit(data, kind, value) if index == "..." else int(index)
        value = value[name]
        names.append(f"[{name}]" if isinstance(name, int) else f".{name}")
    shown = json.dumps(value, default=str)
    short = shown if len(shown) <= LONGEST_VALUE else f"{shown[: LONGEST_VALUE - 3]}..."
    return f"{''.join(names).removeprefix('.') or 'the file'} is {short}", wanted


def _only_culprit(data: Any, kind: Any, mapping: dict[str, Any]) -> str:
    """Leave in `mapping`, a part of `data`, only the first entry for which `data` is refused; its key."""
    for name, value in dict(mapping).items():
        mapping.clear()
        mapping[name] = value
        if _complaint(data, kind) is not None:
            break
    return name
