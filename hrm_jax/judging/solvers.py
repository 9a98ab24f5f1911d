"""What solves puzzles, all by one interface: models by the name of their network, and baselines.

A new family is a function that makes a `Model` of a file's config and parameters, entered in `FAMILIES`. A
policy that walks a maze step by step is one: it answers after one segment with the maze, its walk marked.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import health, model_file, networks
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.model_file import Weights
from hrm_jax.puzzles import kinds
from hrm_jax.puzzles.dataset import PuzzleSet

LARGEST_BATCH = 1024
TOKENS = {"cpu": 2**14, "gpu": 2**17, "tpu": 2**17}  # in a default batch
PUZZLE_EMBEDDING = "puzzles"  # its name among the parameters of a model file
UNKNOWN_SEGMENTS = 16  # of model files that do not say with how many they were trained

# From inputs [B, S] of puzzles with identifiers [B]: tokens [T, B, S] after each segment, and Q values
# [T, B, 2] (halt, continue), NaN where there are none.
Answer = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Solver:
    """What gives answers, always asked in batches of one size."""

    answer: Answer
    batch: int = LARGEST_BATCH


@dataclass(frozen=True)
class Model:
    """A model file that fits the data."""

    solver: Callable[[int, int | None], Solver]  # of so many segments and examples a batch; None: the default
    trained_segments: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)  # what the report says of it besides its answers
    walking: Callable[[], kinds.Scores] | None = None  # what it thinks of moves, where it sees where it is


def solvers(
    models: Mapping[str, Model], puzzles: PuzzleSet, segments: int, batch: int | None
) -> dict[str, Solver]:
    """The models and the baselines of these puzzles, by name; first what the others must be measured by."""
    found = {name: model.solver(segments, batch) for name, model in models.items()}
    given = {name: of_baseline(answer) for name, answer in kinds.baselines(puzzles).items()}
    return given | found if kinds.of(puzzles).measuring else found | given


def of_baseline(answer: kinds.Answer) -> Solver:
    """A baseline as a solver of one segment without Q values."""

    def answers(inputs: np.ndarray, identifiers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return answer(inputs, identifiers)[None], np.full((1, len(inputs), 2), np.nan)

    return Solver(answers)


def load(path: Path, puzzles: PuzzleSet) -> Model:
    """A model file; a `RequestError` says why it cannot be asked about these puzzles."""
    config, params = model_file.read(path, known=tuple(FAMILIES))
    return FAMILIES[config["model"]["name"]](path, config, params, puzzles)


# ---------------------------------------------------------------- HRM-ACT and TRM


def _hrm_act(path: Path, config: dict[str, Any], params: Weights, puzzles: PuzzleSet) -> Model:
    table = params.get(PUZZLE_EMBEDDING)
    _check_data(path, config, table, puzzles)
    checked = _check_identifiers(path, config.get("identifiers"), table, puzzles)
    trained = int(config.get("segments") or UNKNOWN_SEGMENTS)
    about = {
        "parameters": networks.count(params),
        "puzzle_parameters": 0 if table is None else int(table.size),
        "step": config.get("step"),
        "trained_segments": trained,
        **({} if checked else {"identifiers_checked": False}),
        **health.told(config),
    }
    return Model(functools.partial(_hrm_act_solver, path, config["model"], params), trained, about)


def _check_data(path: Path, config: dict[str, Any], table: np.ndarray | None, puzzles: PuzzleSet) -> None:
    """Refuse data of another kind, alphabet, length or numbering."""
    meta, fields, kind = puzzles.meta, config["model"], config.get("kind")
    if kind and puzzles.kind and kind != puzzles.kind:
        raise RequestError(
            f'{path} was trained on puzzles of the kind "{kind}"; {puzzles.folder} has "{puzzles.kind}"'
        )
    identifiers = meta.num_puzzle_identifiers if table is None else len(table)
    for name, own, key in (
        ("vocabulary", fields.get("vocabulary"), "vocab_size"),
        ("sequence", fields.get("sequence"), "seq_len"),
        ("puzzle identifiers", identifiers, "num_puzzle_identifiers"),
    ):
        wanted = getattr(meta, key)
        if own != wanted:
            raise RequestError(
                f"{path} does not fit {puzzles.folder}: {name} {own}, but {key} {wanted}; "
                "a model solves puzzles like those it was trained on"
            )


def _check_identifiers(path: Path, known: str | None, table: np.ndarray | None, puzzles: PuzzleSet) -> bool:
    """Refuse data whose identifiers stand for other puzzles than in training; False: that cannot be told."""
    if table is None or len(table) == 1 or (known and known == puzzles.digest):
        return True
    if known and puzzles.digest:
        raise RequestError(
            f"{path} does not fit {puzzles.folder}: its {len(table):,} puzzle identifiers stand for others "
            "(another builder, order of tasks, or seed of augmentations); it knows the data set it was "
            "trained on alone"
        )
    return False


def _hrm_act_solver(
    path: Path, fields: dict[str, Any], params: Weights, segments: int, batch: int | None
) -> Solver:
    """All segments of a batch by one jitted function."""
    import jax

    from hrm_jax.models import hrm_act

    # Whatever trained it: cuDNN may not be here.
    network = hrm_act.build(hrm_act.for_device(fields | {"attention": "auto"}, jax.devices()[0]))
    run = program(hrm_act.run_segments, network, segments)
    return _jitted(path, params, run, network.config.sequence, (True, network.config.q_continue), batch)


def _jitted(
    path: Path,
    params: Weights,
    run: Callable[..., Any],
    sequence: int,
    taught: tuple[bool, bool],
    batch: int | None,
) -> Solver:
    """A network whose answers and Q values `run` computes of a tree of parameters, inputs and identifiers.

    `taught` says which of the two Q values training taught; the others are NaN.
    """
    import jax

    tree = tree_of(params)

    def answer(inputs: np.ndarray, identifiers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers, q = map(np.asarray, run(tree, inputs.astype(np.int32), identifiers.astype(np.int32)))
        if not np.isfinite(q).all():
            raise RequestError(
                f"{path}: its weights overflow: logits or Q values are not finite, answers worth nothing"
            )
        return answers, np.where(taught, q, np.float32(np.nan))

    tokens = TOKENS.get(jax.default_backend(), TOKENS["gpu"])
    return Solver(answer, batch or max(1, min(tokens // sequence, LARGEST_BATCH)))


def tree_of(params: Weights) -> Any:
    """The parameters of a file as the tree that networks take."""
    import jax

    return jax.tree.map(jax.numpy.asarray, model_file.unflatten(params))


@functools.lru_cache(maxsize=4)
def program(run: Callable[..., Any], network: Any, segments: int) -> Callable[..., Any]:
    """`run` of a network and so many segments, jitted: compiled once, however often it was trained."""
    import jax

    return jax.jit(functools.partial(run, network, segments=segments))


# ---------------------------------------------------------------- Pointer over Heads


def _poh(path: Path, config: dict[str, Any], params: Weights, puzzles: PuzzleSet) -> Model:
    fields = config["model"]
    known = networks.config(fields)
    if known.any_size:  # nothing that it has learned counts the cells
        fields = fields | {"sequence": puzzles.meta.seq_len}
    _check_data(path, config | {"model": fields | {"vocabulary": known.vocabulary}}, None, puzzles)
    about = {
        "parameters": networks.count(params),
        "step": config.get("step"),
        "trained_segments": known.passes,
        **health.told(config),
    }
    walking = (
        functools.partial(_poh_scores, fields, params) if known.start or known.tokens != "walls" else None
    )
    return Model(functools.partial(_poh_solver, path, fields, params), known.passes, about, walking)


def _poh_solver(
    path: Path, fields: dict[str, Any], params: Weights, passes: int, batch: int | None
) -> Solver:
    """A segment is a pass, of which there may be more than in training."""
    from hrm_jax.models import poh

    network = poh.build(fields)
    run, c = program(_run_passes, network, passes), network.config
    return _jitted(path, params, run, c.sequence, (c.halting != "none", c.halting == "q"), batch)


def _run_passes(network: Any, tree: Any, inputs: Any, identifiers: Any, segments: int) -> Any:
    import jax

    from hrm_jax.models import poh

    if network.config.passes > 1:
        return poh.run_passes(network, tree, inputs, segments)
    once = poh.run_passes(network, tree, inputs, 1)  # the blocks have not learned to be run again
    return jax.tree.map(lambda a: jax.numpy.repeat(a, segments, axis=0), once)


def _poh_scores(fields: dict[str, Any], params: Weights) -> kinds.Scores:
    """How good it thinks the moves are that stay on the board."""
    import jax

    from hrm_jax.models import poh
    from hrm_jax.worlds import lattice

    network, tree = poh.build(fields), tree_of(params)

    @jax.jit
    def run(inputs: Any) -> Any:
        board = 1 + lattice.everywhere(jax.numpy, network.config.columns)
        logits = poh.forward(network, tree, inputs, graded=1).logits[-1]
        return poh.move_logits(network, logits, jax.numpy.broadcast_to(board, inputs.shape))

    def scores(inputs: np.ndarray) -> np.ndarray:
        # In powers of two, as walks arrive: a program of every number would be compiled for long.
        padded = np.resize(inputs, (1 << (len(inputs) - 1).bit_length(), inputs.shape[1]))
        return np.asarray(run(padded))[: len(inputs)]

    return scores


FAMILIES: dict[str, Callable[[Path, dict[str, Any], Weights, PuzzleSet], Model]] = {
    "hrm_act": _hrm_act,
    "poh": _poh,
}
