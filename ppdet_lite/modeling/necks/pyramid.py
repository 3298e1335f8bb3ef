"""Base class of the necks."""

from collections.abc import Sequence
from typing import Optional

from paddle import Tensor

from ppdet_lite.core.build import Section
from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.contracts import Neck, ShapeSpec


class PyramidNeck(Neck):
    """Backbone maps, finest first, to as many neck maps of the same sizes.

    `shapes` describes the backbone maps, finest first; subclasses fill `out_shape`. Strides that
    are None end with 32.
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
        return dict(zip(("in_channels", "in_strides"), map(list, zip(*input_shape))))


def upsample_x2(x: Tensor) -> Tensor:
    """Nearest-neighbor enlargement by two: [B, C, H, W] to [B, C, 2H, 2W].

    Written as reshape, expand, reshape because `F.interpolate` leaves an attribute in exported
    models that Paddle 3.3's oneDNN predictor and Paddle2ONNX refuse (Paddle issues 77340, 79749).
    """
    channels, height, width = x.shape[1:]
    x = x.reshape([-1, channels, height, 1, width, 1])
    x = x.expand([-1, -1, -1, 2, -1, 2])
    return x.reshape([-1, channels, height * 2, width * 2])
