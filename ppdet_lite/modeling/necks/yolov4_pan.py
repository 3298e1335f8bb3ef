"""The necks of YOLOv4 (arXiv:2004.10934) and scaled YOLOv4-CSP (arXiv:2011.08036).

Both concatenate where PANet (arXiv:1803.01534) adds. Their maps come finest first.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Multiple, NormType
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.layers.regularization.growing_drop_block import GrowingDropBlock
from ppdet_lite.modeling.layers.rfb import RFB
from ppdet_lite.modeling.layers.spatial_attention import PointwiseAttention
from ppdet_lite.modeling.layers.spp import max_pools
from ppdet_lite.modeling.necks.pyramid import PyramidNeck, upsample_x2

FINEST_CHANNELS = 128
"""Channels of the finest map; each coarser one has twice as many."""


def pooled(x: Tensor) -> Tensor:
    """Max pools of 13, 9 and 5, then `x` itself: [B, C, H, W] to [B, 4C, H, W]."""
    return paddle.concat(max_pools(x, (5, 9, 13))[::-1], axis=1)


class SPPBlock(nn.Layer):
    """Three convolutions, the pools, three convolutions: [B, ch_in, H, W] to [B, C, H, W]."""

    def __init__(self, ch_in: int, channels: int, **more: Any):
        super().__init__()
        conv, wide = partial(ConvBNLayer, **more), 2 * channels
        sizes = [(ch_in, channels, 1), (channels, wide, 3), (wide, channels, 1)]
        self.before = nn.Sequential(*(conv(*size) for size in sizes))
        sizes = [(4 * channels, channels, 1), (channels, wide, 3), (wide, channels, 1)]
        self.after = nn.Sequential(*(conv(*size) for size in sizes))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(pooled(self.before(x)))


class FusionBlock(nn.Layer):
    """Five convolutions, 1x1 and 3x3 in turn: [B, 2C, H, W] to [B, C, H, W].

    `sam` puts a `PointwiseAttention` before them.
    """

    def __init__(self, channels: int, sam: bool = False, **more: Any):
        super().__init__()
        wide = 2 * channels
        self.sam = PointwiseAttention(wide) if sam else None
        widths = [(wide, channels, 1), (channels, wide, 3)] * 2 + [(wide, channels, 1)]
        self.convs = nn.Sequential(*(ConvBNLayer(*size, **more) for size in widths))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x if self.sam is None else self.sam(x))


class CSPSPPBlock(nn.Layer):
    """`SPPBlock` with a branch beside it: [B, ch_in, H, W] to [B, C, H, W]."""

    def __init__(self, ch_in: int, channels: int, **more: Any):
        super().__init__()
        conv = partial(ConvBNLayer, **more)
        self.shortcut = conv(ch_in, channels, 1)
        self.before = nn.Sequential(
            conv(ch_in, channels, 1), conv(channels, channels, 3), conv(channels, channels, 1)
        )
        self.after = nn.Sequential(conv(4 * channels, channels, 1), conv(channels, channels, 3))
        self.transition = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.after(pooled(self.before(x)))
        return self.transition(paddle.concat([deep, self.shortcut(x)], axis=1))


class CSPFusionBlock(nn.Layer):
    """1x1 to half, then two pairs of 1x1 and 3x3 beside a 1x1: [B, 2C, H, W] to [B, C, H, W].

    `sam` puts a `PointwiseAttention` behind the concatenation of both.
    """

    def __init__(self, channels: int, sam: bool = False, **more: Any):
        super().__init__()
        conv = partial(ConvBNLayer, **more)
        self.entry = conv(2 * channels, channels, 1)
        self.shortcut = conv(channels, channels, 1)
        sizes = (1, 3, 1, 3)
        self.convs = nn.Sequential(*(conv(channels, channels, size) for size in sizes))
        self.sam = PointwiseAttention(2 * channels) if sam else None
        self.transition = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        x = paddle.concat([self.convs(x), self.shortcut(x)], axis=1)
        return self.transition(x if self.sam is None else self.sam(x))


class ConcatenatingPAN(PyramidNeck):
    """Top-down and bottom-up path; `spp_block` makes the coarsest map, `fusion_block` the others.

    Args:
        in_channels: of the backbone maps, finest first.
        act: activation of all convolutions.
        sam: use the modified spatial attention in every fusion block.
        rfb: put a receptive field block behind SPP.
        drop: arguments of the `GrowingDropBlock` behind every fusion block; None for none.
        width_mult: factor on the channels of the neck.
    """

    spp_block: Callable[..., nn.Layer]
    fusion_block: Callable[..., nn.Layer]

    def __init__(
        self,
        in_channels: Sequence[int],
        act: Optional[str],
        *,
        sam: bool,
        rfb: bool,
        drop: Optional[tuple],
        width_mult: float,
        in_strides: Optional[Sequence[int]],
    ):
        super().__init__(in_channels, in_strides)
        conv = partial(ConvBNLayer, act=act)

        def block(width: int) -> nn.Layer:
            fusion = self.fusion_block(width, sam=sam, act=act)
            return fusion if drop is None else nn.Sequential(fusion, GrowingDropBlock(*drop))

        count = len(self.shapes)
        widths = [scale_channels(FINEST_CHANNELS * 2**i, width_mult) for i in range(count)]
        self.spp = self.spp_block(self.shapes[-1].channels, widths[-1], act=act)
        self.rfb = RFB(widths[-1]) if rfb else None
        self.reductions, self.laterals = nn.LayerList(), nn.LayerList()
        self.top_down = nn.LayerList()
        for i in reversed(range(count - 1)):
            self.reductions.append(conv(widths[i + 1], widths[i], 1))
            self.laterals.append(conv(self.shapes[i].channels, widths[i], 1))
            self.top_down.append(block(widths[i]))
        self.downsamples, self.bottom_up = nn.LayerList(), nn.LayerList()
        for finer, width in zip(widths, widths[1:]):
            self.downsamples.append(conv(finer, width, 3, 2))
            self.bottom_up.append(block(width))
        self.out_shape = [ShapeSpec(w, shape.stride) for w, shape in zip(widths, self.shapes)]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        coarsest = self.spp(features[-1])
        maps = [coarsest if self.rfb is None else self.rfb(coarsest)]
        steps = zip(self.reductions, self.laterals, self.top_down, features[-2::-1])
        for reduce, lateral, block, feature in steps:
            route = upsample_x2(reduce(maps[-1]))
            maps.append(block(paddle.concat([lateral(feature), route], axis=1)))
        outputs = [maps.pop()]
        for downsample, block in zip(self.downsamples, self.bottom_up):
            route = downsample(outputs[-1])
            outputs.append(block(paddle.concat([route, maps.pop()], axis=1)))
        return outputs


@register
class YOLOv4PAN(ConcatenatingPAN):
    """The neck of YOLOv4: SPP, then top-down and bottom-up with five convolutions per level.

    Args:
        act: LeakyReLU in the released network; the paper names Mish.
        sam: use the modified spatial attention in every fusion block.
        rfb: put a receptive field block (arXiv:1711.07767) behind SPP. The paper tried one (table
            5) and does not say where.
        drop_block: put a `GrowingDropBlock` of `drop_probability` and `block_size` behind every
            fusion block.
        width_mult: factor on the channels of the neck.
    """

    __shared__ = ("norm_type", "width_mult")

    spp_block, fusion_block = SPPBlock, FusionBlock

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        act: Act = "leaky",
        sam: bool = False,
        rfb: bool = False,
        drop_block: bool = False,
        drop_probability: Probability = 0.1,
        block_size: Count = 7,
        norm_type: NormType = "bn",
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        drop = (drop_probability, block_size) if drop_block else None
        more: dict[str, Any] = {"width_mult": width_mult, "in_strides": in_strides}
        super().__init__(in_channels, act, sam=sam, rfb=rfb, drop=drop, **more)


@register
class YOLOv4CSPPAN(ConcatenatingPAN):
    """The neck of scaled YOLOv4-CSP: as `YOLOv4PAN` with a cross-stage partial block per level.

    Args:
        act, sam, rfb, drop_block, drop_probability, block_size, width_mult: see `YOLOv4PAN`.
    """

    __shared__ = ("norm_type", "width_mult")

    spp_block, fusion_block = CSPSPPBlock, CSPFusionBlock

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        act: Act = "mish",
        sam: bool = False,
        rfb: bool = False,
        drop_block: bool = False,
        drop_probability: Probability = 0.1,
        block_size: Count = 7,
        norm_type: NormType = "bn",
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        drop = (drop_probability, block_size) if drop_block else None
        more: dict[str, Any] = {"width_mult": width_mult, "in_strides": in_strides}
        super().__init__(in_channels, act, sam=sam, rfb=rfb, drop=drop, **more)
