"""Mazes of walled cells: for every cell, the move that brings it nearer to the goal.

A network of `models.poh` sees the walls and the goal, and answers with a move for every cell at once: one
forward pass is a whole policy, whatever the start. Mazes are drawn afresh for every update, or a fixed number
of them is shuffled. The law of the data: docs/puzzles.md#lattice-mazes.

Axes: B mazes (the batch), N cells, G passes that are graded, R passes of a forward.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.networks.poh import ROUTED
from hrm_jax.gridworld import lattice as drawing
from hrm_jax.models import poh
from hrm_jax.models.draws import Keys
from hrm_jax.puzzles.lattice import law
from hrm_jax.tasks import puzzle_data
from hrm_jax.training import sharding
from hrm_jax.training.shuffling import in_epochs
from hrm_jax.training.task import Metrics, Task, data_of
from hrm_jax.worlds import lattice

CHUNK = 64  # held-out mazes at a time
RARE = 1e-3  # of mazes; rarer ones are not drawn
TRAIN_STREAM, EVAL_STREAM = 1, 2  # held-out mazes are never drawn in training


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The `data` group; meanings in configs/base_mazes.py."""

    path: str
    size: Annotated[int, fields.at_least(2), fields.at_most(lattice.LARGEST)]
    generator: Annotated[str, fields.one_of(drawing.GENERATORS)]
    shortest: Annotated[int, fields.at_least(2)]
    first_shortest: Annotated[int, fields.at_least(2)]
    curriculum: fields.NotNegative
    mazes: fields.NotNegative
    eval_mazes: fields.Positive

    def __post_init__(self):
        fields.check("data", self)


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The `objective` group; meanings in configs/base_mazes.py."""

    cells: Literal["all", "path"]
    walls: bool
    smoothing: fields.Fraction
    entropy_weight: Annotated[float, fields.at_least(0)]
    ponder_weight: Annotated[float, fields.at_least(0)]
    gate_weight: Annotated[float, fields.at_least(0)]
    q_weight: Annotated[float, fields.at_least(0)]
    first_temperature: fields.AboveZero
    annealing: fields.NotNegative

    def __post_init__(self):
        fields.check("objective", self)


class Questions(NamedTuple):
    """What mazes ask."""

    distances: jax.Array  # [B, N] moves from every cell to the goal
    optimal: jax.Array  # [B, N, 4] bool: the moves that begin a shortest way
    open: jax.Array  # [B, N, 4] bool: the moves that may be chosen
    weight: jax.Array  # [B, N] float32: of each cell in the loss; the sum over all is B


class Mazes(NamedTuple):
    """A batch: in it is all that depends on the step, and what a micro-batch could not tell of the whole."""

    tokens: jax.Array  # [B, N] uint8 (worlds/lattice.py)
    questions: Questions
    temperature: jax.Array  # [B] float32: times the model's own, of the routing; the same for all


def parts(config: Mapping[str, Any]) -> tuple[DataConfig, ObjectiveConfig, poh.PoH]:
    """Data, objective and model of a config."""
    data, model = data_of(config, DataConfig, "poh", "objective"), poh.build(config["model"])
    if model.config.sequence != data.size**2:
        raise RequestError(
            f"model.sequence = {model.config.sequence}: data.size = {data.size} has {data.size**2} cells"
        )
    return data, fields.build("objective", ObjectiveConfig, config["objective"]), model


def check_drawn(data: DataConfig) -> None:
    """Refuse lengths of paths that hardly any maze has: to draw such mazes would take for ever."""
    for name in () if data.path else ("shortest", "first_shortest"):
        least = getattr(data, name)
        if least > 2 and law.acceptance(data.size, data.generator, least) < RARE:
            raise RequestError(
                f"data.{name} = {least} cells: fewer than one of {1 / RARE:,.0f} mazes of "
                f"{data.generator} and data.size = {data.size} has such a path; smaller"
            )


class Lattice(Task):
    """A network of `models.poh` on lattice mazes."""

    data_fields = DataConfig

    def __init__(self, config: Mapping[str, Any], mesh: Mesh, dry: bool = False):
        self.data, self.objective, self.model = parts(config)
        check_drawn(self.data)
        self._board = lattice.everywhere(np, self.data.size)
        self._count, self._mesh = sharding.count_groups(config, mesh), mesh
        key, everywhere = jax.random.key(config["seed"]), sharding.replicated(mesh)
        train, test = self._fixed(key, dry)
        self.samples_per_epoch = 0 if train is None else len(train)
        batch = jax.jit(self._draw, out_shardings=sharding.over_batch(mesh))
        place = (lambda tree, _: tree) if dry else sharding.place
        fixed = None if train is None else place(train, everywhere)
        self.batch = lambda step: batch(key, step, fixed)
        evaluate = jax.jit(self._evaluate, out_shardings=everywhere)
        size = min(CHUNK, -(-len(test) // mesh.size) * mesh.size)
        self.evaluate = functools.partial(evaluate, *place(puzzle_data.chunked(test, size), everywhere))

    @classmethod
    def for_dry_run(cls, config: Mapping[str, Any], mesh: Mesh) -> "Lattice":
        """A task of which shapes alone will be asked."""
        return cls(config, mesh, dry=True)

    @staticmethod
    def describe(config: Mapping[str, Any]) -> dict[str, Any]:
        """What `model.npz` says of a network trained under `config`."""
        data, _, model = parts(config)
        return {"task": "lattice", "model": poh.describe(model), "kind": "lattice", "data": data.path}

    def init(self, key: jax.Array, batch: Mazes) -> tuple[Any, tuple]:
        """Parameters; there is no carry."""
        return poh.initial_params(self.model, key), ()

    def loss(
        self, params: Any, carry: tuple, batch: Mazes, keys: Keys
    ) -> tuple[jax.Array, tuple[tuple, Metrics]]:
        """Cross entropy of the moves after the passes that are graded, and what the objective adds."""
        c = self.model.config
        out = self._forward(params, batch.tokens, c.passes, temperature=batch.temperature[0], keys=keys)
        entropy, right = self.grade(out.logits, batch.questions)
        metrics = {"right": jnp.mean(right[-1].astype(jnp.float32))}
        if c.halting == "probabilistic":
            weight = stopping(out.halt)  # [G, B]: credit by maze
            metrics["ponder"] = jnp.mean(jnp.arange(1, len(weight) + 1) @ weight)
            loss = jnp.mean(jnp.sum(weight * entropy, axis=0))
        else:
            loss = jnp.mean(entropy if c.halting == "q" else entropy[-1])
        metrics["moves"] = loss
        if c.halting == "q":
            metrics["q"] = q_loss(out, right)
        if c.routing in ROUTED:
            metrics |= {"entropy": jnp.mean(out.entropy), "updates": jnp.mean(out.updates)}
        return loss + self._regularizers(metrics), (carry, metrics)

    def _regularizers(self, metrics: Metrics) -> jax.Array:
        """What the objective adds to the cross entropy."""
        o = self.objective
        weights = {"ponder": o.ponder_weight, "q": o.q_weight, "entropy": o.entropy_weight}
        total = sum(weight * metrics[name] for name, weight in weights.items() if name in metrics)
        if "updates" in metrics and o.gate_weight:
            updates = sharding.over_shards(metrics["updates"])
            total += o.gate_weight * (updates - 1 / self.model.config.period) ** 2
        return total

    def questions(self, tokens: jax.Array) -> Questions:
        """What the mazes [B, N] ask, and how much each answer counts."""
        open, goal = lattice.masks_of(tokens), lattice.marked(tokens, lattice.GOALS)
        distances = lattice.distances(jnp, open, goal, jax.lax.while_loop)
        optimal = lattice.optimal_moves(jnp, open, distances)
        asked = optimal.any(axis=-1)
        if self.objective.cells == "path":
            start = lattice.marked(tokens, lattice.STARTS)
            weight = by_position(asked & on_path(optimal, start), distances, start)
        else:
            weight = asked / jnp.maximum(jnp.sum(asked, axis=-1, keepdims=True), 1)
        return Questions(distances, optimal, lattice.edges(jnp, self._allowed(open)), weight)

    def _allowed(self, open: jax.Array) -> jax.Array:
        """The masks of the moves that may be chosen."""
        return open if self.objective.walls else jnp.broadcast_to(self._board, open.shape)

    def grade(self, logits: jax.Array, questions: Questions) -> tuple[jax.Array, jax.Array]:
        """Of each pass and maze [G, B]: the cross entropy in nats, and whether every cell asked is right.

        Any optimal move is right, and their probabilities add up. `smoothing` is the share of the loss that
        asks for all open moves alike.
        """
        scores = jax.nn.log_softmax(logits, axis=-1)
        best = jax.nn.logsumexp(jnp.where(questions.optimal, scores, poh.CLOSED), axis=-1)
        ways = jnp.maximum(jnp.sum(questions.open, axis=-1), 1)
        alike = jnp.sum(jnp.where(questions.open, scores, 0), axis=-1) / ways
        share, asked = self.objective.smoothing, questions.weight > 0
        entropy = -jnp.where(asked, (1 - share) * best + share * alike, 0)
        chosen = jax.nn.one_hot(jnp.argmax(scores, axis=-1), 4, dtype=bool)
        right = (chosen & questions.optimal).any(axis=-1) | ~asked
        return jnp.sum(questions.weight * entropy, axis=-1), right.all(axis=-1)

    # ------------------------------------------------------------ data

    def _fixed(self, key: jax.Array, dry: bool) -> tuple[Any, Any]:
        """Tokens [M, N] of fixed training mazes, None where they are a stream; of the held-out ones."""
        d = self.data
        if dry and not (d.path and Path(d.path).exists()):
            empty = np.zeros((1, d.size**2), np.uint8)
            return (empty if d.mazes or d.path else None), empty
        if d.path:
            train, test = puzzle_data.load(d.path, lattice.VOCABULARY, d.size**2)
            if test.kind != "lattice":
                raise RequestError(f'{d.path} holds puzzles of the kind "{test.kind}"; lattice is needed')
            return train.inputs, test.inputs[: d.eval_mazes]
        fixed = self._mazes(jax.random.fold_in(key, TRAIN_STREAM), d.mazes, d.shortest) if d.mazes else None
        return fixed, self._mazes(jax.random.fold_in(key, EVAL_STREAM), d.eval_mazes, d.shortest)

    def _mazes(self, key: jax.Array, count: int, shortest: int) -> np.ndarray:
        """So many mazes on the host, for every process alike."""
        draw = jax.jit(self._tokens, static_argnums=1)
        return np.asarray(draw(key, count, shortest))

    def _tokens(self, key: jax.Array, count: int, shortest: jax.Array | int) -> jax.Array:
        mazes = drawing.draw(key, count, self.data.size, self.data.generator, shortest)
        return lattice.tokens(jnp, *mazes)

    def _draw(self, key: jax.Array, step: jax.Array, fixed: jax.Array | None = None) -> Mazes:
        """The batch of a step."""
        d, o, key = self.data, self.objective, jax.random.fold_in(key, TRAIN_STREAM)
        if fixed is None:
            shortest = jnp.round(ramp(step, d.first_shortest, d.shortest, d.curriculum)).astype(jnp.int32)
            tokens = self._tokens(jax.random.fold_in(key, step), self._count, shortest)
        else:
            position = step * self._count + jnp.arange(self._count)
            tokens = fixed[jax.vmap(lambda p: in_epochs(key, p, len(fixed)))(position)]
        temperature = ramp(step, o.first_temperature, 1, o.annealing)
        return Mazes(tokens, self.questions(tokens), jnp.full(self._count, temperature, jnp.float32))

    # ------------------------------------------------------------ evaluation

    def _evaluate(self, held_out: jax.Array, real: jax.Array, params: Any) -> dict[str, jax.Array]:
        """Held-out mazes [C, B, N], means over the `real` ones: the loss, and optimal ways from the starts.

        After the passes of training, and after twice as many where there are several.
        """
        c = self.model.config
        longest = c.passes if c.passes == 1 else 2 * c.passes

        def chunk(part):
            tokens, real = jax.lax.with_sharding_constraint(part, sharding.over_batch(self._mesh))
            logits = self._forward(params, tokens, longest, graded=longest).logits
            questions = self.questions(tokens)
            optimal = arrives_optimally(logits, tokens, questions.distances)
            judged = jnp.stack([*self.grade(logits, questions), optimal])  # [3, R, B]
            return jnp.sum(judged * real, axis=-1)

        judged = jnp.sum(jax.lax.map(chunk, (held_out, real)), axis=0) / jnp.sum(real)
        names = ("loss", "right", "optimal")
        results = {f"eval/{name}": judged[i, c.passes - 1] for i, name in enumerate(names)}
        return results | ({f"eval/optimal_{longest}": judged[2, -1]} if longest > c.passes else {})

    def _forward(self, params: Any, tokens: jax.Array, passes: int, **options: Any) -> poh.Output:
        """The network's answers, as logits of moves, of which some are forbidden."""
        out = poh.forward(self.model, params, tokens, passes=passes, **options)
        allowed = 1 + self._allowed(lattice.masks_of(tokens))
        return out._replace(logits=poh.move_logits(self.model, out.logits, allowed))


