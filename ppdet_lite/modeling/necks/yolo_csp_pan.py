"""The path aggregation neck of YOLOX (arXiv:2107.08430, after PANet, arXiv:1803.01534)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Multiple
from ppdet_lite.modeling.layers.csp import BaseConv, CSPLayer, conv_class, scaled_depth
from ppdet_lite.modeling.necks.pyramid import PyramidNeck, upsample_x2

BLOCKS = 3
"""Bottlenecks of each CSP layer at full depth."""


@register
class YOLOCSPPAN(PyramidNeck):
    """Feature pyramid, top-down and bottom-up, that keeps channels and sizes of its input maps.

    Its maps come finest first, which is the order of the heads in the released weights. `depthwise`
    selects depthwise separable 3x3 convolutions.
    """

    __shared__ = ("depth_mult", "act")
    __unused__ = ("trt", "data_format")

    def __init__(
        self,
        depth_mult: Multiple = 1.0,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        depthwise: bool = False,
        act: Act = "silu",
        in_strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__(in_channels, in_strides)
        self.out_shape = self.shapes
        channels = list(in_channels)
        blocks = scaled_depth(BLOCKS, depth_mult)
        conv = conv_class(depthwise)

        def csp(ch_in: int, ch_out: int) -> CSPLayer:
            return CSPLayer(ch_in, ch_out, blocks, False, depthwise, act)

        falling = list(zip(channels[:0:-1], channels[-2::-1]))  # a level and the next finer one
        self.lateral_convs = nn.LayerList(BaseConv(*pair, 1, act=act) for pair in falling)
        self.fpn_blocks = nn.LayerList(csp(2 * finer, finer) for _, finer in falling)
        rising = list(zip(channels, channels[1:]))
        self.downsample_convs = nn.LayerList(conv(c, c, 3, stride=2, act=act) for c, _ in rising)
        self.pan_blocks = nn.LayerList(csp(2 * finer, coarser) for finer, coarser in rising)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        x, narrowed = features[-1], []
        for finer, lateral, block in zip(features[-2::-1], self.lateral_convs, self.fpn_blocks):
            narrowed.append(lateral(x))
            x = block(paddle.concat([upsample_x2(narrowed[-1]), finer], axis=1))
        outputs = [x]
        for side, down, block in zip(narrowed[::-1], self.downsample_convs, self.pan_blocks):
            outputs.append(block(paddle.concat([down(outputs[-1]), side], axis=1)))
        return outputs
