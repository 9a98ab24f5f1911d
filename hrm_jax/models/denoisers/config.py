"""What a path denoiser is and what it was trained to do."""

import dataclasses
from typing import Annotated, Any, Literal

from hrm_jax.artefacts import fields
from hrm_jax.artefacts.errors import RequestError
from hrm_jax.artefacts.fields import Fraction, Positive, Rule, one_of
from hrm_jax.models import layers
from hrm_jax.worlds import noising, path_frame, raster


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is and what it was trained to do; the published v2 is `PUBLISHED`."""

    size: Positive = 64  # cells of the map along an axis; a multiple of 8
    points: Annotated[int, Rule(lambda n: n >= 3, "at least 3, of which two are the ends")] = 64  # of a path
    width: Positive = 64  # channels of the narrowest stage
    heads: Positive = 4
    groups: Positive = 8  # of every group norm
    channels: tuple[str, ...] = ("static", "obstacles")  # what the map shows, in this order
    slices: Positive = 8  # of the channel "forecast"
    obstacle_radius: Annotated[float, Rule(lambda r: r > 0, "more than 0 (cells)")] = 2.0
    # "published": half of the map's code and all of the ends' are cut off (docs/faults.md#f24).
    condition: Literal["full", "published"] = "full"
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
        layers.check_heads(self.width, self.heads)
        layers.check_heads(self.width, self.groups, "groups")

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


def _checked_channels(channels: Any) -> tuple[str, ...]:
    """`channels`, perhaps a list, as a tuple of different known names."""
    said = f"model.channels = {channels!r}: different names of {', '.join(raster.CHANNELS)}"
    if isinstance(channels, str) or not isinstance(channels, tuple | list):
        raise RequestError(f"{said}, as a list")
    known = all(name in raster.CHANNELS for name in channels)
    if not channels or not known or len(set(channels)) < len(channels):
        raise RequestError(said)
    return tuple(channels)


@dataclasses.dataclass(frozen=True)
class PathConvNetConfig(DenoiserConfig):
    """v1's: `heads` and `groups` mean nothing to it, and no slice of its condition is published."""

    condition: Annotated[str, Rule(lambda name: name == "full", "path_convnet allows only full")] = "full"


PUBLISHED: dict[str, Any] = {  # the fields in which the committed v2 is not the default
    "channels": ("occupancy",),
    "condition": "published",
    "predict": "noise",
    "schedule": "linear",
    "coordinates": "unit",
    "ends": False,
    "map_dropout": 0.0,
}
