"""The feature pyramid neck of PP-YOLO (arXiv:2007.12099)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

from paddle import nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import check_arguments, one_of
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.coord_conv import CoordConv
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.top_down import DetectionBlock, TopDownNeck


@register
class PPYOLOFPN(TopDownNeck):
    """Feature pyramid, coarsest level first, with LeakyReLU.

    Args:
        coord_conv: use CoordConv for route, tip and each 1x1 before a 3x3.
        conv_block_num: 2 (pairs of 1x1 and 3x3 before the route) or 0 (route and tip only).
        drop_block: add a `DropBlock` of `block_size` and `keep_prob` to each level.
        spp: add `SPP` to the coarsest level.
        width_mult: factor on the channels of the neck.
    """

    __shared__ = ("norm_type", "data_format", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        norm_type: str = "bn",
        freeze_norm: bool = False,
        data_format: str = "NCHW",
        coord_conv: bool = False,
        conv_block_num: int = 2,
        drop_block: bool = False,
        block_size: int = 3,
        keep_prob: float = 0.9,
        spp: bool = False,
        width_mult: float = 1.0,
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__(in_channels, in_strides, data_format)
        check_arguments(one_of("conv_block_num", conv_block_num, [0, 2]))
        norm: dict[str, Any] = {"norm_type": norm_type, "freeze_norm": freeze_norm}
        conv: Callable[..., nn.Layer] = partial(ConvBNLayer, **norm)
        coord: Callable[..., nn.Layer] = partial(CoordConv, **norm) if coord_conv else conv
        drop = [("dropblock", DropBlock(block_size, keep_prob))] if drop_block else []
        levels, route = len(self.laterals), 0
        for i, lateral in enumerate(self.laterals):
            width = scale_channels(64 * 2**levels // 2**i, width_mult)
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
                pool = [("spp", SPP(ch_pool, ch_pool, norm_type=norm_type))] if spp else []
                layers = [*layers[:3], *pool, *layers[3:], *drop]
            else:
                layers = [*layers[:2], *drop, *layers[2:]]
            layers.append(("route", coord(ch_in, width, 1)))
            block = DetectionBlock(layers, coord(width, width * 2, 3))
            transition = None
            if i < levels - 1:
                route = scale_channels(256 // 2**i, width_mult)
                transition = conv(width, route, 1)
            self.add_level(block, width * 2, transition)