def ramp(step: jax.Array, first: float, last: float, updates: int) -> jax.Array:
    """From `first` to `last` in a straight line over so many updates; 0: `last` from the beginning."""
    return first + (last - first) * jnp.minimum(step / updates, 1) if updates else jnp.float32(last)


def stopping(halt: jax.Array) -> jax.Array:
    """The chance to stop after each pass [G, B], by logits to stop there if one came so far.

    The last pass takes what is left, so that they add up to 1 (Banino et al. 2021, 2107.05407, §2.1).
    """
    stay = jnp.cumsum(jax.nn.log_sigmoid(-halt), axis=0)
    before = jnp.concatenate([jnp.zeros_like(stay[:1]), stay[:-1]])
    last = jnp.arange(len(halt))[:, None] == len(halt) - 1
    return jnp.exp(before + jnp.where(last, 0, jax.nn.log_sigmoid(halt)))


def q_loss(out: poh.Output, right: jax.Array) -> jax.Array:
    """HRM's Q-learning of when to halt: is the answer right, and will it be (2506.21734, §2).

    The target of going on is the better value of the next graded pass; of the last one, of itself.
    """
    halt = optax.sigmoid_binary_cross_entropy(out.halt, right)
    best = jnp.maximum(out.halt, out.q_continue)
    following = jnp.concatenate([best[1:], out.halt[-1:]])
    target = jax.lax.stop_gradient(jax.nn.sigmoid(following))
    return jnp.mean(halt + optax.sigmoid_binary_cross_entropy(out.q_continue, target))


