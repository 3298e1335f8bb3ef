"""The path aggregation neck of YOLOX (arXiv:2107.08430, after PANet, arXiv:1803.01534).

Its maps, unlike those of the YOLOv3 necks, come finest first: that is the order of the heads in the
released weights.
"""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.layers.csp import BaseConv, CSPLayer, conv_class, scaled_depth
from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.necks.pyramid import PyramidNeck

BLOCKS = 3
"""Bottlenecks of each CSP layer at full depth."""


@register
class YOLOCSPPAN(PyramidNeck):
    """Backbone maps, finest first, to as many of the same channels and sizes, finest first.

    Down the pyramid a 1x1 convolution narrows a map to the channels of the next finer one, which a
    CSP layer joins with it; up again, 3x3 convolutions of stride 2 take the place of the 1x1.

    Args:
        depth_mult: factor on the bottlenecks of each CSP layer, at least one is left.
        depthwise: separable 3x3 convolutions.
        act: name of the activations.
    """

    __shared__ = ("depth_mult", "act")
    __unused__ = ("trt", "data_format")

    def __init__(
        self,
        depth_mult: float = 1.0,
        in_channels: Sequence[int] = (256, 512, 1024),
        depthwise: bool = False,
        act: Optional[str] = "silu",
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__(in_channels, in_strides)
        self.out_shape = self.shapes
        channels = list(in_channels)
        blocks = scaled_depth(BLOCKS, depth_mult)
        conv = conv_class(depthwise)

        def csp(ch_in: int, ch_out: int) -> CSPLayer:
            return CSPLayer(ch_in, ch_out, blocks, False, depthwise, act)

        falling = list(zip(channels[:0:-1], channels[-2::-1]))  # coarse and next finer
        self.lateral_convs = nn.LayerList(BaseConv(*pair, 1, act=act) for pair in falling)
        self.fpn_blocks = nn.LayerList(csp(2 * finer, finer) for _, finer in falling)
        rising = list(zip(channels, channels[1:]))  # fine and next coarser
        self.downsample_convs = nn.LayerList(
            conv(finer, finer, 3, stride=2, act=act) for finer, _ in rising
        )
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
