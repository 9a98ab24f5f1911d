"""The page of the cities: one HTML file, without network or library; its parts are in assets/.

python -m hrm_jax.puzzles page --out city.html
python -m hrm_jax.puzzles serve [FOLDER] [--port P]
python -m hrm_jax.puzzles predictions runs/city.traces.npz --out predictions.json
"""

import contextlib
import functools
import http.server
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import answers_file
from hrm_jax.artefacts import files as paths
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console.parser import Parser, at_least, program

LIBRARY = ("numbers", "routes", "law", "zip", "files", "score")  # of the page and of its worker
PAGE = ("drawing", "controls", "scenario", "data", "answers")  # each may use those before it
HOST, PORT = "127.0.0.1", 8000
WRITE = """The page of the cities, one HTML file that opens without network or server.

    python -m hrm_jax.puzzles page --out city.html

Draws the scenarios of any seed, makes the data set and its ZIP of 18 files, scores and shows those of others,
and shows what models answered (hrm_jax.puzzles predictions).
"""
SERVE = """The page of the cities at a local address, with the files of a folder beside it, until Ctrl-C.

    python -m hrm_jax.puzzles serve data --port 8000
"""
PREDICTIONS = """What `hrm_jax.solve --record` kept of a city data set, as JSON for the page of the cities.

    python -m hrm_jax.puzzles predictions runs/city.traces.npz --out predictions.json
"""


def text() -> str:
    """The page."""
    library, page = ("\n".join(_part(f"{name}.js") for name in names) for names in (LIBRARY, PAGE))
    parts = {
        "CSS": _part("page.css"),
        "LIBRARY": f'"use strict";\n\n{library}',
        "WORKER": _part("worker.js"),
        "PAGE": f'(() => {{\n"use strict";\n\n{page}}})();',
    }
    whole = _part("page.html")
    for name, content in parts.items():
        whole = whole.replace(f"/* {name} */", content)
    return whole


def _part(name: str) -> str:
    return (
        importlib.resources.files("hrm_jax.puzzles.city").joinpath("assets", name).read_text(encoding="utf-8")
    )


# ---------------------------------------------------------------- commands


def write(arguments: Sequence[str]) -> None:
    """The command `page`."""
    parser = Parser(f"{program('puzzles')} page", WRITE)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    paths.check_writable(options.out)
    with paths.atomic_write(options.out) as file:
        file.write(text())
    print(f"Wrote {options.out}.")


def serve(arguments: Sequence[str]) -> None:
    """The command `serve`."""
    parser = Parser(f"{program('puzzles')} serve", SERVE)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("."), metavar="FOLDER")
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0: any that is free")
    options = parser.parse_args(arguments)
    at_least(options, port=(0, 65535))
    if not options.folder.is_dir():
        raise RequestError(f"{options.folder}: no such folder")
    try:
        server = http.server.ThreadingHTTPServer(
            (HOST, options.port), functools.partial(_Handler, directory=options.folder)
        )
    except OSError as error:
        raise RequestError(f"--port {options.port}: {error.strerror}; another port, or 0 for any") from None
    with server:
        print(f"http://{HOST}:{server.server_port}/ until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The page at the root, and the files of a folder."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/":
            return super().do_GET()
        body = text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The address is all that is said."""


def predictions(arguments: Sequence[str]) -> None:
    """The command `predictions`."""
    parser = Parser(f"{program('puzzles')} predictions", PREDICTIONS)
    parser.add_argument("traces", type=Path, metavar="TRACES", help="report.traces.npz of hrm_jax.solve")
    parser.add_argument("--model", help="which, where several were recorded")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    paths.check_writable(options.out, [options.traces])
    recorded = answers_file.load(options.traces)
    if recorded.kind != "city":
        raise RequestError(
            f"{options.traces}: answers to puzzles of kind {recorded.kind!r}; those of cities are shown"
        )
    name = options.model or recorded.models[0]
    if name not in recorded.models or (options.model is None and len(recorded.models) > 1):
        raise RequestError(f"{options.traces}: --model is one of {', '.join(recorded.models)}")
    with paths.atomic_write(options.out) as file:
        json.dump(exported(recorded, name), file, separators=(",", ":"))
    print(f"Wrote {options.out}.")


def exported(recorded: Answers, model: str) -> dict[str, Any]:
    """A model's answers as JSON data: of an example input, label, vehicle (0: not said), a grid a segment."""
    columns = (
        recorded.index,
        recorded.inputs,
        recorded.labels,
        recorded.puzzle_of_example,
        recorded.predictions[recorded.models.index(model)],
    )
    names = ("index", "input", "label", "vehicle", "segments")
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    return {
        "kind": "city",
        "model": model,
        "height": recorded.height,
        "width": recorded.width,
        "examples": [dict(zip(names, row, strict=True)) for row in rows],
    }
