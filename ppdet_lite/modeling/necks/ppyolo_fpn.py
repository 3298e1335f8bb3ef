"""The feature pyramid neck of PP-YOLO (arXiv:2007.12099)."""

from collections.abc import Sequence
from typing import Any, Optional

from paddle import nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import check_arguments, nchw, one_of
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.coord_conv import CoordConv
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.top_down import DetectionBlock, TopDownNeck


@register
class PPYOLOFPN(TopDownNeck):
    """Feature pyramid from coarse to fine, LeakyReLU; one block per level.

    Args:
        coord_conv: CoordConv for every 1x1 before a 3x3, for route and tip.
        conv_block_num: 2 (pairs of 1x1 and 3x3 before the route) or 0 (route and tip only).
        drop_block: one `DropBlock` per level, of `block_size` and `keep_prob`.
        spp: pooled context on the coarsest level.
        width_mult: factor on the neck's channels.
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
        super().__init__(in_channels, in_strides)
        check_arguments(nchw(data_format), one_of("conv_block_num", conv_block_num, [0, 2]))
        self._norm: dict[str, Any] = {"norm_type": norm_type, "freeze_norm": freeze_norm}
        self._coord_layer = CoordConv if coord_conv else ConvBNLayer
        self._drop = [("dropblock", DropBlock(block_size, keep_prob))] if drop_block else []
        levels, route = len(self.laterals), 0
        for i, lateral in enumerate(self.laterals):
            width = scale_channels(64 * 2**levels // 2**i, width_mult)
            make = self._deep_layers if conv_block_num else self._flat_layers
            layers, ch_in = make(lateral + route, width, coarsest=i == 0, spp=spp)
            layers.append(("route", self._coord(ch_in, width, 1)))
            block = DetectionBlock(layers, self._coord(width, width * 2, 3))
            transition = None
            if i < levels - 1:
                route = scale_channels(256 // 2**i, width_mult)
                transition = ConvBNLayer(width, route, 1, **self._norm)
            self.add_level(block, width * 2, transition)

    def _coord(self, ch_in: int, ch_out: int, filter_size: int) -> nn.Layer:
        return self._coord_layer(ch_in, ch_out, filter_size, **self._norm)

    def _deep_layers(self, ch_in: int, width: int, coarsest: bool, spp: bool) -> tuple[list, int]:
        """Named layers before the route, and the channels they end with."""
        first = [
            ("conv0", self._coord(ch_in, width, 1)),
            ("conv1", ConvBNLayer(width, width * 2, 3, **self._norm)),
        ]
        squeeze = ("conv2", self._coord(width * 2, width, 1))
        widen = ("conv3", ConvBNLayer(width, width * 2, 3, **self._norm))
        if not coarsest:
            return [*first, *self._drop, squeeze, widen], width * 2
        pool = [("spp", SPP(width, width, norm_type=self._norm["norm_type"]))] if spp else []
        return [*first, squeeze, *pool, widen, *self._drop], width * 2

    def _flat_layers(self, ch_in: int, width: int, coarsest: bool, spp: bool) -> tuple[list, int]:
        """The same for `conv_block_num` 0."""
        pool = [("spp", SPP(ch_in, ch_in, norm_type=self._norm["norm_type"]))]
        return [*(pool if spp and coarsest else []), *self._drop], ch_in
