"""Adaptively spatial feature fusion (ASFF, arXiv:1911.09516) of one level."""

from collections.abc import Sequence
from typing import Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.necks.pyramid import upsample_x2


class MapResize(nn.Layer):
    """A map to the channels and the stride of another level.

    To a coarser one by a 3x3 convolution of stride 2, with max pools of stride 2 before it for each
    further factor of 2; to a finer one by nearest-neighbor enlargement. A 1x1 convolution comes
    first where the channels differ and nothing else changes them.
    """

    def __init__(self, source: ShapeSpec, target: ShapeSpec, act: Optional[str]):
        super().__init__()
        steps = (target.stride // source.stride or 1).bit_length() - 1
        self._pools = max(0, steps - 1)
        self._enlargements = (source.stride // target.stride or 1).bit_length() - 1
        self.conv = None
        if steps:
            self.conv = ConvBNLayer(source.channels, target.channels, 3, 2, act=act)
        elif source.channels != target.channels:
            self.conv = ConvBNLayer(source.channels, target.channels, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self._pools):
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        if self.conv is not None:
            x = self.conv(x)
        for _ in range(self._enlargements):
            x = upsample_x2(x)
        return x


class AdaptiveFusion(nn.Layer):
    """Maps of all levels to one, with a weight for each map in each cell.

    Args:
        shapes: of the maps.
        target: of the level; its channels are those in which maps are added.
        out_channels: after the 3x3 convolution behind the sum.
        weight_channels: channels from which the weights of a map are predicted.
        act: of the convolutions.
    """

    def __init__(
        self,
        shapes: Sequence[ShapeSpec],
        target: ShapeSpec,
        out_channels: int,
        weight_channels: int,
        act: Optional[str],
    ):
        super().__init__()
        count, channels = len(shapes), target.channels
        self.resize = nn.LayerList(MapResize(shape, target, act) for shape in shapes)
        self.weight_convs = nn.LayerList(
            ConvBNLayer(channels, weight_channels, 1, act=act) for _ in shapes
        )
        self.weight_logits = nn.Conv2D(weight_channels * count, count, 1)
        self.expand = ConvBNLayer(channels, out_channels, 3, act=act)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C_i, H_i, W_i] of all levels to [B, out_channels, H, W]."""
        resized = self.resized(maps)
        weights = self.fusion_weights(resized)
        fused = sum(x * weights[:, i : i + 1] for i, x in enumerate(resized))
        return self.expand(fused)

    def resized(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of all levels as [B, C, H, W]."""
        return [resize(x) for resize, x in zip(self.resize, maps)]

    def fusion_weights(self, resized: Sequence[Tensor]) -> Tensor:
        """Weights [B, levels, H, W] of the resized maps; they add up to 1."""
        features = [conv(x) for conv, x in zip(self.weight_convs, resized)]
        return F.softmax(self.weight_logits(paddle.concat(features, axis=1)), axis=1)
