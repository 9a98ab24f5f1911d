"""Puzzles solved by trained models: model.npz and a data set -> a table and report.json.

    python -m hrm_jax.solve --data data/maze10 --model model.npz --segments 64
    python -m hrm_jax.solve --data data/maze10 --model raw=a.npz --model mean=b.npz --record 6 --out r.json

Every example is answered once, from a fresh state, by all segments, which may be more than in training; what
comes out after each of them is judged, and the last one counts. Exact: every label is met. Lenient (mazes):
any shortest route will do. Baselines are judged beside the models; without a model, they alone, and jax is
not needed. Raw and averaged weights are two files (`hrm_jax.export --weights`).

Where the examples of a group are augmentations of one puzzle, groups are what intervals and tests count,
not examples. Of ARC the two tries of all test inputs are voted for (hrm_jax/puzzles/voting.py).
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_jax.artefacts import files, model_file, provenance
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.console import memory as allocator
from hrm_jax.console.parser import Parser, interruptible, program, run_command
from hrm_jax.judging import statistics
from hrm_jax.puzzles import dataset as datasets
from hrm_jax.puzzles import scoring, voting
from hrm_jax.puzzles.dataset import PuzzleSet
from hrm_jax.report import interval, markdown

# Answers to tokens [B, S] of puzzles with ids [B]: tokens [T, B, S] after each segment, and Q values
# [T, B, 2] (halt, continue).
Think = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

SEGMENTS = 16  # without a model, and of model files that do not say what they were trained with
TOKENS = {"cpu": 2**14, "gpu": 2**17, "tpu": 2**17}  # in a batch unless --batch says
LARGEST_BATCH = 1024


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Solve as the command line asks; no report is written unless all of it is done."""
    allocator.keep_freed_memory()
    with interruptible("no report was written"):
        return _solve(_parser().parse_args(arguments))


