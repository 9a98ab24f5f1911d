"""HTML and SVG built from elements, the cells of tables, and numbers as the page prints them."""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape


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


# ---------------------------------------------------------------- tables


def table(head: Sequence[Markup], bodies: Iterable[Markup], caption: str, **attributes: object) -> Markup:
    """A table that scrolls by itself where the page is narrow."""
    parts = [element("caption", caption), element("thead", *head), *bodies]
    whole = element("table", *parts, **attributes)
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def simple_table(
    names: Sequence[str], rows: Iterable[Markup], caption: str, left: int = 1, **attributes: object
) -> Markup:
    """A table with one head, whose first `left` columns are text, and one body."""
    head = row(*(element("th", n, scope="col", class_=_css(i < left)) for i, n in enumerate(names)))
    return table([head], [element("tbody", *rows)], caption, **attributes)


def _css(text: bool) -> str | None:
    return None if text else "number"


def row(*cells: Markup | None, **attributes: object) -> Markup:
    """A row of cells."""
    return element("tr", *cells, **attributes)


def cell(key: str, value: object, text: str | Markup) -> Markup:
    """A table cell of a number: readable, and exact in `data-value`."""
    return element("td", text, data_key=key, data_value=value, class_="number")


def count(key: str, value: int | None) -> Markup:
    """A table cell of a whole number, or of a gap."""
    return cell(key, value, "–" if value is None else f"{value:,}")


def name_cell(*names: str) -> list[Markup]:
    """Cells that head a row."""
    return [element("th", name, scope="row") for name in names]


def folded(summary: str, content: Markup) -> Markup:
    """Content behind a line that opens it; print opens nothing."""
    return element("details", element("summary", summary), content)
