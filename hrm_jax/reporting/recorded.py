"""Recorded episodes and answers, which a page shows beside their report: refused where the two contradict."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import answers_file, traces_file
from hrm_jax.artefacts.answers_file import Answers
from hrm_jax.artefacts.errors import RequestError, known, naming
from hrm_jax.artefacts.report_file import PUZZLES
from hrm_jax.artefacts.traces_file import Episode, Trace, Traces
from hrm_jax.judging.reports import agree
from hrm_jax.puzzles.kinds import KINDS, UNKNOWN
from hrm_jax.referee.protocols import PROTOCOLS, PathProtocol, Protocol
from hrm_jax.worlds.rules import SUCCESS, TIMEOUT
from hrm_jax.worlds.world import WORLDS, until

ROUNDING = 0.01  # cells: positions are kept in hundredths


def load(path: Path, report: Any) -> Traces | Answers:
    """What was recorded for `report`, which `judging.reports` has read."""
    of_puzzles = report["protocol"] == PUZZLES
    found: Any = answers_file.load(path) if of_puzzles else traces_file.load(path)
    with naming(path):
        for name in found.models:
            known("model of the report", name, report["models"])
        (_check_answers if of_puzzles else _check_traces)(found, report)
    return found


def _check_ids(ids: Sequence[int], report: Any) -> None:
    first, end = report["seeds"]
    if len(set(ids)) < len(ids) or min(ids) < first or max(ids) >= end:
        raise RequestError(f"ids {ids!s:.99}: each once, from {first} to {end - 1}, is what the report is of")


def _check_outcome(where: str, found: str, name: str, index: int, report: Any) -> None:
    judged = report["models"][name]["outcomes"][index - report["seeds"][0]]
    if found != judged:
        raise RequestError(f'{where} ends in "{found}"; the report says "{judged}"')


# ---------------------------------------------------------------- episodes


def _check_traces(found: Traces, report: Any) -> None:
    rules, size = PROTOCOLS[report["protocol"]], len(found.episodes[0].static)
    agree("kind", found.kind, "paths" if isinstance(rules, PathProtocol) else "cells")
    agree("world.name", found.world.get("name", report["world"]), report["world"])
    if report["world"] in WORLDS:
        agree("cells a side", size, WORLDS[report["world"]].size)
    defined = {key: value for key, value in asdict(rules).items() if key != "seeds"}
    agree("protocol", found.protocol, defined)
    _check_ids([episode.id for episode in found.episodes], report)
    for episode in found.episodes:
        for name, trace in episode.traces.items():
            where = f"episode {episode.id} of {name}"
            _check_outcome(where, trace.outcome, name, episode.id, report)
            if complaint := _complaint(episode, trace, rules, found.world):
                raise RequestError(f"{where} {complaint}")


def _complaint(episode: Episode, trace: Trace, rules: Protocol, world: dict[str, Any]) -> str:
    """What cannot be of an episode that ended so under these rules, or nothing."""
    agent, size = trace.agent / trace.agent_unit, len(episode.static)
    moves, (start, goal) = np.linalg.norm(np.diff(agent, axis=0), axis=-1), episode.ends
    published = isinstance(rules, PathProtocol) and rules.published
    farthest = math.inf if published else rules.speed if isinstance(rules, PathProtocol) else 1
    inside, places = agent[: None if trace.agent_unit == 1 else -1], trace.obstacles / traces_file.HUNDREDTHS
    limit = until(rules.limit(size), world.get("recorded", 0), world.get("history", 0))
    steps = limit + published  # whose first point is tested where the agent stands
    if math.dist(agent[0], start) > ROUNDING:
        return f"begins at {agent[0].tolist()}; its start is {start}"
    half = 0.5 + ROUNDING  # of a cell, which is centred at whole numbers
    if not published and ((inside < -half) | (inside > size - 1 + half)).any():
        return f"leaves its map of {size}x{size} cells"
    if not world.get("recorded") and ((places < 0) | (places > size)).any():
        return f"has an obstacle off its map of {size}x{size} cells"
    if (moves > farthest + 2 * ROUNDING).any():
        return f"moves {moves.max():g} cells in a step; {farthest:g} is the most"
    if len(moves) > steps or (trace.outcome == TIMEOUT and len(moves) != steps):
        return f"makes {len(moves)} steps; {steps} are the most, and a timeout"
    if (
        trace.outcome == SUCCESS
        and not published
        and math.dist(agent[-1], goal) > rules.goal_tolerance + ROUNDING
    ):
        return f"succeeds at {agent[-1].tolist()}; its goal is {goal}"
    return ""


# ---------------------------------------------------------------- answers to puzzles


def _check_answers(found: Answers, report: Any) -> None:
    data = report.get("data") or {}
    agree("segments", found.segments, report["segments"])
    agree("kind", found.kind, report["kind"])
    agree("cells", found.inputs.shape[1], data.get("seq_len") or found.inputs.shape[1])
    size = re.search(r" ([0-9]+)x([0-9]+) \(", report["world"])
    if size and KINDS.get(found.kind, UNKNOWN).one_size:
        agree("height and width", [found.height, found.width], [int(size[1]), int(size[2])])
    most = (data.get("vocab_size") or 256) - 1
    for name in ("inputs", "labels", "predictions"):
        array = getattr(found, name)
        if array.min() < 0 or array.max() > most:
            raise RequestError(f"{name} go from {array.min()} to {array.max()}; tokens are 0 to {most}")
    _check_ids(found.index.tolist(), report)
    if "ignore_label_id" not in data:
        return  # the first reports do not say which labels count
    for name, exact in zip(found.models, found.exact(data["ignore_label_id"]), strict=True):
        for index, right in zip(found.index.tolist(), exact[:, -1], strict=True):
            _check_outcome(f"example {index} of {name}", "01"[int(right)], name, index, report)
