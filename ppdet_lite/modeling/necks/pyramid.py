"""What every neck of the family tells the parts around it: channels and strides of its levels."""

from collections.abc import Sequence
from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.contracts import Neck, ShapeSpec


class PyramidNeck(Neck):
    """Backbone maps, finest first, to neck maps of the same sizes, coarsest first.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        in_strides: input pixels per cell of the backbone's maps; None: 32 for the last, halved
            for each before.

    Attributes:
        laterals: `in_channels`, coarsest first.
        out_strides, out_channels: of the returned maps, coarsest first; subclasses fill the latter.

    Raises:
        ConfigError: no levels.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Optional[Sequence[int]] = None):
        super().__init__()
        if not in_channels:
            raise ConfigError("in_channels: found [], needed: one entry per level")
        levels = len(in_channels)
        self.laterals = list(in_channels)[::-1]
        self.out_strides = list(in_strides or [32 // 2**i for i in range(levels)][::-1])[::-1]
        self.out_channels = []

    @classmethod
    def from_config(cls, section, input_shape):
        """Takes channels and strides from the backbone; values in the config are not used."""
        return {
            "in_channels": [shape.channels for shape in input_shape],
            "in_strides": [shape.stride for shape in input_shape],
        }

    @property
    def out_shape(self) -> list:
        """`ShapeSpec` of every returned map, coarsest first."""
        return [ShapeSpec(*shape) for shape in zip(self.out_channels, self.out_strides)]
