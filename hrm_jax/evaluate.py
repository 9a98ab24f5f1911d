"""Closed-loop evaluation: predictors, a protocol, scenarios -> report.json and a table.

python -m hrm_jax.evaluate --model model.npz --model reflection --model oracle --out report.json
python -m hrm_jax.evaluate --model oracle --protocol hrm-cloud/2025-12 --out legacy.report.json
python -m hrm_jax.evaluate --protocol paths --model hybrid.npz --predictor lstm.npz --out paths.json

Needs NumPy and scipy only; `--backend jax` computes the predictions of model files with jax.
"""

import argparse
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, provenance
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.artefacts.scenarios import load as load_scenarios
from hrm_jax.console import memory as allocator
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.judging import recording, statistics
from hrm_jax.judging.entrants import (
    BACKENDS,
    PATH_PLANNERS,
    PREDICTORS,
    Rival,
    make_forecaster,
    make_planner,
    make_rival,
    referee,
)
from hrm_jax.referee import drawing
from hrm_jax.referee.cells import episode
from hrm_jax.referee.cells.protocols import PROTOCOLS, Protocol
from hrm_jax.referee.paths import episode as path_episode
from hrm_jax.referee.paths.planners import ALWAYS
from hrm_jax.referee.paths.protocols import PATH_PROTOCOLS, PathProtocol
from hrm_jax.report import fault_note, groups, interval, markdown
from hrm_jax.worlds.world import WORLDS, World

