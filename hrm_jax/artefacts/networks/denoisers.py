"""Denoisers of paths: their configs, and the shapes of their parameters. W width, C channels."""

import dataclasses
from typing import Annotated, Any, Literal

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import Few, Fraction, NotNegative, Positive, Rule, at_least, at_most, one_of
from hrm_jax.artefacts.networks.shapes import Shapes, affine, check_heads, grouped
from hrm_jax.worlds import noising, path_frame, raster

ENDS_AND_MORE = Rule(lambda points: points >= 3, "at least 3, of which two are the ends")


Rounds = Annotated[int, at_least(0), at_most(10_000)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a model plans: the group `plan` of a config and of a model file."""

    sampler: Literal["ddim", "published"]
    steps: Few
    samples: Few
    map_guidance: float
    forecast: Literal["none", "ignore", "predictor"]
    cost_guidance: Rounds
    refine: Rounds
    replan: Rounds
    warm: Annotated[float, Rule(lambda x: 0 < x <= 1, "above 0, at most 1")]
    seed: NotNegative


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is and what it was trained to do; the published v2 is `PUBLISHED`."""

    size: Few = 64  # cells of the map along an axis; a multiple of 8
    # Points of a path.
    points: Annotated[
        int, Rule(lambda n: n >= 3, "at least 3, of which two are the ends"), at_most(10_000)
    ] = 64
    width: Positive = 64  # channels of the narrowest stage
    heads: Positive = 4
    groups: Positive = 8  # of every group norm
    channels: tuple[str, ...] = ("static", "obstacles")  # what the map shows, in this order
    slices: Few = 8  # of the channel "forecast"
    obstacle_radius: Annotated[float, Rule(lambda r: r > 0, "more than 0 (cells)"), at_most(10_000)] = 2.0
    # "published": half of the map's code and all of the ends' are cut off (docs/faults.md#f24).
    condition: Annotated[str, one_of(("full", "published"))] = "full"
    predict: Annotated[str, one_of(noising.PREDICTS)] = "sample"
    schedule: Annotated[str, one_of(noising.SCHEDULES)] = "linear"
    # Offsets along and across the timed line; "unit": x / size.
    coordinates: Annotated[str, one_of(path_frame.COORDINATES)] = "line"
    ends: bool = True  # the noisy path's end points are clean in training, as they are in sampling
    map_dropout: Fraction = 0.1  # chance that training hides the map's code

    def __post_init__(self):
        fields.check("model", self)
        object.__setattr__(self, "channels", _checked_channels(self.channels))
        if self.size % 8:
            raise RequestError(f"model.size = {self.size}: a multiple of 8 (the map is halved three times)")
        if self.width % 4:
            raise RequestError(f"model.width = {self.width}: a multiple of 4")
        check_heads(self.width, self.heads)
        check_heads(self.width, self.groups, "groups")

    @property
    def frame(self) -> path_frame.PathFrame:
        """What turns cells into the model's coordinates."""
        return path_frame.PathFrame(self.coordinates, self.size)

    @property
    def inputs(self) -> int:
        """Channels of a noisy path as the network sees it.

        Offsets come with the line that they are from, and with what its corridor shows.
        """
        return raster.path_features(self.frame, self.channels)

    @property
    def map_channels(self) -> int:
        """Channels of the map."""
        return raster.channel_count(self.channels, self.slices)

    def shapes(self) -> Shapes:
        """Of all parameters of the "U-Net"."""
        w = self.width
        code = 2 * w if self.condition == "published" else 8 * w
        stages = ((5, self.map_channels, w // 2), (5, w // 2, w), (3, w, 2 * w))
        return grouped({
            "map": _map(stages, (self.size // 8) ** 2 * 2 * w, 4 * w),
            "ends": affine(4, 4 * w),
            "time": _time(1, 4 * w, 4 * w, 4 * w),
            "down1": self._block(self.inputs, w),
            "down2": self._block(w, 2 * w),
            "attention1": _attention(2 * w),
            "middle1": self._block(2 * w, 4 * w, code),
            "attention2": _attention(4 * w),
            "middle2": self._block(4 * w, 4 * w),
            "up1": self._block(6 * w, 2 * w),
            "up2": self._block(3 * w, w),
            "attention3": _attention(w),
            "out": affine(3 * w, 2),
        })  # fmt: skip

    def _block(self, inputs: int, outputs: int, code: int = 0) -> Shapes:
        """A residual block; `code` channels of its input are constant along the path."""
        leaves = affine(3 * inputs, outputs, "conv1_") | affine(3 * outputs, outputs, "conv2_")
        leaves |= _norm(outputs, "norm1") | _norm(outputs, "norm2")
        leaves |= affine(4 * self.width, outputs, "time_")
        if code:
            leaves["code_kernel"] = (3, code, outputs)
        if inputs + code != outputs:
            leaves |= affine(inputs, outputs, "skip_")
            leaves |= {"code_skip": (code, outputs)} if code else {}
        return leaves


@dataclasses.dataclass(frozen=True)
class PathConvNetConfig(DenoiserConfig):
    """v1's: `heads` and `groups` mean nothing to it, and no slice of its condition is published."""

    condition: Annotated[str, Rule(lambda name: name == "full", "path_convnet allows only full")] = "full"

    def shapes(self) -> Shapes:
        """Of all parameters of the three convolutions."""
        w, hidden = self.width, self.width // 2
        stages = ((3, self.map_channels, w // 4), (3, w // 4, w // 2))
        path = {**affine(3 * self.inputs, hidden, "conv1_"), "code_kernel": (3, 2 * w, hidden)}
        return grouped({
            "map": _map(stages, (self.size // 4) ** 2 * (w // 2), w),
            "ends": affine(4, w),
            "time": _time(1, hidden, hidden),
            "path": {**path, **affine(3 * hidden, hidden, "conv2_"), **affine(3 * hidden, 2, "conv3_")},
        })  # fmt: skip


def _map(stages: tuple[tuple[int, int, int], ...], inputs: int, outputs: int) -> Shapes:
    """Convolutions (kernel size, channels in, channels out) and a linear layer."""
    leaves: Shapes = {}
    for i, (size, channels, wider) in enumerate(stages):
        leaves |= {f"conv{i}_kernel": (size, size, channels, wider), f"conv{i}_bias": (wider,)}
    return leaves | affine(inputs, outputs)


def _time(*widths: int) -> Shapes:
    """Linear layers between successive widths."""
    leaves: Shapes = {}
    for i in range(len(widths) - 1):
        leaves |= affine(widths[i], widths[i + 1], f"linear{i}_")
    return leaves


def _norm(width: int, name: str) -> Shapes:
    return {name: (width,), f"{name}_bias": (width,)}


def _attention(width: int) -> Shapes:
    return {**_norm(width, "norm"), **affine(width, 3 * width, "qkv_"), **affine(width, width, "out_")}


def _checked_channels(channels: Any) -> tuple[str, ...]:
    """`channels`, perhaps a list, as a tuple of different known names."""
    said = f"model.channels = {channels!r:.99}: different names of {', '.join(raster.CHANNELS)}"
    if isinstance(channels, str) or not isinstance(channels, tuple | list):
        raise RequestError(f"{said}, as a list")
    known = all(name in raster.CHANNELS for name in channels)
    if not channels or not known or len(set(channels)) < len(channels):
        raise RequestError(said)
    return tuple(channels)


PUBLISHED: dict[str, Any] = {  # the fields in which the committed v2 is not the default
    "channels": ("occupancy",),
    "condition": "published",
    "predict": "noise",
    "schedule": "linear",
    "coordinates": "unit",
    "ends": False,
    "map_dropout": 0.0,
}
