"""The feature pyramid neck of PP-YOLO tiny: depthwise 5x5 convolutions, few channels."""

from collections.abc import Sequence
from typing import Optional

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register, serializable
from ppdet_lite.modeling.layers.channels import check_data_format, scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.top_down import DetectionBlock, TopDownNeck


@register
@serializable
class PPYOLOTinyFPN(TopDownNeck):
    """Feature pyramid from coarse to fine, LeakyReLU; one block of equal width per level.

    A block: DropBlock, 1x1, depthwise 5x5, 1x1, depthwise 5x5 (the route), 1x1 (the tip).

    Args:
        in_channels: channels of the backbone's maps, finest first.
        detection_block_channels: width of each level's block, coarsest first.
        norm_type: bn or sync_bn.
        data_format: NCHW.
        drop_block: a DropBlock at the input of every block.
        block_size, keep_prob: of the DropBlock.
        spp: pooled context of the coarsest map, before its block.
        width_mult: factor on the neck's channels.
        in_strides: input pixels per cell of the backbone's maps; None: 32 for the last, halved
            for each before.

    Raises:
        ConfigError: an argument that cannot be built.
    """

    __shared__ = ("norm_type", "data_format", "width_mult")

    def __init__(
        self,
        in_channels: Sequence[int] = (80, 56, 34),
        detection_block_channels: Sequence[int] = (160, 128, 96),
        norm_type: str = "bn",
        data_format: str = "NCHW",
        drop_block: bool = False,
        block_size: int = 3,
        keep_prob: float = 0.9,
        spp: bool = False,
        width_mult: float = 1.0,
        in_strides: Optional[Sequence[int]] = None,
    ):
        super().__init__(in_channels, in_strides)
        check_data_format(data_format)
        levels = len(in_channels)
        if len(detection_block_channels) != levels:
            raise ConfigError(
                f"detection_block_channels: found {len(detection_block_channels)} widths, needed: "
                f"{levels}, one for each map of the backbone"
            )
        self._norm_type = norm_type
        widths = [scale_channels(c, width_mult) for c in detection_block_channels]
        coarsest = self.laterals[0]
        self.spp = SPP(coarsest, coarsest, norm_type=norm_type) if spp else None
        route = 0
        for i, (lateral, width) in enumerate(zip(self.laterals, widths)):
            layers = [("dropblock", DropBlock(block_size, keep_prob))] if drop_block else []
            # The dots are part of the released weights' names.
            layers += [
                (f"yolo_block.{i}.0", self._conv(lateral + route, width, 1)),
                (f"yolo_block.{i}.1", self._conv(width, width, 5, groups=width)),
                (f"yolo_block.{i}.2", self._conv(width, width, 1)),
                (f"yolo_block.{i}.route", self._conv(width, width, 5, groups=width)),
            ]
            transition = self._conv(width, width, 1) if i < levels - 1 else None
            self.add_level(DetectionBlock(layers, self._conv(width, width, 1)), width, transition)
            route = width

    def _conv(self, ch_in: int, ch_out: int, filter_size: int, groups: int = 1) -> ConvBNLayer:
        return ConvBNLayer(ch_in, ch_out, filter_size, groups=groups, norm_type=self._norm_type)

    def prepare(self, features) -> list:
        """The backbone's maps, coarsest first; the coarsest with its pooled context."""
        coarsest, *finer = list(features)[::-1]
        return [coarsest if self.spp is None else self.spp(coarsest), *finer]
