"""Reports side by side: one table out of several report.json.

python -m hrm_jax.report --report standard.report.json --report hrm-cloud.report.json

A row per model, a column per report. The table is built as rows of text (`comparison`) apart from
printing it (`markdown`).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hrm_jax.errors import Parser, RequestError, exit_on_request_error
from hrm_jax.planning.protocols import PROTOCOLS

REPORT_KEYS = ("protocol", "world", "seeds", "models")
RESULT_KEYS = ("n", "success", "rate", "interval", "collisions", "timeouts", "outcomes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and what a faulty protocol's column shows."""
    parser = Parser(
        prog="hrm_jax.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--report", action="append", required=True, help="report.json; repeatable")
    paths = parser.parse_args(arguments).report
    reports = [load(path) for path in paths]
    print(markdown(comparison(reports)))
    for note in filter(None, map(fault_note, reports)):
        print(f"\n{note}")


def load(path: str | Path) -> dict:
    """Read a report.json; a file that is anything else is a `RequestError`."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: not a readable report.json ({error})") from None
    try:
        whole = all(key in report for key in REPORT_KEYS) and all(
            key in result for result in report["models"].values() for key in RESULT_KEYS
        )
    except (TypeError, AttributeError):
        whole = False
    if not whole:
        wanted = ", ".join((*REPORT_KEYS, *RESULT_KEYS))
        raise RequestError(f"{path}: not a report.json of hrm_jax.evaluate; it must hold {wanted}")
    return report


def comparison(reports: Sequence[dict]) -> list[list[str]]:
    """Rows of text, the heading first: a row per model, a column per report."""
    names = list(dict.fromkeys(name for report in reports for name in report["models"]))
    rows = [["model", *map(heading, reports)]]
    for name in names:
        results = [report["models"].get(name) for report in reports]
        rows.append([name, *(rate(result) if result else "-" for result in results)])
    return rows


def heading(report: dict) -> str:
    """`standard, seeds 0:1000`, and the world where it is not the protocol's own."""
    first, stop = report["seeds"]
    protocol = PROTOCOLS.get(report["protocol"])
    own = protocol is not None and protocol.world == report["world"]
    world = "" if own else f", world {report['world']}"
    return f"{report['protocol']}{world}, seeds {first}:{stop}"


def rate(result: dict) -> str:
    """`34/50  68.0 % [54.2, 79.2]`: successes, their rate and its Wilson 95 % interval."""
    return f"{result['success']}/{result['n']}  {100 * result['rate']:.1f} % {interval(result)}"


def interval(result: dict) -> str:
    """The Wilson 95 % interval in per cent."""
    low, high = result["interval"]
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def fault_note(report: dict) -> str:
    """What the column of a protocol with the published index fault shows; empty for the others."""
    protocol = PROTOCOLS.get(report["protocol"])
    if protocol is None or not protocol.index_shift:
        return ""
    models = report["models"]
    best = max(models, key=lambda name: models[name]["success"])
    name = "oracle" if "oracle" in models else best
    shown = f" ({name}: {rate(models[name])})"
    return (
        f"{protocol.name}: the published planner tests each cell against the prediction one step "
        f"too late, so that even an exact future fails often{shown}. "
        "It measures that fault, not the predictor."
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as an aligned markdown table, the first row its heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


if __name__ == "__main__":
    exit_on_request_error(main)
