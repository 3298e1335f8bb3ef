"""The feature pyramid neck of PP-YOLO (arXiv:2007.12099)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import nn

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.layers.channels import check_data_format
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.coord_conv import CoordConv
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.layers.upsample import upsample_x2
from ppdet_lite.modeling.shape_spec import ShapeSpec

BLOCK_NUMS = (0, 2)


class PPYOLODetBlock(nn.Layer):
    """Layers up to the route (to the next level), and the tip (to the head) on top of it."""

    def __init__(self, layers: Sequence, tip: nn.Layer):
        super().__init__()
        self.conv_module = nn.Sequential(*layers)
        self.tip = tip

    def forward(self, x):
        """[B, ch_in, H, W] to route [B, c, H, W] and tip [B, 2c, H, W]."""
        route = self.conv_module(x)
        return route, self.tip(route)


@register
@serializable
class PPYOLOFPN(nn.Layer):
    """Feature pyramid from coarse to fine, LeakyReLU; one block per level.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        norm_type: bn or sync_bn.
        freeze_norm: batch norms keep their stored statistics and do not train.
        data_format: NCHW.
        coord_conv: CoordConv for every 1x1 before a 3x3, for route and tip.
        conv_block_num: 2 (pairs of 1x1 and 3x3 before the route) or 0 (route and tip only).
        drop_block: one DropBlock per level.
        block_size, keep_prob: of the DropBlock.
        spp: pooled context on the coarsest level.
        in_strides: input pixels per cell of the backbone's maps; None: 32 for the last, halved
            for each before.

    Raises:
        ConfigError: an argument that cannot be built.
    """

    __shared__ = ("norm_type", "data_format")

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
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__()
        check_data_format(data_format)
        if conv_block_num not in BLOCK_NUMS:
            raise ConfigError(f"conv_block_num: found {conv_block_num}, allowed: 0, 2")
        if not in_channels:
            raise ConfigError("in_channels: found [], needed: one entry per level")
        self._norm = {"norm_type": norm_type, "freeze_norm": freeze_norm}
        self._coord_layer = CoordConv if coord_conv else ConvBNLayer
        self._drop = [("dropblock", DropBlock(block_size, keep_prob))] if drop_block else []
        levels = len(in_channels)
        self._out_strides = list(in_strides or [32 // 2**i for i in range(levels)][::-1])[::-1]
        self.yolo_block, self.yolo_transition = nn.LayerList(), nn.LayerList()
        self._out_channels = []
        route = 0
        for i, lateral in enumerate(reversed(list(in_channels))):
            width = 64 * 2**levels // 2**i
            make = self._deep_layers if conv_block_num else self._flat_layers
            layers, ch_in = make(lateral + route, width, coarsest=i == 0, spp=spp)
            layers.append(("route", self._coord(ch_in, width, 1)))
            self.yolo_block.append(PPYOLODetBlock(layers, self._coord(width, width * 2, 3)))
            self._out_channels.append(width * 2)
            if i < levels - 1:
                route = 256 // 2**i
                self.yolo_transition.append(ConvBNLayer(width, route, 1, **self._norm))

    def _coord(self, ch_in: int, ch_out: int, filter_size: int) -> nn.Layer:
        return self._coord_layer(ch_in, ch_out, filter_size, **self._norm)

    def _deep_layers(self, ch_in: int, width: int, coarsest: bool, spp: bool) -> tuple:
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

    def _flat_layers(self, ch_in: int, width: int, coarsest: bool, spp: bool) -> tuple:
        """The same for `conv_block_num` 0."""
        pool = [("spp", SPP(ch_in, ch_in, norm_type=self._norm["norm_type"]))]
        return [*(pool if spp and coarsest else []), *self._drop], ch_in

    @classmethod
    def from_config(cls, section, input_shape):
        """Takes channels and strides from the backbone; values in the config are not used."""
        return {
            "in_channels": [shape.channels for shape in input_shape],
            "in_strides": [shape.stride for shape in input_shape],
        }

    @property
    def out_shape(self) -> list:
        """`ShapeSpec` of every returned map, coarsest first."""
        return [ShapeSpec(*shape) for shape in zip(self._out_channels, self._out_strides)]

    def forward(self, features):
        """Backbone maps, finest first, to neck maps of the same sizes, coarsest first."""
        tips, route = [], None
        for i, feature in enumerate(reversed(features)):
            if i > 0:
                route = upsample_x2(self.yolo_transition[i - 1](route))
                feature = paddle.concat([route, feature], axis=1)
            route, tip = self.yolo_block[i](feature)
            tips.append(tip)
        return tips
