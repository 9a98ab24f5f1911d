"""README.md beside a model.safetensors: what the model is, for people and for model hubs."""

import json
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from hrm_jax.artefacts import health, networks
from hrm_jax.artefacts.archive import Arrays

BEGIN = "---\nlibrary_name: hrm_jax\n"


class Kind(NamedTuple):
    """What a reader asks of a family of networks. FOLDER is the model's."""

    networks: Container[str]
    what: str
    use: str
    judge: str


KINDS = {
    "predictor": Kind(
        networks.PREDICTORS,
        "A predictor of moving obstacles in a grid world: it reads their last positions and says where they "
        "will be, step by step, in cells. A planner acts on that.",
        "model(history, horizon)  # [A, H, N, 2] to [A, horizon, N, 2], in cells",
        "hrm-jax evaluate --model mine=FOLDER --model reflection --model oracle --out report.json",
    ),
    "denoiser": Kind(
        networks.DENOISERS,
        "A planner of paths by denoising: from a map, start and goal it draws whole paths of points. How it "
        "plans is in `config.json`, `plan`.",
        "model.plan(view, None)  # hrm_jax.referee.paths.planners.View",
        "hrm-jax evaluate --protocol paths --model mine=FOLDER --model oracle --out report.json",
    ),
    "puzzle": Kind(
        networks.PUZZLES,
        "A recurrent network for puzzles: it reads the cells as tokens and writes an answer into every cell, "
        "anew after every segment of computation.",
        "model(inputs)  # tokens [B, S] to the answers after every segment, [T, B, S]",
        "hrm-jax solve --data DATA --model mine=FOLDER",
    ),
}


def text(config: Mapping[str, Any], weights: Arrays) -> str:
    """The card of the model that a config of a model file describes, with its parameters."""
    name = config["model"]["name"]
    called, kind = next((called, kind) for called, kind in KINDS.items() if name in kind.networks)
    licence = "other" if "source" in config else "apache-2.0"
    sections = {
        "What it is": _table(_facts(config, weights)),
        "Held-out metrics": _held_out(config),
        "Use": f'```python\nimport hrm_jax\n\nmodel = hrm_jax.load("FOLDER")\n{kind.use}\n```\n\n'
        f"```\n{kind.judge}\n```",
        "Training": _training(config),
        "Limits": _limits(config, called),
        "Licence": _licence(config),
    }
    return "\n".join(
        [
            f"{BEGIN}license: {licence}\ntags: [jax, flax, {called}, {name}]\n---\n",
            f"# {name}, {networks.count(weights):,} parameters\n\n{kind.what}\n",
            *(f"## {title}\n\n{section}\n" for title, section in sections.items()),
        ]
    )


def _facts(config: Mapping[str, Any], weights: Arrays) -> dict[str, Any]:
    trained, versions = config.get("config", {}), config.get("versions", {})
    facts = {
        "network": config["model"]["name"],
        "parameters": f"{networks.count(weights):,}",
        "task": config.get("task", trained.get("task")),
        "updates": config.get("step"),
        "seed": trained.get("seed"),
        "world": (config.get("world") or {}).get("name"),
        "cells a side": (config.get("world") or {}).get("size"),
        "steps of history": config.get("history"),
        "puzzles": config.get("kind"),
        "imported from": config.get("source"),
        "hrm_jax": versions.get("hrm_jax"),
        "commit": config.get("commit"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _held_out(config: Mapping[str, Any]) -> str:
    found = config.get("held_out")
    if not found:
        return "Not known: the file that this was made of does not say them."
    rows = {f"`{name}`": "not finite" if value is None else f"{value:.4g}" for name, value in found.items()}
    return _table(rows) + "\n\nMeasured by the training run on data that it did not train on, open loop."


def _training(config: Mapping[str, Any]) -> str:
    if "config" not in config:
        return "Not known: this was imported."
    shown = json.dumps(config["config"], indent=2)
    return f"The config of the run; `hrm_jax.train` repeats it:\n\n```json\n{shown}\n```"


def _limits(config: Mapping[str, Any], kind: str) -> str:
    lines = [
        "What it does in a closed loop is not said here: judge it before you use it, by the command above."
    ]
    if kind == "puzzle":
        lines.append("It answers puzzles like those it was trained on: of the same kind, size and alphabet.")
    else:
        lines.append("It was trained in simulated worlds of one size, and is refused in others.")
        lines.append("It has seen no recorded data; nothing here says that a robot is safe with it.")
    lines += [f"It {fault}." for fault in health.faults(config.get("health"))]
    return "\n".join(f"* {line}" for line in lines)


def _licence(config: Mapping[str, Any]) -> str:
    if source := config.get("source"):
        return f"That of {source}, which it was imported from. hrm_jax itself: Apache-2.0."
    return "Apache-2.0, as hrm_jax. Whoever trained it may choose another: then change this and `license`."