ALL_PROTOCOLS = PROTOCOLS | PATH_PROTOCOLS
BUILT_IN = (*PREDICTORS, *PATH_PLANNERS)
Rules = Protocol | PathProtocol
LAST_SEED = 2**32  # of NumPy's legacy generator; also the bound here


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Evaluate as the command line asks; nothing is written unless all of it is done."""
    allocator.keep_freed_memory()
    with interruptible("no report was written"):
        return _evaluate(_parser().parse_args(arguments))


def _evaluate(options: argparse.Namespace) -> None:
    """Everything that can be wrong with the request is found before the first episode."""
    if options.record < 0:
        raise RequestError(f"--record {options.record}: 0 or more")
    protocol = ALL_PROTOCOLS[_known("protocol", options.protocol, ALL_PROTOCOLS)]
    paths = model_files(options.model)
    always = ALWAYS if isinstance(protocol, PathProtocol) else ()
    scenarios = _scenarios(options, protocol)
    rivals = _rivals(
        options, paths | {name: None for name in always if name not in paths}, scenarios.world, protocol
    )
    files.check_writable(options.out)
    results = play_all(rivals, scenarios, protocol, options.backend)
    report = build_report(scenarios, protocol, results, rivals)
    if options.record:
        asked = {name: rivals[name] for name in paths}
        report["traces"] = _record(options, scenarios, protocol, asked, results)
    _write(options.out, report)
    print(_table(report, protocol, protocol.limit(scenarios.world.size)))
    print(f"\nWrote {options.out}.")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("evaluate"), __doc__)
    add = parser.add_argument
    add("--model", action="append", required=True, metavar="NAME|FILE|NAME=FILE",
        help=f"repeatable; a model.npz, or one of {', '.join(PREDICTORS)}; for paths, of "
        f"{', '.join(PATH_PLANNERS)}")  # fmt: skip
    add("--predictor", metavar="NAME|FILE",
        help="rolls the obstacles forward for planners of paths that ask for it")  # fmt: skip
    add("--protocol", default="standard", help=", ".join(ALL_PROTOCOLS))
    add("--world", help=f"a scenarios.npz, or one of {', '.join(WORLDS)}; default: the protocol's")
    add("--episodes", type=int, help="how many, from the protocol's first seed on")
    add("--seeds", metavar="A:B", help="scenario ids A to B-1")
    add("--backend", choices=BACKENDS, default="numpy",
        help="numpy is the referee; jax predicts for it; jit plays whole episodes on the device")  # fmt: skip
    add("--record", type=int, default=0, metavar="N",
        help="also write N episodes that tell the models apart, for the report's player")  # fmt: skip
    add("--out", type=Path, required=True, help="where report.json goes")
    return parser


# ---------------------------------------------------------------- reading the request


def _known(kind: str, name: str, allowed: Sequence[str]) -> str:
    if name not in allowed:
        names = ", ".join(allowed)
        raise RequestError(f'unknown {kind} "{name}"{nearest(name, allowed)}; allowed: {names}')
    return name


def model_files(requests: Sequence[str]) -> dict[str, Path | None]:
    """Names of the models in order, with the file of each, None for the predictors built in."""
    files = {}
    for request in requests:
        name, path = _model_file(request)
        if name in files:
            raise RequestError(f'two models are called "{name}"; name one with --model NAME=FILE')
        files[name] = path
    return files


def _model_file(request: str) -> tuple[str, Path | None]:
    if request in BUILT_IN:
        return request, None
    if _is_file(request):
        path = Path(request)
        return (path.stem if path.stem != "model" else path.resolve().parent.name), path
    name, separator, path = request.partition("=")
    if not separator:
        _known("model", request, (*BUILT_IN, "FILE.npz"))
    if not name or name in BUILT_IN:
        raise RequestError(f'--model {request}: "{name}" cannot name a model file; choose another')
    return name, Path(path)


def _is_file(text: str) -> bool:
    return Path(text).exists() or ("=" not in text and (text.endswith(".npz") or os.sep in text))


def _rivals(
    options: argparse.Namespace, paths: dict[str, Path | None], asked: World, protocol: Rules
) -> dict[str, Rival]:
    """Predictors, or under the protocols of paths planners; a name of the other kind is refused."""
    of_paths = isinstance(protocol, PathProtocol)
    for name, path in paths.items():
        if path is None:
            _known(f'model under protocol "{protocol.name}"', name, PATH_PLANNERS if of_paths else PREDICTORS)
    if options.predictor and not of_paths:
        raise RequestError(
            f'--predictor is for the protocols {", ".join(PATH_PROTOCOLS)}, not "{protocol.name}"'
        )
    if not of_paths:
        return {name: make_rival(name, path, options.backend, asked) for name, path in paths.items()}
    forecaster = None
    if options.predictor:  # read once, and refused if wrong even where no planner needs it
        forecaster = make_forecaster(options.predictor, options.backend, asked)
    return {
        name: make_planner(name, path, options.backend, asked, protocol, forecaster)
        for name, path in paths.items()
    }


def _scenarios(options: argparse.Namespace, protocol: Rules) -> Scenarios:
    """The scenarios asked for, drawn or read."""
    name = options.world or protocol.world
    stored = load_scenarios(name) if name not in WORLDS and _is_file(name) else None
    chosen = stored.world if stored else WORLDS[_known("world", name, (*WORLDS, "FILE.npz"))]
    own = WORLDS[protocol.world]
    if chosen.layout != own.layout:
        allowed = [key for key, value in ALL_PROTOCOLS.items() if WORLDS[value.world].layout == chosen.layout]
        raise RequestError(
            f'protocol "{protocol.name}" is for worlds of {own.layout}; "{name}" is one of {chosen.layout}, '
            f"for which there are {', '.join(allowed)}"
        )
    if not protocol.any_world and chosen != own:
        raise RequestError(
            f'protocol "{protocol.name}" is defined on world "{protocol.world}" alone, not on '
            f'"{name}"; protocols for any world: '
            + ", ".join(key for key, value in ALL_PROTOCOLS.items() if value.any_world)
        )
    if stored is None:
        return drawing.draw(chosen, range(*_seed_range(options, protocol.seeds, LAST_SEED)))
    held = int(stored.ids[0]), int(stored.ids[-1]) + 1
    first, stop = _seed_range(options, held, held[1])
    if first < held[0]:
        raise RequestError(f"--seeds {options.seeds}: {name} holds {held[0]}:{held[1]}")
    return stored.select(slice(first - held[0], stop - held[0]))


def _seed_range(options: argparse.Namespace, default: tuple[int, int], limit: int) -> tuple[int, int]:
    """First and last + 1 of the scenario ids."""
    count = options.episodes
    if count is not None and count < 1:
        raise RequestError(f"--episodes {count}: at least 1 is needed")
    if options.seeds is None:
        first, stop = default[0], default[1] if count is None else default[0] + count
    else:
        first, stop = _parse_seeds(options.seeds)
        if count not in (None, stop - first):
            raise RequestError(
                f"--episodes {count} contradicts --seeds {options.seeds}, which are {stop - first}"
            )
    if stop > limit:
        raise RequestError(f"seeds {first}:{stop} go beyond {limit}, where those available end")
    return first, stop


def _parse_seeds(text: str) -> tuple[int, int]:
    first, _, stop = text.partition(":")
    if not (first.isdecimal() and stop.isdecimal() and text.isascii()):
        raise RequestError(f"--seeds {text}: A:B is needed, whole numbers with 0 <= A < B")
    if int(first) >= int(stop):
        raise RequestError(f"--seeds {text}: {first} is not before {stop}; A:B needs A < B")
    return int(first), int(stop)


# ---------------------------------------------------------------- running


def play_all(
    rivals: dict[str, Rival], scenarios: Scenarios, protocol: Rules, backend: str
) -> dict[str, episode.Result]:
    """Every rival's episodes."""
    play = referee(backend, protocol)
    return {name: _run(name, rival, scenarios, protocol, play) for name, rival in rivals.items()}


