"""The feature pyramid necks of YOLOv3 (arXiv:1804.02767), PP-YOLO (arXiv:2007.12099) and its tiny
form, coarsest level first.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import (
    Act,
    Channels,
    Kept,
    Layout,
    Multiple,
    NormType,
    Odd,
    check_arguments,
)
from ppdet_lite.modeling.contracts import ShapeSpec
from ppdet_lite.modeling.layers.conv import ConvBNLayer, CoordConv, scale_channels
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.pyramid import PyramidNeck, upsample_x2


class DetectionBlock(nn.Layer):
    """Map of a level to its route (for the next level) and its tip (for the head)."""

    def __init__(self, layers: Sequence[tuple[str, nn.Layer]], tip: nn.Layer):
        super().__init__()
        self.conv_module = nn.Sequential(*layers)
        self.tip = tip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        route = self.conv_module(x)
        return route, self.tip(route)


class TopDownNeck(PyramidNeck):
    """Backbone maps, finest first, to neck maps of the same sizes, coarsest first.

    The block of a level takes the backbone map, after the coarsest level concatenated to the
    upsampled route of the previous level. Subclasses append levels with `add_level`.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Optional[Sequence[int]]):
        super().__init__(in_channels, in_strides)
        self.laterals = [shape.channels for shape in self.shapes[::-1]]
        self.yolo_block, self.yolo_transition = nn.LayerList(), nn.LayerList()

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Callable[[], nn.Layer]
    ) -> None:
        """Appends a level; `out_channels` are those of its tip, the finest has no transition."""
        stride = self.shapes[-1 - len(self.yolo_block)].stride
        self.out_shape.append(ShapeSpec(out_channels, stride))
        self.yolo_block.append(block)
        if len(self.yolo_block) < len(self.laterals):
            self.yolo_transition.append(transition())

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        tips, route = [], None
        for i, feature in enumerate(self.prepare(features)):
            if i > 0:
                route = upsample_x2(self.yolo_transition[i - 1](route))
                feature = paddle.concat([route, feature], axis=1)
            route, tip = self.yolo_block[i](feature)
            tips.append(tip)
        return tips

    def prepare(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the inputs of the blocks, coarsest first."""
        return list(features)[::-1]


@register
class PPYOLOFPN(TopDownNeck):
    """The neck of PP-YOLO.

    Args:
        coord_conv: use CoordConv for route, tip and each 1x1 before a 3x3.
        conv_block_num: 2 (pairs of 1x1 and 3x3 before the route) or 0 (route and tip only).
        drop_block: add a `DropBlock` of `block_size` and `keep_prob` to each level.
        spp: add `SPP` to the coarsest level.
        width_mult: factor on the channels of the neck.
        act: of all convolutions.
    """

    __shared__: tuple[str, ...] = ("norm_type", "data_format", "width_mult")

    widest: Optional[int] = None
    """Channels of the coarsest block; None: 512 with three levels, half of it with one less."""

    def __init__(
        self,
        in_channels: Sequence[Channels] = (512, 1024, 2048),
        norm_type: NormType = "bn",
        freeze_norm: bool = False,
        data_format: Layout = "NCHW",
        coord_conv: bool = False,
        conv_block_num: Literal[0, 2] = 2,
        drop_block: bool = False,
        block_size: Odd = 3,
        keep_prob: Kept = 0.9,
        spp: bool = False,
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
        act: Act = "leaky",
    ):
        super().__init__(in_channels, in_strides)
        conv: Callable[..., nn.Layer] = partial(ConvBNLayer, freeze_norm=freeze_norm, act=act)
        coord = partial(CoordConv, freeze_norm=freeze_norm, act=act) if coord_conv else conv
        drop = [("dropblock", DropBlock(block_size, keep_prob))] if drop_block else []
        widest, route = self.widest or 64 * 2 ** len(self.laterals), 0
        for i, lateral in enumerate(self.laterals):
            width = scale_channels(widest // 2**i, width_mult)
            ch_in = ch_pool = lateral + route
            layers: list[tuple[str, nn.Layer]] = []
            if conv_block_num:
                layers = [
                    ("conv0", coord(ch_in, width, 1)),
                    ("conv1", conv(width, width * 2, 3)),
                    ("conv2", coord(width * 2, width, 1)),
                    ("conv3", conv(width, width * 2, 3)),
                ]
                ch_in, ch_pool = width * 2, width
            if i == 0:
                pool = [("spp", SPP(ch_pool, ch_pool, act=act))] if spp else []
                layers = [*layers[:3], *pool, *layers[3:], *drop]
            else:
                layers = [*layers[:2], *drop, *layers[2:]]
            layers.append(("route", coord(ch_in, width, 1)))
            block = DetectionBlock(layers, coord(width, width * 2, 3))
            route = scale_channels(256 // 2**i, width_mult)
            self.add_level(block, width * 2, partial(conv, width, route, 1))


@register
class YOLOv3FPN(PPYOLOFPN):
    """The neck of YOLOv3: `PPYOLOFPN` without its options."""

    widest = 512

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        norm_type: NormType = "bn",
        freeze_norm: bool = False,
        data_format: Layout = "NCHW",
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        more: dict[str, Any] = {"freeze_norm": freeze_norm, "width_mult": width_mult}
        super().__init__(in_channels, in_strides=in_strides, **more)


@register
class PPYOLOTinyFPN(TopDownNeck):
    """The neck of PP-YOLO tiny: depthwise 5x5 convolutions, few channels.

    A block: DropBlock, 1x1, depthwise 5x5, 1x1, depthwise 5x5 (route), 1x1 (tip).

    Args:
        detection_block_channels: channels of each block before `width_mult`, coarsest first.
        drop_block: start each block with a `DropBlock` of `block_size` and `keep_prob`.
        spp: apply `SPP` to the coarsest backbone map.
    """

    __shared__ = ("norm_type", "data_format", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[Channels] = (80, 56, 34),
        detection_block_channels: Sequence[Channels] = (160, 128, 96),
        norm_type: NormType = "bn",
        data_format: Layout = "NCHW",
        drop_block: bool = False,
        block_size: Odd = 3,
        keep_prob: Kept = 0.9,
        spp: bool = False,
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__(in_channels, in_strides)
        levels, found = len(self.laterals), list(detection_block_channels)
        needed = f"{levels} widths, one for each map of the backbone"
        check_arguments(("detection_block_channels", found, len(found) == levels, needed))
        coarsest, route = self.laterals[0], 0
        self.spp = SPP(coarsest, coarsest) if spp else None
        for i, (lateral, full_width) in enumerate(zip(self.laterals, found)):
            width = scale_channels(full_width, width_mult)
            layers: list[tuple[str, nn.Layer]] = []
            if drop_block:
                layers.append(("dropblock", DropBlock(block_size, keep_prob)))
            layers += [
                (f"yolo_block.{i}.0", ConvBNLayer(lateral + route, width, 1)),
                (f"yolo_block.{i}.1", ConvBNLayer(width, width, 5, groups=width)),
                (f"yolo_block.{i}.2", ConvBNLayer(width, width, 1)),
                (f"yolo_block.{i}.route", ConvBNLayer(width, width, 5, groups=width)),
            ]
            transition = partial(ConvBNLayer, width, width, 1)
            self.add_level(DetectionBlock(layers, transition()), width, transition)
            route = width

    def prepare(self, features: Sequence[Tensor]) -> list[Tensor]:
        coarsest, *finer = list(features)[::-1]
        return [coarsest if self.spp is None else self.spp(coarsest), *finer]
