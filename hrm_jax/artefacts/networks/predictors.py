"""Predictors of motion: their configs, and the shapes of their parameters. D width, F features."""

import dataclasses
from typing import Annotated, Literal

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import AboveZero, Few, Fraction, NotNegative, Positive
from hrm_jax.artefacts.networks.shapes import Shapes, affine, check_heads, grouped

Norm = Literal["published", "rms"]
Scale = Annotated[float, fields.at_least(0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputsConfig:
    """What every predictor sees of the scene and how it runs free; the architectures inherit it."""

    width: Positive = 256  # D
    features: Literal["positions", "motion", "scene"] = "positions"  # positions: as published
    # Side of the map patch around an obstacle, odd; 0: none; only with scene.
    patch: Annotated[int, fields.at_least(0), fields.at_most(127)] = 0
    neighbours: NotNegative = 0  # heads of attention across a world's obstacles; only with scene
    agent: bool = False  # whether the agent's position is seen; only with scene
    # A sliding window (published), the state carried on, or all steps at once.
    rollout: Literal["sliding", "carry", "direct"] = "sliding"
    horizon: Few = 20  # displacements that the head of "direct" emits
    size: Few = 20  # cells; the world that the positions are scaled by
    dtype: Literal["float32", "bfloat16"] = "float32"  # of matmuls

    def __post_init__(self):
        fields.check("model", self)
        if self.patch and self.patch % 2 == 0:
            raise RequestError(f"model.patch = {self.patch}: 0 or an odd number")
        if self.neighbours:
            check_heads(self.width, self.neighbours, "neighbours")
        for name in ("patch", "neighbours", "agent"):
            value = getattr(self, name)
            if value and self.features != "scene":
                raise RequestError(f'model.{name} = {value} needs model.features = "scene"')

    @property
    def inputs(self) -> int:
        """F, the numbers an obstacle brings a time step."""
        if self.features != "scene":
            return {"positions": 2, "motion": 4}[self.features]
        return 9 + 2 * self.agent + (2 + self.patch**2 if self.patch else 0)

    @property
    def across(self) -> bool:
        """Whether the core itself, not only its input, looks across the obstacles of a world."""
        return False

    @property
    def together(self) -> bool:
        """Whether a group must be a whole world."""
        return self.across or self.features == "scene"

    def ends(self, embed: bool = True) -> Shapes:
        """Parameters before and after the core: a head, an embedding, and attention to the neighbours."""
        d, heads = self.width, self.neighbours
        groups = {"head": affine(d, 2 * self.horizon if self.rollout == "direct" else 2)}
        if embed or heads:
            groups["embed"] = affine(self.inputs, d)
        if heads:
            read = affine(d + 4 * heads, d, "out_")
            groups["neighbours"] = {**affine(d, 3 * d, "qkv_"), "sharpness": (heads,), **read}
        return grouped(groups)


@dataclasses.dataclass(frozen=True)
class HRMConfig(InputsConfig):
    """Every switch that distinguishes the published scripts, and options of ours."""

    width: Positive = 512  # D
    heads: Positive = 8  # used by attention="obstacles" only
    blocks: Few = 4  # in each of the two streams
    k_step: NotNegative = 2  # the H stream runs at t = 0, k, 2k, …; 0: never, its state stays at its start
    h_stream: bool = True  # False: no H stream at all, L hears the input alone
    block: Literal["gated", "recurrent"] = "gated"  # recurrent: unbounded state, docs/faults.md#f8
    detach: bool = True  # stop the gradient from H into L
    norm: Norm = "published"  # docs/faults.md#f6
    norm_eps: AboveZero = 1e-6
    # An RMS norm of what the streams send each other, or of what each block proposes: states stay bounded.
    context_norm: Literal["none", "messages", "candidate"] = "none"
    h_gain: Scale = 0.0  # at its start, of a learned gain on what H tells L; 0: no gain, as published
    initial_state: Literal["zeros", "noise"] = "zeros"  # N(0, 0.01²) in training, in evaluation 0
    init_std: Scale = 0.01  # of Linear weights, biases zero; 0: torch's default
    attention: Literal["single", "obstacles"] = "single"  # one token, as published | a world's
    state_dtype: Literal["float32", "bfloat16"] = (
        "float32"  # of the streams' states and of what passes between blocks, in training
    )
    remat: bool = False  # recompute each block in the backward pass instead of keeping its activations
    unroll: Few = 4  # blocks (and L steps) unrolled in their scans
    # Block after block in scans; or at once those that do not wait for each other, in a loop or in none.
    recurrence: Literal["auto", "scan", "wavefront", "unrolled"] = "auto"  # auto: by the device

    def __post_init__(self):
        super().__post_init__()
        check_heads(self.width, self.heads)

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU, int(2.6 D) as published."""
        return int(2.6 * self.width)

    @property
    def across(self) -> bool:
        """Whether the blocks attend across the obstacles of a world."""
        return self.attention == "obstacles"

    @property
    def waves(self) -> bool:
        """Whether blocks run at once that do not wait for each other."""
        return self.recurrence in ("wavefront", "unrolled")

    @property
    def slow(self) -> bool:
        """Whether the H stream ever runs."""
        return self.h_stream and self.k_step > 0

    @property
    def gained(self) -> bool:
        """Whether what H tells L has a gain."""
        return self.h_stream and self.h_gain > 0

    def shapes(self) -> Shapes:
        """Of all parameters; the blocks of a stream are stacked."""
        d, f = self.width, self.hidden
        attention = {**affine(d, 2 * d, "qk_"), **affine(d, d, "v_"), **affine(d, d, "out_")}
        block = {"norm1": (d,), **attention, "norm2": (d,), "up_kernel": (d, 2 * f), "down_kernel": (f, d)}
        if self.block == "gated":
            block |= affine(2 * d, d, "gate_")
        streams = ("low", "high")[: 1 + self.h_stream]
        gain = {"message/gain": (d,)} if self.gained else {}
        return self.ends() | grouped(dict.fromkeys(streams, block), (self.blocks,)) | gain


@dataclasses.dataclass(frozen=True)
class HRM8GPUV2Config:
    """Widths of the published script."""

    width: Positive = 512
    heads: Positive = 8
    blocks: Few = 4  # in each of the two stacks
    k_step: Few = 2  # passes through the H stack
    norm_eps: AboveZero = 1e-6
    init_std: Scale = 0.01
    size: Few = 20  # cells; the world that the positions are scaled by
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self):
        fields.check("model", self)
        check_heads(self.width, self.heads)

    @property
    def features(self) -> str:
        """The published input, the only one this architecture takes."""
        return "positions"

    def shapes(self) -> Shapes:
        """Of all parameters; the blocks of a stack are stacked."""
        d = self.width
        block = {"norm1": (d,), **affine(d, 3 * d, "qkv_"), **affine(d, d, "out_"), "norm2": (d,)}
        block |= {**affine(d, 4 * d, "up_"), **affine(4 * d, d, "down_"), **affine(2 * d, d, "gate_")}
        ends = grouped({"embed": affine(2, d), "head": affine(d, 2)})
        return ends | grouped({"low": block, "high": block}, (self.blocks,))


@dataclasses.dataclass(frozen=True)
class RecurrentConfig(InputsConfig):
    """Stacked cells and a linear head on the last output."""

    layers: Few = 2
    dropout: Fraction = 0.0  # between layers, in training
    unroll: Few = 1  # time steps unrolled in the scan

    def shapes(self, gates: int) -> Shapes:
        """Of all parameters, of cells with so many gates; attention to neighbours wants an embedding."""
        d, embedded = self.width, bool(self.neighbours)
        bias = {"ih_bias": (gates * d,), "hh_bias": (gates * d,)}
        inner = {"ih_kernel": (d, gates * d), "hh_kernel": (d, gates * d), **bias}
        groups = {f"layer{i}": inner for i in range(self.layers)}
        if not embedded:
            groups["layer0"] = inner | {"ih_kernel": (self.inputs, gates * d)}
        return self.ends(embedded) | grouped(groups)


@dataclasses.dataclass(frozen=True)
class TransformerConfig(InputsConfig):
    """Causal attention over the steps of one obstacle, and a linear head on the last step."""

    width: Positive = 64
    heads: Positive = 4
    layers: Few = 2
    positions: Few = 64  # steps that it can tell apart, predicted ones included

    def __post_init__(self):
        super().__post_init__()
        check_heads(self.width, self.heads)

    def shapes(self) -> Shapes:
        """Of all parameters."""
        d = self.width
        layer = {"norm1": (d,), **affine(d, 3 * d, "qkv_"), **affine(d, d, "out_"), "norm2": (d,)}
        layer |= {**affine(d, 4 * d, "up_"), **affine(4 * d, d, "down_")}
        groups: dict[str, Shapes] = {"time": {"kernel": (self.positions, d)}, "final": {"norm": (d,)}}
        return self.ends() | grouped(groups | {f"layer{i}": layer for i in range(self.layers)})