def _run(name: str, rival: Rival, scenarios: Scenarios, protocol: Rules, play: Callable) -> episode.Result:
    """The episodes of one model; progress and seconds on stderr."""
    began = time.perf_counter()
    try:
        result = play(rival, scenarios, protocol, _progress(name))
    except RequestError as error:
        raise RequestError(f'model "{name}": {error}') from None
    seconds = time.perf_counter() - began
    _say(f"{chr(13) if sys.stderr.isatty() else ''}{name}: {len(scenarios)} episodes in {seconds:.1f} s")
    return result


_say = functools.partial(print, file=sys.stderr, flush=True)


def _progress(name: str) -> Callable[[int, int], None] | None:
    """A line that overwrites itself, where somebody sees it."""
    if not sys.stderr.isatty():
        return None
    return lambda done, total: _say(f"\r{name}: {done}/{total} episodes", end="")


def _record(
    options: argparse.Namespace,
    scenarios: Scenarios,
    protocol: Rules,
    rivals: dict[str, Rival],
    results: dict[str, episode.Result],
) -> str:
    """Write the traces beside the report, of one model a group; the file's name."""
    shown: dict[str, Any] = {}
    groups = set()
    for name, rival in rivals.items():
        group = rival.about.get("group", name)
        if group not in groups:
            shown[name] = rival.play
        groups.add(group)
    chosen = recording.choose({name: results[name].outcomes for name in shown}, options.record)
    path = options.out.with_suffix(".traces.npz")
    if isinstance(protocol, PathProtocol):
        ones = [scenarios.select(slice(i, i + 1)) for i in chosen]
        traces = {
            name: [path_episode.trace(one, protocol, planner) for one in ones]
            for name, planner in shown.items()
        }
        recording.write_paths(path, scenarios, protocol, traces, chosen)
    else:
        recording.record(path, scenarios, protocol, shown, chosen, _progress("recording"))
    return path.name


# ---------------------------------------------------------------- the report


