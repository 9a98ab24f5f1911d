"""Pointer over Heads: its config, and the shapes of its parameters.

N cells of an n x n lattice, D width, H heads, F hidden width, L blocks, C width of a block's controller.
"""

import dataclasses
import math
from typing import Annotated, Literal

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import AboveZero, Few, Fraction, NotNegative, Positive
from hrm_jax.artefacts.networks.shapes import Shapes, affine, check_heads, grouped
from hrm_jax.worlds import lattice

Cells = Annotated[int, fields.at_least(1), fields.at_most(100_000)]
ROUTED = ("soft", "top_k", "hard")  # what a controller routes; the others have none


@dataclasses.dataclass(frozen=True)
class PoHConfig:
    """The `model` group. `passes` 1 and `routing` none make the plain transformer of the baselines."""

    sequence: Cells  # N
    # walls: an embedding of a cell's open edges and of its marks. scalar, centred: what the original saw, a
    # number that says whether the cell has no open edge (0/1; -1/1), two marks, and its number.
    tokens: Literal["walls", "scalar", "centred"] = "walls"
    walls: bool = True  # False: blind, no edge is shown
    start: bool = False  # whether the start is shown, too; without it an answer holds for every start
    head: Literal["moves", "cells"] = "moves"  # a value a direction, or a cell (the original's)
    width: Positive = 64  # D
    heads: Positive = 4  # H
    hidden: Positive = 256  # F
    depth: Few = 1  # L
    passes: Few = 16  # R: how often the blocks refine the state
    # none: plain attention. uniform: all heads weigh the same. soft: by a controller. top_k: its largest,
    # renormalised. hard: its largest alone, with the gradient of soft.
    routing: Literal["none", "uniform", "soft", "top_k", "hard"] = "soft"
    top_k: Positive = 2
    pooled: bool = True  # one weight a head for all cells; False: for each cell
    standardised: bool = True  # what the controller hears, to mean 0 and deviation 1
    scaled: bool = True  # weights times H, so that uniform ones are plain attention; False: the original's
    routed: Literal["heads", "slices"] = "heads"  # slices of the output projection: the first original's
    controller: NotNegative = 0  # C; 0: half the width
    period: Positive = 4  # T: passes from one update of the slow state to the next
    # fixed: every T passes. soft, hard: a learned gate, as a share or as a yes with the share's gradient.
    slow: Literal["fixed", "soft", "hard"] = "fixed"
    stateless: bool = False  # the original's fault: every pass begins with a new controller
    stop_grad_controller: bool = False  # no gradient from pass to pass through the controller's state
    stop_grad_slow: bool = False  # none into what is new in the slow state: the first original's
    temperature: AboveZero = 2.0  # of the controller's softmax, besides that of a schedule
    # S the blocks: plain S(h), residual h + S(h), rezero h + a (S(h) - h) with a learned from 0.
    update: Literal["plain", "residual", "rezero"] = "plain"
    update_norm: bool = True  # a layer norm of the updated state
    injection: bool = True  # the blocks hear h + x instead of h
    norm: Literal["pre", "post"] = "pre"  # of attention and feed-forward
    input_norm: bool = False  # a layer norm of x
    ffn_bias: bool = False
    # rope: by row and column. each, first: a learned table, added in each pass or in the first.
    positions: Literal["rope", "each", "first", "none"] = "rope"
    position_rows: NotNegative = 0  # of that table; 0: N
    # What a cell hears of those around it before attention: 3 x 3, a weight a component; or a full linear
    # map of its four neighbours.
    mixing: Literal["none", "depthwise", "five_point"] = "five_point"
    grad_mode: Literal["full", "last", "last_k"] = "full"  # passes that a gradient goes through
    last_k: Positive = 4
    dropout: Fraction = 0.0
    # q: is the answer right, will it be. probabilistic: stop now?
    halting: Literal["none", "q", "probabilistic"] = "none"
    remat: bool = False  # recompute each pass in the backward pass: less memory; on a CPU less time, too
    unroll: Few = 4  # blocks unrolled in the scan over them

    def __post_init__(self):
        fields.check("model", self)
        check_heads(self.width, self.heads)
        square = self.columns**2 == self.sequence
        if not square and (self.mixing != "none" or self.positions == "rope" or self.head == "moves"):
            raise RequestError(
                f"model.sequence = {self.sequence}: a square, for moves, rope and mixing are a grid's"
            )
        if self.positions == "rope" and self.width // self.heads % 4:
            raise RequestError(
                f"model.width / heads = {self.width // self.heads}: a multiple of 4, for rope's pairs"
            )
        if self.routing == "top_k" and self.top_k > self.heads:
            raise RequestError(f"model.top_k = {self.top_k}: at most model.heads = {self.heads}")
        if self.positions in ("each", "first") and 0 < self.position_rows < self.sequence:
            raise RequestError(
                f"model.position_rows = {self.position_rows}: 0, or at least {self.sequence} cells"
            )

    @property
    def vocabulary(self) -> int:
        """Token ids of the data."""
        return lattice.VOCABULARY

    @property
    def any_size(self) -> bool:
        """Whether the same parameters answer mazes of any number of cells."""
        return self.head == "moves" and self.tokens == "walls" and self.positions in ("rope", "none")

    @property
    def columns(self) -> int:
        """n: cells in a row of the grid."""
        return math.isqrt(self.sequence)

    @property
    def controller_width(self) -> int:
        """C."""
        return self.controller or max(self.width // 2, 1)

    def graded(self, passes: int) -> int:
        """How many of so many passes a gradient goes through, the last ones."""
        return {"full": passes, "last": 1, "last_k": min(self.last_k, passes)}[self.grad_mode]

    def shapes(self) -> Shapes:
        """Of all parameters; those of the blocks are stacked."""
        d = self.width
        groups: dict[str, Shapes] = {"embed": self._embed()}
        if self.input_norm:
            groups["embed"] |= norm(d, "norm_")
        if self.positions in ("each", "first"):
            groups["refine"] = {"positions": (self.position_rows or self.sequence, d)}
        if self.update == "rezero":
            groups.setdefault("refine", {})["alpha"] = (1,)
        if self.update_norm:
            groups.setdefault("refine", {}).update(norm(d, "norm_"))
        groups["head"] = affine(d, 4 if self.head == "moves" else self.sequence)
        if self.halting != "none":
            groups["halt"] = affine(d, 2 if self.halting == "q" else 1)
        blocks = {"blocks": self._block()}
        if self.routing in ROUTED:
            blocks["controller"] = self._controller()
        return grouped(groups) | grouped(blocks, (self.depth,))

    def _embed(self) -> Shapes:
        d = self.width
        if self.tokens == "walls":
            return {"tokens": (lattice.MARK + 1 + self.start, d)}
        return {"tokens": (6, d), "cells": (self.sequence, d)}

    def _block(self) -> Shapes:
        d, hidden = self.width, self.hidden
        shapes = affine(d, 3 * d, "qkv_") | affine(d, d, "out_")
        shapes |= affine(d, hidden, "up_") | affine(hidden, d, "down_")
        if not self.ffn_bias:
            del shapes["up_bias"], shapes["down_bias"]
        shapes |= norm(d, "attend_") | norm(d, "ffn_")
        if self.routing != "none":
            shapes["head_gain"] = (self.heads,)
        if self.mixing != "none":
            shapes["mix_kernel"] = (9, d) if self.mixing == "depthwise" else (d, 4 * d)
        return shapes

    def _controller(self) -> Shapes:
        c = self.controller_width
        shapes = affine(self.width, c, "in_") | affine(c, self.heads, "out_") | {"mix_kernel": (c, c)}
        for name, inputs in (("fast", 2 * c), ("slow", c)):
            shapes |= affine(inputs, 3 * c, f"{name}_input_") | affine(c, 3 * c, f"{name}_state_")
            shapes |= norm(c, f"{name}_norm_")
        return shapes | ({} if self.slow == "fixed" else affine(2 * c, 1, "gate_"))


def norm(width: int, prefix: str) -> Shapes:
    """Of a layer norm."""
    return {f"{prefix}gain": (width,), f"{prefix}bias": (width,)}
