"""HTML built from elements: whatever is not `Html` already is escaped on the way in."""

import html
import math


class Html(str):
    """Text that is markup, to be put on the page as it is."""


def element(name: str, *content: object, **attributes: object) -> Html:
    """`<name attributes>content</name>`; strings and numbers are escaped, lists joined, None left out.

    Attribute names are written with `_` for `-`, and a trailing `_` where Python reserves the word.
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    opening = " ".join([name, *(f'{key}="{html.escape(str(v))}"' for key, v in given if v is not None)])
    return Html(f"<{opening}>{join(content)}</{name}>")


def join(content: object) -> Html:
    """Content of an element: nested lists and tuples of strings, numbers and `Html`."""
    if content is None:
        return Html("")
    if isinstance(content, list | tuple):
        return Html("".join(map(join, content)))
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def number(x: float | None, digits: int = 3) -> str:
    """`x` with so many significant digits, without an exponent where that is readable; `-` for a gap."""
    if x is None or not math.isfinite(x):
        return "–"
    if x == 0 or 1e-3 <= abs(x) < 1e6:
        decimals = 0 if x == 0 else max(0, digits - 1 - math.floor(math.log10(abs(x))))
        text = f"{x:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{x:.{digits - 1}e}"


def percent(share: float) -> str:
    """A share as per cent with one decimal, without the sign."""
    return f"{100 * share:.1f}"


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