def on_path(optimal: jax.Array, start: jax.Array) -> jax.Array:
    """bool [B, N]: the cells of the canonical shortest way from `start` [B], the goal too."""
    cells = optimal.shape[1]
    to = jnp.arange(cells) + jnp.asarray(lattice.shifts(math.isqrt(cells)))[jnp.argmax(optimal, axis=-1)]
    to = jnp.where(optimal.any(axis=-1), to, jnp.arange(cells))

    def walk(state, _):
        here, seen = state
        seen |= jax.nn.one_hot(here, cells, dtype=bool)
        return (jnp.take_along_axis(to, here[:, None], axis=1)[:, 0], seen), None

    first = start, jnp.zeros(optimal.shape[:2], bool)
    return jax.lax.scan(walk, first, length=cells)[0][1]


def by_position(cells: jax.Array, distances: jax.Array, start: jax.Array) -> jax.Array:
    """The original's weight of `cells` [B, N] on paths, its sum B: every position on a path counts alike.

    A position that only one maze of the batch reaches weighs as much as the first (docs/faults.md).
    """
    count, n = cells.shape
    ahead = jnp.take_along_axis(distances, start[:, None], axis=1) - distances
    ahead = jnp.where(cells, jnp.clip(ahead, 0, n - 1), n)
    number = jnp.zeros(n + 1).at[ahead].add(1)
    return jnp.where(cells, count / number[ahead] / jnp.sum(number[:n] > 0), 0)


def arrives_optimally(logits: jax.Array, tokens: jax.Array, distances: jax.Array) -> jax.Array:
    """bool [R, B]: whether the policy of each pass leads from the start to the goal by a shortest way."""
    open = lattice.masks_of(tokens)
    start, goal = (lattice.marked(tokens, mark) for mark in (lattice.STARTS, lattice.GOALS))
    shortest = jnp.take_along_axis(distances, start[:, None], axis=1)[:, 0]
    moves = jnp.argmax(logits, axis=-1)
    return jax.vmap(lambda moves: lattice.roll_out(jnp, open, moves, start, goal) == shortest)(moves)
