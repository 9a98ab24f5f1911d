"""The page's templates, the tables made with them, and numbers as the page prints them."""

import functools
import importlib.resources
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from hrm_jax.console.tables import percent

whole = "{:,}".format  # a whole number


@functools.cache
def template(name: str) -> jinja2.Template:
    """A file of templates/."""
    loader = jinja2.PackageLoader("hrm_jax.reporting")
    options: Any = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, autoescape=True, **options)
    environment.filters["px"] = "{:.1f}".format
    return environment.get_template(f"{name}.html.j2")


def part(name: str, *content: Any, **more: Any) -> Markup:
    """A part of the page: `name` is a file of templates/ and its macro, a dot between them."""
    file, _, macro = name.partition(".")
    return getattr(template(file).module, macro)(*content, **more)


def asset(name: str) -> str:
    """The text of a file of assets/."""
    return importlib.resources.files("hrm_jax.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def number(x: float | None, digits: int = 3) -> str:
    """`x` with so many significant digits, without an exponent where that is readable; `–` for a gap."""
    if x is None or not math.isfinite(x):
        return "–"
    if x == 0 or 1e-3 <= abs(x) < 1e6:
        decimals = 0 if x == 0 else max(0, digits - 1 - math.floor(math.log10(abs(x))))
        text = f"{x:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{x:.{digits - 1}e}"


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def ends(interval: Sequence[float]) -> str:
    """An interval of shares in per cent."""
    return " – ".join(map(percent, interval))


def signed_ends(interval: Sequence[float]) -> str:
    """An interval of differences in points."""
    return " to ".join(map(points, interval))


# ---------------------------------------------------------------- tables

Record = Mapping[str, Any]


class Column(NamedTuple):
    """A column of a table. Neighbours with one heading share it, and so do those of one group."""

    key: str  # of the records' values, which may lack it
    heading: str | Markup
    text: Callable[[Any], str] | None = None  # how a number is shown; None: words, or markup
    group: str | None = None  # a heading above
    optional: bool = False  # left out where no record has a value

    @property
    def css(self) -> str | None:
        """The class of its cells."""
        return "number" if self.text else "drawn" if isinstance(self.heading, Markup) else None


def rate_columns(share: str, prefix: str = "", optional: bool = False) -> list[Column]:
    """A rate, headed `share`, and its interval."""
    return [
        Column(f"{prefix}rate", share, percent, optional=optional),
        Column(f"{prefix}interval", "95 % interval", ends, optional=optional),
    ]


def count_columns(successes: str) -> list[Column]:
    """Successes, and of how many."""
    return [Column("success", successes, whole), Column("n", successes, "/ {:,}".format)]


def trial_columns(successes: str, share: str) -> list[Column]:
    """Successes, of how many, their rate and its interval."""
    return count_columns(successes) + rate_columns(share)


def table(
    columns: Sequence[Column],
    bodies: Mapping[tuple[str, str] | None, Sequence[Record]],
    caption: str,
    by: Sequence[str],
    id: str,
    css: str | None = None,
) -> Markup:
    """A table of records.

    `bodies` are records by (class, title) of their part of the table, or by None without a title. A row has
    the values of `by` as `data-` attributes, and the class that its record may hold as `css`.
    """
    records = [record for body in bodies.values() for record in body]
    used = [c for c in columns if not c.optional or any(r.get(c.key) is not None for r in records)]
    return part("tables.table", used, _head(used), bodies, caption, by, id, css)


def _head(columns: Sequence[Column]) -> list[list[tuple[str, dict]]]:
    """Headings and their attributes: a row, or two where some columns have a group."""
    top: list[tuple[str, dict]] = []
    below: list[tuple[str, dict]] = []
    deep = 2 if any(column.group for column in columns) else None
    for group, members in itertools.groupby(columns, lambda column: column.group):
        named = [list(found) for _, found in itertools.groupby(members, lambda column: column.heading)]
        if group:
            width = sum(map(len, named))
            top.append((group, {"scope": "colgroup", "class": "group", "colspan": width}))
        for same in named:
            size = {"rowspan": None if group else deep, "colspan": len(same) if len(same) > 1 else None}
            heading = (same[0].heading, {"scope": "col", "class": same[0].css, **size})
            (below if group else top).append(heading)
    return [row for row in (top, below) if row]


def folded(summary: str, content: Markup) -> Markup:
    """Content behind a line that opens it; print opens nothing."""
    return part("tables.folded", summary, content)
