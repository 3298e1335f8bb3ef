"""The backbone of YOLOv4-tiny (arXiv:2011.08036, section 3.3)."""

from functools import partial
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Multiple, NormType
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels

STEM_CHANNELS = 32
FIRST_BLOCK_CHANNELS, BLOCKS = 64, 3


class TinyCSPBlock(nn.Layer):
    """Partial dense block: half of the channels through two 3x3, all of it beside the input.

    [B, C, H, W] to the block's own map [B, C, H, W] and both together [B, 2C, H, W].
    """

    def __init__(self, channels: int, **more: Any):
        super().__init__()
        conv, half = partial(ConvBNLayer, **more), channels // 2
        self.entry = conv(channels, channels, 3)
        self.conv1 = conv(half, half, 3)
        self.conv2 = conv(half, half, 3)
        self.transition = conv(channels, channels, 1)
        self._half = half

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.entry(x)
        first = self.conv1(x[:, self._half :])
        own = self.transition(paddle.concat([self.conv2(first), first], axis=1))
        return own, paddle.concat([x, own], axis=1)


@register
class CSPDarknetTiny(Backbone):
    """Two strided convolutions, three `TinyCSPBlock` with max pools after them, and a 3x3.

    Returns the own map of the last block (stride 16) and the map after the 3x3 (stride 32).
    """

    __shared__ = ("norm_type", "width_mult")

    def __init__(self, act: Act = "leaky", norm_type: NormType = "bn", width_mult: Multiple = 1.0):
        super().__init__()
        stem = scale_channels(STEM_CHANNELS, width_mult)
        first = 2 * scale_channels(FIRST_BLOCK_CHANNELS // 2, width_mult)
        widths = [first * 2**i for i in range(BLOCKS)]  # a block doubles its channels
        self.stem = nn.Sequential(
            ConvBNLayer(3, stem, 3, 2, act=act), ConvBNLayer(stem, first, 3, 2, act=act)
        )
        self.blocks = nn.LayerList(TinyCSPBlock(width, act=act) for width in widths)
        joined = 2 * widths[-1]
        self.last = ConvBNLayer(joined, joined, 3, act=act)
        self.out_shape = [ShapeSpec(widths[-1], 16), ShapeSpec(joined, 32)]

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        for block in self.blocks:
            own, joined = block(x)
            x = F.max_pool2d(joined, 2, stride=2)
        return [own, self.last(x)]
