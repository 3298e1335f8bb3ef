"""The feature pyramid neck of YOLOv3 (arXiv:1804.02767)."""

from collections.abc import Sequence
from functools import partial
from typing import Optional

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.necks.top_down import DetectionBlock, TopDownNeck


@register
class YOLOv3FPN(TopDownNeck):
    """Feature pyramid, coarsest level first, with LeakyReLU.

    The blocks have c = 512, 256, 128, ... channels times `width_mult`: 1x1 to c and 3x3 to 2c,
    twice; 1x1 to c (route); 3x3 to 2c (tip).
    """

    __shared__ = ("norm_type", "data_format", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024),
        norm_type: str = "bn",
        freeze_norm: bool = False,
        data_format: str = "NCHW",
        width_mult: float = 1.0,
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__(in_channels, in_strides, data_format)
        conv = partial(ConvBNLayer, norm_type=norm_type, freeze_norm=freeze_norm)
        route = 0
        for i, lateral in enumerate(self.laterals):
            width = scale_channels(512 // 2**i, width_mult)
            layers = [
                ("conv0", conv(lateral + route, width, 1)),
                ("conv1", conv(width, width * 2, 3)),
                ("conv2", conv(width * 2, width, 1)),
                ("conv3", conv(width, width * 2, 3)),
                ("route", conv(width * 2, width, 1)),
            ]
            route = scale_channels(256 // 2**i, width_mult)
            transition = conv(width, route, 1) if i < len(self.laterals) - 1 else None
            self.add_level(DetectionBlock(layers, conv(width, width * 2, 3)), width * 2, transition)
