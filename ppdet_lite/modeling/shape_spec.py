"""What the parts of a network tell each other about the feature maps they hand on."""

from typing import NamedTuple


class ShapeSpec(NamedTuple):
    """One feature map: number of channels, and input pixels per cell."""

    channels: int
    stride: int
