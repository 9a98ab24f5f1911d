"""What a path denoiser is and what it was trained to do."""

import dataclasses
from typing import Any

from hrm_jax.artefacts.errors import RequestError
from hrm_jax.models import layers
from hrm_jax.worlds import noising, path_frame, raster

CONDITIONS = ("full", "published")


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is and what it was trained to do; the published v2 is `PUBLISHED`."""

    size: int = 64  # cells of the map along an axis
    points: int = 64  # of a path
    width: int = 64  # channels of the narrowest stage
    heads: int = 4
    groups: int = 8  # of every group norm
    channels: tuple[str, ...] = ("static", "obstacles")  # what the map shows, in this order
    slices: int = 8  # of the channel "forecast"
    obstacle_radius: float = 2.0  # cells
    condition: str = (
        "full"  # "published": half of the map's code and all of the ends' are cut off (docs/faults.md#f24)
    )
    predict: str = "sample"
    schedule: str = "linear"
    coordinates: str = "line"  # offsets along and across the timed line; "unit": x / size
    ends: bool = True  # the noisy path's end points are clean in training, as they are in sampling
    map_dropout: float = 0.1  # chance that training hides the map's code

    def __post_init__(self):
        names = ("size", "points", "width", "heads", "groups", "slices")
        layers.check_positive(**{name: getattr(self, name) for name in names})
        object.__setattr__(self, "channels", _checked_channels(self.channels))
        if self.size % 8:
            raise RequestError(f"model.size = {self.size}: a multiple of 8 (the map is halved three times)")
        if self.points < 3:
            raise RequestError(f"model.points = {self.points}: at least 3, of which two are the ends")
        if self.width % 4:
            raise RequestError(f"model.width = {self.width}: a multiple of 4")
        layers.check_heads(self.width, self.heads)
        layers.check_heads(self.width, self.groups, "groups")
        layers.check_choice("model.condition", self.condition, CONDITIONS)
        layers.check_choice("model.predict", self.predict, noising.PREDICTS)
        layers.check_choice("model.schedule", self.schedule, noising.SCHEDULES)
        layers.check_choice("model.coordinates", self.coordinates, path_frame.COORDINATES)
        if not self.obstacle_radius > 0:
            raise RequestError(f"model.obstacle_radius = {self.obstacle_radius}: more than 0 (cells)")
        if not 0 <= self.map_dropout < 1:
            raise RequestError(f"model.map_dropout = {self.map_dropout}: at least 0 and less than 1")

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

    def __post_init__(self):
        super().__post_init__()
        if self.condition != "full":
            raise RequestError(f'model.condition = "{self.condition}": path_convnet allows only full')


PUBLISHED: dict[str, Any] = {  # the fields in which the committed v2 is not the default
    "channels": ("occupancy",),
    "condition": "published",
    "predict": "noise",
    "schedule": "linear",
    "coordinates": "unit",
    "ends": False,
    "map_dropout": 0.0,
}