def _solve(options: argparse.Namespace) -> None:
    """Everything that can be wrong with the request is found before the first puzzle."""
    _check(options)
    puzzles = datasets.load(options.data, options.split)
    count = _count(options, puzzles)
    models = {name: Model.load(path, puzzles) for name, path in model_files(options.model).items()}
    segments = options.segments or max((m.trained_segments for m in models.values()), default=SEGMENTS)
    if options.out:
        files.check_writable(options.out)
    tasks = _tasks(puzzles, count)
    solvers = {name: model.solver(segments, options.batch) for name, model in models.items()}
    baselines = {name: of_baseline(answer) for name, answer in scoring.baselines(puzzles).items()}
    results = {
        name: _run(name, solver, puzzles, count, keep=tasks is not None)
        for name, solver in (solvers | baselines).items()
    }
    report = build_report(puzzles, count, segments, results, models, tasks)
    if options.record:
        report["traces"] = _record(options, puzzles, results, solvers)
    print(table(report))
    if options.out:
        with files.written_whole(options.out) as file:
            file.write(json.dumps(report, indent=1) + "\n")
        print(f"\nWrote {options.out}.")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(program("solve"), __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of a data set (python -m hrm_jax.puzzles)")
    add("--model", action="append", default=[], metavar="FILE|NAME=FILE", help="model.npz; repeatable")
    add("--split", default="test", choices=datasets.SPLITS, help="which half of the data set")
    add("--segments", type=int, help="to think for; default: as many as in training")
    add("--examples", type=int, metavar="N", help="the first N only; default: all")
    add("--batch", type=int, help="examples at a time; default: by their length and the device")
    add("--record", type=int, default=0, metavar="K",
        help="also write K examples that tell the models apart, for the report's viewer")  # fmt: skip
    add("--out", type=Path, help="where report.json goes; without it, only the table is printed")
    return parser


# ---------------------------------------------------------------- reading the request


def _check(options: argparse.Namespace) -> None:
    for name in ("segments", "examples", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise RequestError(f"--{name} {value}: at least 1")
    if options.record < 0:
        raise RequestError(f"--record {options.record}: 0 or more")
    if options.record and not (options.out and options.model):
        raise RequestError("--record needs --model, whose answers it keeps, and --out, beside which they go")


def _count(options: argparse.Namespace, puzzles: PuzzleSet) -> int:
    """How many examples are asked for."""
    held = len(puzzles.inputs)
    if options.examples is not None and options.examples > held:
        raise RequestError(f"--examples {options.examples}: {options.data}/{options.split} has {held}")
    return options.examples or held


def model_files(requests: Sequence[str]) -> dict[str, Path]:
    """Files of the models by name, in order."""
    named = {}
    for request in requests:
        name, separator, path = request.partition("=")
        if not separator or Path(request).exists():
            path = Path(request)
            name = path.stem if path.stem != "model" else path.resolve().parent.name
        if not name or name in (scoring.COPY, scoring.ANY_ROUTE):
            raise RequestError(f'--model {request}: "{name}" cannot name a model; choose another')
        if name in named:
            raise RequestError(f'two models are called "{name}"; name one with --model NAME=FILE')
        named[name] = Path(path)
    return named


@dataclass(frozen=True)
class Model:
    """A model file that fits the data."""

    path: Path
    config: dict[str, Any]
    params: dict[str, np.ndarray]  # {"group/leaf": array}

    @classmethod
    def load(cls, path: Path, puzzles: PuzzleSet) -> "Model":
        """Read it; a `RequestError` says why it cannot be asked about these puzzles."""
        model = cls(path, *model_file.read(path, known=("hrm_act",)))
        model.check(puzzles)
        return model

    def check(self, puzzles: PuzzleSet) -> None:
        """Refuse data of another alphabet, length or numbering."""
        fields, meta = self.config["model"], puzzles.meta
        table = self.params.get("puzzles")
        facts = (
            ("vocabulary", fields.get("vocabulary"), "vocab_size", meta.vocab_size),
            ("sequence", fields.get("sequence"), "seq_len", meta.seq_len),
            ("puzzle identifiers", None if table is None else len(table), "num_puzzle_identifiers",
             None if table is None else meta.num_puzzle_identifiers),
        )  # fmt: skip
        for name, own, key, wanted in facts:
            if own != wanted:
                raise RequestError(
                    f"{self.path} does not fit {puzzles.folder}: {name} {own}, but {key} {wanted}; "
                    "a model solves puzzles like those it was trained on"
                )

    @property
    def trained_segments(self) -> int:
        """Segments that it was trained to think for."""
        return int(self.config.get("segments") or SEGMENTS)

    @property
    def about(self) -> dict[str, Any]:
        """What the report says about it beside its answers."""
        apart = {"puzzles", "initial/high", "initial/low"}  # not trained by gradient descent
        count = sum(array.size for name, array in self.params.items() if name not in apart)
        table = self.params["puzzles"].size if "puzzles" in self.params else 0
        return {
            "parameters": int(count),
            "puzzle_parameters": int(table),
            "step": self.config.get("step"),
            "trained_segments": self.trained_segments,
        }

    def solver(self, segments: int, batch: int | None) -> "Solver":
        """Its answers, by one jitted function."""
        import jax
        from flax.traverse_util import flatten_dict, unflatten_dict

        from hrm_jax.models import hrm_act

        fields = dict(self.config["model"])
        if jax.default_backend() != "gpu":  # where cuDNN, which may have trained it, is not at hand
            fields["attention"] = "matmul"
        network = hrm_act.build(fields)
        table = self.params.get("puzzles", ())
        shapes = jax.eval_shape(lambda: hrm_act.initial_params(network, jax.random.key(0), len(table)))
        wanted = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep="/").items()}
        for name in wanted.keys() | self.params.keys():
            found = self.params[name].shape if name in self.params else None
            if found != wanted.get(name):
                raise RequestError(f"{self.path}: {name} is {found}, by its config {wanted.get(name)}")
        tree = jax.tree.map(jax.numpy.asarray, unflatten_dict(self.params, sep="/"))
        jitted = jax.jit(functools.partial(hrm_act.think, network, segments=segments))

        def think(inputs: np.ndarray, puzzle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            answers, q = map(np.asarray, jitted(tree, inputs.astype(np.int32), puzzle.astype(np.int32)))
            if not network.config.q_continue:  # then nothing taught that output
                q = np.where([False, True], np.float32(np.nan), q)
            return answers, q

        tokens = TOKENS.get(jax.default_backend(), TOKENS["gpu"])
        usual = max(1, min(tokens // network.config.sequence, LARGEST_BATCH))
        return Solver(think, batch or usual)


@dataclass(frozen=True)
class Solver:
    """What gives answers."""

    think: Think
    batch: int = LARGEST_BATCH


def of_baseline(answer: Callable[[np.ndarray], np.ndarray]) -> Solver:
    """A baseline as a solver of one segment that has no opinion on its answer."""
    return Solver(lambda inputs, puzzle: (answer(inputs)[None], np.full((1, len(inputs), 2), np.nan)))


def _tasks(puzzles: PuzzleSet, count: int) -> voting.Tasks | None:
    """What ARC's votes are counted against; None where there is nothing to vote on."""
    if puzzles.kind != "arc" or puzzles.split != "test":
        return None
    if count < len(puzzles.inputs):
        print("no votes: they need every example", file=sys.stderr)
        return None
    tasks = voting.load(puzzles.folder)
    if tasks is None:
        print(f"no votes: {puzzles.folder} has no test_puzzles.json", file=sys.stderr)
    else:
        voting.check(tasks, puzzles)
    return tasks


# ---------------------------------------------------------------- running


@dataclass(frozen=True)
class Result:
    """How N examples were answered."""

    exact: np.ndarray  # bool [N]
    lenient: np.ndarray | None  # bool [N]
    tokens: np.ndarray  # float64 [N]
    segments: list[dict[str, float]]  # means after each segment; empty where there is no Q head to ask
    answers: np.ndarray | None  # uint8 [N, S], if kept
    q_halt: np.ndarray  # float32 [N] at the end


def batches(
    solver: Solver, puzzles: PuzzleSet, index: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For pieces of `index`: they, the answers [T, K, S] and Q values [T, K, 2]; always calls of one size."""
    identifiers, size = puzzles.puzzle_of_example, min(solver.batch, len(index))
    for first in range(0, len(index), size):
        piece = index[first : first + size]
        padding = size - len(piece)
        inputs = np.pad(puzzles.inputs[piece], ((0, padding), (0, 0)), constant_values=puzzles.meta.pad_id)
        blank = puzzles.meta.blank_identifier_id
        names = np.pad(identifiers[piece], (0, padding), constant_values=blank)
        answers, q = solver.think(inputs, names)
        yield piece, answers[:, : len(piece)], q[:, : len(piece)]


def judge(
    solver: Solver,
    puzzles: PuzzleSet,
    count: int,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Ask for the first `count` examples, each once; `keep` the answers."""
    pieces, sums = [], {}
    kept = np.empty((count, puzzles.inputs.shape[1]), np.uint8) if keep else None
    for piece, answers, q in batches(solver, puzzles, np.arange(count)):
        scores = scoring.score(puzzles, piece, answers)
        for name, values in _measures(scores, q).items():
            sums[name] = sums.get(name, 0) + values.sum(axis=1, dtype=np.float64)  # over examples: [T]
        last = (scores.exact[-1], scores.lenient if scores.lenient is None else scores.lenient[-1])
        pieces.append((*last, scores.tokens[-1], q[-1, :, 0].astype(np.float32)))
        if keep:
            kept[piece] = answers[-1]
        if progress:
            progress(int(piece[-1]) + 1, count)
    exact, lenient, tokens, q_halt = zip(*pieces, strict=True)
    means = {name: (total / count).tolist() for name, total in sums.items()}
    judges_itself = not np.isnan(q_halt[0]).any()
    return Result(
        np.concatenate(exact),
        None if lenient[0] is None else np.concatenate(lenient),
        np.concatenate(tokens),
        [dict(zip(means, row, strict=True)) for row in zip(*means.values(), strict=True)]
        if judges_itself
        else [],
        kept,
        np.nan_to_num(np.concatenate(q_halt)),
    )


def _measures(scores: scoring.Scores, q: np.ndarray) -> dict[str, np.ndarray]:
    """What is averaged over examples after each segment: [T, K] each, from Q values [T, K, 2]."""
    halt, go_on = q[..., 0], np.nan_to_num(q[..., 1])  # without a Q for going on, above 0 is enough
    lenient = {} if scores.lenient is None else {"lenient": scores.lenient}
    return {
        "exact": scores.exact,
        **lenient,
        "tokens": scores.tokens,
        "halted": np.logical_or.accumulate(halt > go_on, axis=0),
        "q_accuracy": (halt >= 0) == scores.exact,
    }


def _run(name: str, solver: Solver, puzzles: PuzzleSet, count: int, keep: bool) -> Result:
    """`judge`, with progress and seconds on stderr."""
    began = time.perf_counter()
    result = judge(solver, puzzles, count, keep, _progress(name))
    start = "\r" if sys.stderr.isatty() else ""
    _say(f"{start}{name}: {count:,} examples in {time.perf_counter() - began:.1f} s")
    return result


_say = functools.partial(print, file=sys.stderr, flush=True)


def _progress(name: str) -> Callable[[int, int], None] | None:
    """A line that overwrites itself, where somebody sees it."""
    if not sys.stderr.isatty():
        return None
    return lambda done, total: _say(f"\r{name}: {done:,}/{total:,} examples", end="")


def choose(solved: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` telling examples of solved [M, N], in order.

    Those on which the models differ most come first; of those alike, solved and unsolved ones by turns.
    """
    share = solved.mean(axis=0)
    turn = np.where(share > 0.5, np.cumsum(share > 0.5), np.cumsum(share < 0.5))
    return np.sort(np.lexsort((turn, np.abs(share - 0.5)))[:count])


def _record(
    options: argparse.Namespace, puzzles: PuzzleSet, results: dict[str, Result], solvers: dict[str, Solver]
) -> str:
    """Write what the models thought about some examples beside the report; the file's name.

    `models` names [M], `index` [K], `inputs` and `labels` [K, S], `predictions` uint8 [M, K, T, S] after
    every segment, `q_halt` and `q_continue` float32 [M, K, T], NaN where a model has none; `kind`, `height`,
    `width`.
    """
    index = choose(np.stack([results[name].exact for name in solvers]), options.record)
    thoughts = []
    for solver in solvers.values():
        pieces = list(batches(solver, puzzles, index))
        thoughts.append(
            [np.concatenate([piece[i] for piece in pieces], axis=1).swapaxes(0, 1) for i in (1, 2)]
        )
    answers, q = (np.stack(column) for column in zip(*thoughts, strict=True))
    path = options.out.with_suffix(".traces.npz")
    with files.written_whole(path, "wb") as file:
        np.savez_compressed(
            file,
            models=np.array(list(solvers)),
            index=index,
            inputs=puzzles.inputs[index],
            labels=puzzles.labels[index],
            predictions=answers.astype(np.uint8),
            q_halt=q[..., 0].astype(np.float32),
            q_continue=q[..., 1].astype(np.float32),
            kind=puzzles.kind,
            height=puzzles.height,
            width=puzzles.width,
        )
    return path.name


# ---------------------------------------------------------------- the report


def build_report(
    puzzles: PuzzleSet,
    count: int,
    segments: int,
    results: dict[str, Result],
    models: dict[str, Model],
    tasks: voting.Tasks | None,
) -> dict[str, Any]:
    """The contents of report.json."""
    groups = _groups(puzzles)[:count]
    trained = [model.trained_segments for model in models.values()]
    votes = {
        name: voting.count(tasks, puzzles, result.answers, result.q_halt) if tasks else None
        for name, result in results.items()
    }
    solved = {name: np.bincount(groups, result.exact) for name, result in results.items()}
    if tasks:  # then the answer to a puzzle is what its augmentations agree on
        solved = {name: np.array(of_model.all_right(max(voting.TRIES))) for name, of_model in votes.items()}
    size = f"{puzzles.height}x{puzzles.width} " if puzzles.kind != "arc" else ""
    return {
        "protocol": "puzzles",
        "world": f"{puzzles.kind or 'puzzles'} {size}({puzzles.folder}, {puzzles.split})",
        "kind": puzzles.kind,
        "seeds": [0, count],
        "segments": segments,
        "trained_segments": max(trained) if trained else None,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "data": asdict(puzzles.meta),
        "models": {
            name: _summary(result, groups)
            | (models[name].about if name in models else {})
            | ({"voting": _voting(votes[name])} if tasks else {})
            for name, result in results.items()
        },
        "pairs": statistics.pairs(solved),
    }


def _groups(puzzles: PuzzleSet) -> np.ndarray:
    """The group of every example: int [N]."""
    of_puzzle = np.repeat(np.arange(len(puzzles.group_indices) - 1), np.diff(puzzles.group_indices))
    return np.repeat(of_puzzle, np.diff(puzzles.puzzle_indices))


def _summary(result: Result, groups: np.ndarray) -> dict[str, Any]:
    """One model's part; intervals are those of as many puzzles as there are groups."""
    units = len(np.unique(groups))

    def counted(right: np.ndarray) -> dict[str, Any]:
        rate = float(right.mean())
        return {
            "success": int(right.sum()),
            "rate": rate,
            "interval": list(statistics.wilson(units if right.all() else rate * units, units)),
        }

    return {
        "n": len(result.exact),
        "puzzles": units,
        **counted(result.exact),
        **({} if result.lenient is None else {"lenient": counted(result.lenient)}),
        "tokens": float(result.tokens.mean()),
        **({"segments": result.segments} if result.segments else {}),
        "outcomes": _letters(result.exact),
    }


def _letters(right: np.ndarray) -> str:
    return "".join(np.where(right, "1", "0"))


def _voting(votes: voting.Votes) -> dict[str, Any]:
    """ARC's scores by number of tries."""
    scores = {}
    for tries in voting.TRIES:
        right = votes.all_right(tries)
        scores[f"pass@{tries}"] = {
            "tasks": len(right),
            "success": sum(right),
            "rate": sum(right) / len(right),
            "interval": list(statistics.wilson(sum(right), len(right))),
            "share": votes.share(tries),
            "outcomes": _letters(np.array(right)),
        }
    return scores


# ---------------------------------------------------------------- the tables


def table(report: dict[str, Any]) -> str:
    """What a reader of the terminal gets."""
    models, trained = report["models"], report["trained_segments"]
    thought = f", {report['segments']} segments (trained with {trained})" if trained else ""
    parts = [f"{report['world']}{thought}", markdown(_main_rows(models))]
    thinking = {name: result for name, result in models.items() if "segments" in result}
    if thinking:
        what = "Exact %" + (" / lenient %" if report["kind"] == "maze" else "")
        parts += [f"{what} after so many segments:", markdown(_segment_rows(thinking))]
    if any("voting" in result for result in models.values()):
        parts += ["Votes of all augmentations, by task:", markdown(_vote_rows(models))]
    return "\n\n".join([*parts, _legend(models)])


def _main_rows(models: dict[str, dict]) -> list[list[str]]:
    lenient = any("lenient" in result for result in models.values())
    rows = [
        ["model", "n", "exact %", "95 % interval", *(["lenient %", "95 % interval"] * lenient), "tokens %"]
    ]
    for name, result in models.items():
        judged = [result, *([result["lenient"]] if lenient else [])]
        cells = [cell for part in judged for cell in (_percent(part["rate"]), interval(part))]
        rows.append([name, f"{result['n']:,}", *cells, f"{100 * result['tokens']:.2f}"])
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def shown(segments: int) -> list[int]:
    """Numbers of segments that the table tells of: 1, 2, 4, 8, … and the last."""
    return sorted({*(2**i for i in range(segments.bit_length())), segments})


def _segment_rows(models: dict[str, dict]) -> list[list[str]]:
    steps = shown(max(len(result["segments"]) for result in models.values()))
    rows = [["model", *map(str, steps)]]
    for name, result in models.items():
        after = [result["segments"][step - 1] for step in steps]
        rows.append(
            [name, *(" / ".join(_percent(s[k]) for k in ("exact", "lenient") if k in s) for s in after)]
        )
    return rows


def _vote_rows(models: dict[str, dict]) -> list[list[str]]:
    tries = [f"pass@{n}" for n in voting.TRIES]
    rows = [
        ["model", "tasks", *(cell for t in tries for cell in (f"{t} %", "95 % interval", f"{t} share %"))]
    ]
    for name, result in models.items():
        scores = [result["voting"][t] for t in tries]
        cells = [cell for s in scores for cell in (_percent(s["rate"]), interval(s), _percent(s["share"]))]
        rows.append([name, str(scores[0]["tasks"]), *cells])
    return rows


def _legend(models: dict[str, dict]) -> str:
    """How to read the tables."""
    first = next(iter(models.values()))
    told = ["Exact: every label is met."]
    if "lenient" in first:
        told.append("Lenient: any shortest route.")
    told.append("Interval: Wilson.")
    if first["puzzles"] < first["n"]:
        told.append(f"The examples are augmentations of {first['puzzles']:,} puzzles, which intervals count.")
    if "voting" in first:
        told.append(
            "pass: all test inputs of a task are right; share: of its test inputs, averaged over tasks."
        )
    return " ".join(told)


if __name__ == "__main__":
    sys.exit(run_command(main))
