"""`python -m hrm_jax.puzzles check`: what a city's data set is worth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm_jax.artefacts import files as paths
from hrm_jax.console.parser import Parser, program
from hrm_jax.console.tables import markdown
from hrm_jax.puzzles.city import compliance, files

CHECK = f"""What a city data set is worth: the original's 100 points, and gates that they do not see.

    python -m hrm_jax.puzzles check data/city
    python -m hrm_jax.puzzles check city.zip --out compliance.json

Ends with 0 where it has {compliance.READY} points or more and passes every gate, else with 1.
"""


def check(arguments: Sequence[str]) -> int:
    """The command `check`."""
    parser = Parser(f"{program('puzzles')} check", CHECK)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write it as JSON")
    options = parser.parse_args(arguments)
    if options.out:
        paths.check_writable(options.out, [options.source])
    found = compliance.report(files.read(options.source).splits)
    print(_table(found))
    if options.out:
        with paths.atomic_write(options.out) as file:
            file.write(json.dumps(found, indent=1) + "\n")
        print(f"\nWrote {options.out}.")
    return 0 if found["passed"] else 1


def _table(found: dict[str, Any]) -> str:
    rows = [["part", "check", "points", "of", "found"]]
    for check in found["checks"]:
        got = check["points"] if check["passed"] else 0
        rows.append([check["part"], check["name"], str(got), str(check["points"]), check["found"]])
    gates = [["gate", "passed", "found"]]
    gates += [[gate["name"], "yes" if gate["passed"] else "NO", gate["found"]] for gate in found["gates"]]
    failed = sum(not gate["passed"] for gate in found["gates"])
    verdict = "passed" if found["passed"] else f"not passed, {failed} gates failed"
    return f"{markdown(rows)}\n\n{markdown(gates)}\n\n{found['score']} of 100, {found['band']}; {verdict}"