def build_report(
    scenarios: Scenarios,
    protocol: Rules,
    results: dict[str, episode.Result],
    rivals: dict[str, Rival],
) -> dict:
    """The contents of report.json."""
    outcomes = {name: result.outcomes for name, result in results.items()}
    return {
        "protocol": protocol.name,
        "world": scenarios.world.name,
        "seeds": [int(scenarios.ids[0]), int(scenarios.ids[-1]) + 1],
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "models": {name: rivals[name].about | _summary(result) for name, result in results.items()},
        "pairs": statistics.pairs({name: _solved(of_model) for name, of_model in outcomes.items()}),
        **_groups(outcomes, rivals),
    }


def _summary(result: episode.Result) -> dict:
    outcomes, errors = result.outcomes, result.errors.summary()
    n, success = len(outcomes), outcomes.count(episode.SUCCESS)
    return {
        "n": n,
        "success": success,
        "rate": success / n,
        "interval": list(statistics.wilson(success, n)),
        "collisions": outcomes.count(episode.COLLISION),
        "timeouts": outcomes.count(episode.TIMEOUT),
        **({"failures": result.failures} if result.failures else {}),
        **({"prediction": errors} if errors else {}),
        "outcomes": outcomes,
    }


def _solved(outcomes: str) -> np.ndarray:
    """Which episodes [N] were successes."""
    return np.array([outcome == episode.SUCCESS for outcome in outcomes])


def _groups(outcomes: dict[str, str], rivals: dict[str, Rival]) -> dict[str, Any]:
    """Models trained several times, as one: their spread over training seeds, and tests between groups."""
    members: dict[str, list[str]] = {}
    for name, rival in rivals.items():
        if "group" in rival.about:
            members.setdefault(rival.about["group"], []).append(name)
    solved = {
        group: np.array([_solved(outcomes[name]) for name in names], int) for group, names in members.items()
    }
    rates = {group: rows.mean(axis=1).tolist() for group, rows in solved.items()}
    summaries = {
        group: {"seeds": len(r), "mean": float(np.mean(r)), "min": min(r), "max": max(r), "rates": r,
                "std": float(np.std(r, ddof=1)) if len(r) > 1 else None}
        for group, r in rates.items()
    }  # fmt: skip
    pairs = [
        {
            "a": a,
            "b": b,
            "difference": summaries[a]["mean"] - summaries[b]["mean"],
            "p_episodes": statistics.sign_flip(solved[a].sum(axis=0) - solved[b].sum(axis=0)),
            "p_seeds": statistics.welch(rates[a], rates[b]),
        }
        for a, b in itertools.combinations(solved, 2)
        if len(solved[a]) == len(solved[b])
    ]
    return {"groups": summaries, "group_pairs": pairs} if summaries else {}


def _write(out: Path, report: dict) -> None:
    with files.written_whole(out) as file:
        file.write(json.dumps(report, indent=1) + "\n")


def _table(report: dict, protocol: Rules, limit: int) -> str:
    """What a reader of the terminal gets: a row per model, and how to read it."""
    rows = [["model", "episodes", "successes", "rate %", "95 % interval", "collisions", "timeouts"]]
    for name, result in report["models"].items():
        counts = [str(result[key]) for key in ("collisions", "timeouts")]
        rate = [f"{100 * result['rate']:.1f}", interval(result)]
        rows.append([name, str(result["n"]), str(result["success"]), *rate, *counts])
    first, stop = report["seeds"]
    title = f"protocol {report['protocol']}, world {report['world']}, seeds {first}:{stop}"
    success = f"the goal within {limit} steps without a collision"
    if isinstance(protocol, PathProtocol) and protocol.published:
        success = "no point of the path touches anything at its time, as published"
    legend = f"Success: {success}. Interval: Wilson. Paired tests are in the report."
    return "\n\n".join(filter(None, (title, markdown(rows), legend, groups(report), fault_note(report))))


if __name__ == "__main__":
    sys.exit(run_command(main))
