"""The neck of YOLOv4-tiny (arXiv:2011.08036, section 3.3)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Multiple, NormType, check_arguments
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.necks.pyramid import PyramidNeck, upsample_x2

COARSE_CHANNELS, ROUTE_CHANNELS = 256, 128


@register
class YOLOv4TinyFPN(PyramidNeck):
    """Two levels, coarsest first: a 1x1 over the coarse map, and what it adds to the fine one.

    The fine level is the concatenation itself; the head's 3x3 joins it.

    Args:
        act: activation of both convolutions.
        width_mult: factor on the channels of the neck.
    """

    __shared__ = ("norm_type", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512),
        act: Act = "leaky",
        norm_type: NormType = "bn",
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__(in_channels, in_strides)
        check_arguments(("in_channels", list(in_channels), len(self.shapes) == 2, "two levels"))
        fine, coarse = self.shapes
        width = scale_channels(COARSE_CHANNELS, width_mult)
        route = scale_channels(ROUTE_CHANNELS, width_mult)
        self.coarse = ConvBNLayer(coarse.channels, width, 1, act=act)
        self.reduction = ConvBNLayer(width, route, 1, act=act)
        self.out_shape = [
            ShapeSpec(width, coarse.stride),
            ShapeSpec(route + fine.channels, fine.stride),
        ]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        coarse = self.coarse(features[1])
        route = upsample_x2(self.reduction(coarse))
        return [coarse, paddle.concat([route, features[0]], axis=1)]
