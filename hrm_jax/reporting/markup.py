"""HTML and SVG built from elements, the cells of tables, and numbers as the page prints them."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from hrm_jax.console.tables import percent

whole = "{:,}".format  # a whole number


def element(name: str, *content: object, **attributes: object) -> Markup:
    """`<name attributes>content</name>`; strings and numbers are escaped, lists joined, None left out.

    Attribute names are written with `_` for `-`, and a trailing `_` where Python reserves the word.
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    opening = " ".join([name, *(f'{key}="{escape(value)}"' for key, value in given if value is not None)])
    return Markup(f"<{opening}>{join(content)}</{name}>")


def join(content: object) -> Markup:
    """Content of an element: nested lists and tuples of strings, numbers and markup."""
    if isinstance(content, list | tuple):
        return Markup("").join(map(join, content))
    return Markup("") if content is None else escape(content)


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
        """The class of its heading."""
        return "number" if self.text else "drawn" if isinstance(self.heading, Markup) else None

    def cell(self, record: Record, heads: bool) -> Markup:
        """The value in a row: readable, and of a number exact in `data-value`; words may head it."""
        value = record.get(self.key)
        if self.text is None:
            if heads:
                return element("th", value, scope="row")
            return element("td", value, class_="drawn" if isinstance(value, Markup) else None)
        exact = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        text = "–" if value is None else self.text(value)
        return element("td", text, data_key=self.key, data_value=exact, class_="number")


def rate_columns(share: str, prefix: str = "", optional: bool = False) -> list[Column]:
    """A rate, headed `share`, and its interval."""
    return [
        Column(f"{prefix}rate", share, percent, optional=optional),
        Column(f"{prefix}interval", "95 % interval", ends, optional=optional),
    ]


def trial_columns(successes: str, share: str) -> list[Column]:
    """Successes, of how many, their rate and its interval."""
    of = [Column("success", successes, whole), Column("n", successes, "/ {:,}".format)]
    return of + rate_columns(share)


def table(
    columns: Sequence[Column],
    bodies: Mapping[tuple[str, str] | None, Sequence[Record]],
    caption: str,
    by: Sequence[str],
    **attributes: object,
) -> Markup:
    """A table that scrolls by itself where the page is narrow.

    `bodies` are records by (class, title) of their part of the table, or by None without a title. A row has
    the values of `by` as `data-` attributes, and the class that its record may hold as `css`.
    """
    records = [record for body in bodies.values() for record in body]
    used = [c for c in columns if not c.optional or any(r.get(c.key) is not None for r in records)]
    parts = [element("caption", caption), element("thead", *_head(used))]
    parts += [_body(used, name, body, by) for name, body in bodies.items()]
    whole_table = element("table", *parts, **attributes)
    return element("div", whole_table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _head(columns: Sequence[Column]) -> list[Markup]:
    """A row of headings, or two where some columns have a group."""
    top: list[Markup] = []
    below: list[Markup] = []
    deep = 2 if any(column.group for column in columns) else None
    for group, members in itertools.groupby(columns, lambda column: column.group):
        named = [list(found) for _, found in itertools.groupby(members, lambda column: column.heading)]
        if group:
            width = sum(map(len, named))
            top.append(element("th", group, scope="colgroup", class_="group", colspan=width))
        for same in named:
            size = {"rowspan": None if group else deep, "colspan": len(same) if len(same) > 1 else None}
            heading = element("th", same[0].heading, scope="col", class_=same[0].css, **size)
            (below if group else top).append(heading)
    return [element("tr", *part) for part in (top, below) if part]


def _body(
    columns: Sequence[Column], name: tuple[str, str] | None, records: Sequence[Record], by: Sequence[str]
) -> Markup:
    rows = [
        element(
            "tr",
            *(column.cell(record, column.key in by) for column in columns),
            **{f"data_{key}": record[key] for key in by},
            class_=record.get("css"),
        )
        for record in records
    ]
    if name is None:
        return element("tbody", *rows)
    css, title = name
    heading = element("th", title, colspan=len(columns), scope="rowgroup")
    return element("tbody", element("tr", heading, class_="kind"), *rows, class_=css)


def folded(summary: str, content: Markup) -> Markup:
    """Content behind a line that opens it; print opens nothing."""
    return element("details", element("summary", summary), content)
