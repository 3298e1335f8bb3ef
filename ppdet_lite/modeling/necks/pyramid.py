"""Channels and strides of the levels of a neck, which all necks settle alike."""

from collections.abc import Sequence
from typing import Optional

from ppdet_lite.core.build import Section
from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.contracts import Neck, ShapeSpec


class PyramidNeck(Neck):
    """Backbone maps, finest first, to as many neck maps of the same sizes.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        in_strides: input pixels per cell of the backbone's maps; None: 32 for the last, halved
            for each before.

    Attributes:
        shapes: `ShapeSpec` of the backbone's maps, finest first; subclasses fill `out_shape`.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Optional[Sequence[int]] = None):
        super().__init__()
        levels = len(in_channels)
        check_arguments(("in_channels", list(in_channels), levels > 0, "one entry per level"))
        strides = in_strides or [32 // 2**i for i in range(levels)][::-1]
        self.shapes = [ShapeSpec(*shape) for shape in zip(in_channels, strides)]
        self.out_shape: list[ShapeSpec] = []

    @classmethod
    def from_config(cls, section: Section, input_shape: Sequence[ShapeSpec]) -> dict:
        """Takes channels and strides from the backbone; values in the config are not used."""
        channels, strides = map(list, zip(*input_shape))
        return {"in_channels": channels, "in_strides": strides}
