"""JSON files, checked against the types that describe them.

`read` reads a file, `lines` one that has a record a line. A file is UTF-8, of so many bytes and levels at
most, and says no key twice. NaN and infinity are numbers only where `nan` says so, and even there not for a
type that has a range.
"""

import copy
import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from hrm_jax.artefacts.errors import RequestError, naming

LARGEST = 2**30  # bytes of a file
DEEPEST = 100  # objects and lists in one another
LONGEST_VALUE = 60  # characters of a wrong value that an error shows
# Text without control characters, marks that turn the direction of writing, halves of surrogate pairs and
# what is no character: some of them no SVG holds, others hide what is written. Every key is such a text.
NAME = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+\Z"


def read(path: str | Path, what: str, nan: bool = False) -> Any:
    """The contents of a JSON file called `what`."""
    return _parsed(_text(Path(path), what), f"{path}: not a readable {what}", nan)


def load(path: str | Path, kind: Any, what: str, nan: bool = False) -> Any:
    """The contents of a JSON file as the type `kind`; anything else is a `RequestError`."""
    data = read(path, what, nan)
    check(path, data, kind, what)
    return msgspec.convert(data, kind)


def lines(path: str | Path, kind: Any, what: str, nan: bool = True) -> list[Any]:
    """The lines of a JSON file as the type `kind`, each checked; a last one that was cut is left out.

    The writer may be at work on the last line, or have been killed there; a whole line ends it.
    """
    text = _text(Path(path), what)
    *rows, rest = text.split("\n")
    records = []
    for number, row in enumerate(rows, 1):
        where = f"{path}: line {number} is not a {what}"
        data = _parsed(row, where, nan)
        if (complaint := _complaint(data, kind)) is not None:
            raise RequestError(f"{where}: {_short(row)}; {_plain(complaint)}")
        records.append(data)
    if rest and (last := _whole(rest, kind, nan)) is not None:
        records.append(last)
    return records


def parse(text: str, what: str, nan: bool = False) -> Any:
    """A JSON text, which an array of an archive holds."""
    return _parsed(text, f"{what} is no JSON", nan)


def _text(path: Path, what: str) -> str:
    try:
        if path.exists() and not path.is_file():  # a folder, or a pipe that nobody may ever write to
            raise RequestError(f"{path}: not a readable {what} (not a file)")
        if (size := path.stat().st_size) > LARGEST:
            raise RequestError(f"{path}: not a readable {what} ({size:,} bytes; at most {LARGEST:,})")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not a readable {what} ({error})") from None


def _parsed(text: str, complaint: str, nan: bool) -> Any:
    hooks: dict[str, Any] = {} if nan else {"parse_constant": _finite, "parse_float": _finite}
    try:
        data = json.loads(text, object_pairs_hook=_object, **hooks)
        _check_depth(data)
        if "\\u" in text:  # the only way to half a surrogate pair, which no file and no screen takes
            json.dumps(data, ensure_ascii=False).encode()
        return data
    except RecursionError:
        raise RequestError(f"{complaint} (nested more than {DEEPEST} deep)") from None
    except ValueError as error:
        raise RequestError(f"{complaint} ({error})") from None


def _check_depth(data: Any) -> None:
    """Refuse what functions that call themselves could not follow."""
    level, depth = [data], 0
    while level := [value for value in level if isinstance(value, dict | list)]:
        if (depth := depth + 1) > DEEPEST:
            raise RecursionError
        parents = (parent.values() if isinstance(parent, dict) else parent for parent in level)
        level = list(itertools.chain.from_iterable(parents))


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if wrong := [key for key in found if not re.search(NAME, key)]:
        raise ValueError(f"{json.dumps(wrong[0])} is no key: printable text is needed")
    if len(found) < len(pairs):
        raise ValueError(
            f"{json.dumps(Counter(key for key, _ in pairs).most_common(1)[0][0])} is there twice"
        )
    return found


def _whole(row: str, kind: Any, nan: bool) -> Any:
    """A last line without its end, or None where it was cut."""
    try:
        data = _parsed(row, "", nan)
    except RequestError:
        return None
    return data if _complaint(data, kind) is None else None


def nullable(value: float | None) -> float | None:
    """As JSON can hold it: null where it is not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def number(value: float | None) -> float:
    """What is read for a `nullable` one: infinite where it is null."""
    return math.inf if value is None else value


def check(path: str | Path, data: object, kind: Any, what: str) -> None:
    """Refuse `data`, read from `path`, unless it is of the type `kind`; keys that it does not name are free.

    The error is one line: the file, the place in it, what is there, and what must be.
    """
    with naming(path):
        fit(data, kind, what)


def fit(data: object, kind: Any, what: str) -> None:
    """`check`, of what is a part of some file."""
    if (complaint := _complaint(data, kind)) is not None:
        found, wanted = _locate(data, kind, complaint)
        raise RequestError(f"not a {what}: {found}; {_plain(wanted)}")


def _complaint(data: object, kind: Any) -> str | None:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        return str(error)
    except OverflowError as error:  # of a whole number that no float holds
        return str(error)
    return None


def _plain(complaint: str) -> str:
    return f"{complaint[0].lower()}{complaint[1:].replace('`', '')}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


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
    shown = _short(json.dumps(value, default=str))
    return f"{''.join(names).removeprefix('.') or 'the file'} is {shown}", wanted


def _only_culprit(data: Any, kind: Any, mapping: dict[str, Any]) -> str:
    """Leave in `mapping`, a part of `data`, only the first entry for which `data` is refused; its key."""
    for name, value in dict(mapping).items():
        mapping.clear()
        mapping[name] = value
        if _complaint(data, kind) is not None:
            break
    return name
