"""HRM-ACT and TRM: their config, and the shapes of their parameters.

S cells, P prefix positions before them, T = P + S, D width, V vocabulary, L blocks of a module (stacked), E
width of the puzzle embedding.
"""

import dataclasses
from typing import Annotated, Literal, get_args

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import AboveZero, Few, NotNegative, Positive
from hrm_jax.artefacts.networks.shapes import Shapes, check_heads, grouped

Cycles = Annotated[int, fields.at_least(1), fields.at_most(1_000)]
Kernel = Literal["auto", "matmul", "xla", "cudnn"]
KERNELS = get_args(Kernel)  # of attention, which all compute the same
Cells = Annotated[int, fields.at_least(1), fields.at_most(1_000_000)]
Prefix = Annotated[int, fields.at_least(0), fields.at_most(10_000)]


@dataclasses.dataclass(frozen=True)
class HRMACTConfig:
    """The `model` group; defaults are HRM's. `vocabulary` and `sequence` are those of the data."""

    vocabulary: Positive  # V: token ids, PAD (0) included
    sequence: Cells  # S
    width: Positive = 512  # D
    heads: Positive = 8
    low_layers: Few = 4  # blocks of the L module
    high_layers: Few = 4  # of the H module; unused where one network is shared
    h_cycles: Cycles = 2  # H updates a segment
    l_cycles: Cycles = 2  # L updates before each
    expansion: Annotated[float, fields.at_least(0.01), fields.at_most(1_000)] = (
        4.0  # of the SwiGLU, whose inner width is 2/3 of this, rounded up …
    )
    inner_multiple: Positive = 256  # … to a multiple of this
    puzzle_width: NotNegative = 512  # E; 0: no puzzle embedding
    prefix: Prefix = 1  # P: the puzzle's row, filled up with zeros; the Q head reads the first position
    positions: Literal["rope", "learned", "none"] = "rope"
    theta: AboveZero = 10_000.0  # of rope
    norm_eps: AboveZero = 1e-5
    mixer: bool = False  # TRM: SwiGLU across the positions instead of attention
    # Of the grid: then cells hear their four neighbours and the prefix instead of attention; 0: no grid.
    columns: NotNegative = 0
    shared: bool = False  # TRM: one network for both updates
    # The gradient goes through the last L and H update (one_step), or the whole last cycle (full_last).
    grad: Literal["one_step", "full_last"] = "one_step"
    q_continue: bool = True  # False: halt where q_halt > 0, and no second forward for a Q target
    # Of activations and matmuls; parameters, norms, softmax, losses are float32.
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    # auto: cudnn where it can be, else matmul. xla and cudnn (GPU, bfloat16): jax.nn.dot_product_attention.
    attention: Kernel = "auto"
    remat: bool = False  # recompute each block in the backward pass: less memory, more time
    unroll: Few = 4  # blocks unrolled in the scan over them

    def __post_init__(self):
        fields.check("model", self)
        check_heads(self.width, self.heads)
        if self.prefix * self.width < self.puzzle_width:
            raise RequestError(
                f"model.prefix = {self.prefix} positions of {self.width} do not hold model.puzzle_width "
                f"= {self.puzzle_width}: at least {-(-self.puzzle_width // self.width)}"
            )
        if self.positions == "rope" and not self.mixer and self.width // self.heads % 2:
            raise RequestError(f"model.width / heads = {self.width // self.heads}: even, for rope's pairs")
        if self.columns and (self.mixer or not self.prefix or self.sequence % self.columns):
            raise RequestError(
                f"model.columns = {self.columns}: needs a prefix, no mixer, and whole rows of "
                f"model.sequence = {self.sequence} cells"
            )
        if self.attention == "cudnn" and self.dtype != "bfloat16":
            raise RequestError('model.attention = "cudnn" needs model.dtype = "bfloat16"')

    @property
    def length(self) -> int:
        """T: positions that a block sees."""
        return self.prefix + self.sequence

    def inner(self, width: int) -> int:
        """Inner width of a SwiGLU over `width` components."""
        return -(-round(self.expansion * width * 2 / 3) // self.inner_multiple) * self.inner_multiple

    def shapes(self) -> Shapes:
        """Of all parameters; a puzzle embedding may have any number of rows."""
        d = self.width
        groups: dict[str, Shapes] = {"embed": {"tokens": (self.vocabulary, d)}}
        if self.positions == "learned":
            groups["embed"]["positions"] = (self.length, d)
        groups |= {"head": {"kernel": (d, self.vocabulary)}, "q": {"kernel": (d, 2), "bias": (2,)}}
        groups |= {"initial": {"high": (d,), "low": (d,)}}
        found = grouped(groups) | grouped({"low": self._module()}, (self.low_layers,))
        found |= {} if self.shared else grouped({"high": self._module()}, (self.high_layers,))
        return found | ({"puzzles": (None, self.puzzle_width)} if self.puzzle_width else {})

    def _module(self) -> Shapes:
        def swiglu(prefix: str, width: int) -> Shapes:
            inner = self.inner(width)
            return {f"{prefix}up_kernel": (width, 2 * inner), f"{prefix}down_kernel": (inner, width)}

        d = self.width
        attention: Shapes = {"qkv_kernel": (d, 3 * d), "out_kernel": (d, d)}
        near: Shapes = {"near_kernel": (4 * d, d), "tell_kernel": (d, d), "hear_kernel": (d, d)}
        return (near if self.columns else swiglu("mix_", self.length) if self.mixer else attention) | swiglu(
            "", d
        )
