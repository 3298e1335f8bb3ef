"""The feature pyramid neck of PP-YOLO tiny: depthwise 5x5 convolutions, few channels."""

from collections.abc import Sequence
from functools import partial
from typing import Optional

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.layers.channels import scale_channels
from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.drop_block import DropBlock
from ppdet_lite.modeling.layers.spp import SPP
from ppdet_lite.modeling.necks.top_down import DetectionBlock, TopDownNeck


@register
class PPYOLOTinyFPN(TopDownNeck):
    """Feature pyramid, coarsest level first, with LeakyReLU.

    A block: DropBlock, 1x1, depthwise 5x5, 1x1, depthwise 5x5 (route), 1x1 (tip).

    Args:
        detection_block_channels: channels of each block before `width_mult`, coarsest first.
        drop_block: start each block with a `DropBlock` of `block_size` and `keep_prob`.
        spp: apply `SPP` to the coarsest backbone map.
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
        super().__init__(in_channels, in_strides, data_format)
        levels, found = len(self.laterals), list(detection_block_channels)
        needed = f"{levels} widths, one for each map of the backbone"
        check_arguments(("detection_block_channels", found, len(found) == levels, needed))
        conv = partial(ConvBNLayer, norm_type=norm_type)
        coarsest, route = self.laterals[0], 0
        self.spp = SPP(coarsest, coarsest, norm_type=norm_type) if spp else None
        for i, (lateral, full_width) in enumerate(zip(self.laterals, found)):
            width = scale_channels(full_width, width_mult)
            layers: list[tuple[str, nn.Layer]] = []
            if drop_block:
                layers.append(("dropblock", DropBlock(block_size, keep_prob)))
            layers += [
                (f"yolo_block.{i}.0", conv(lateral + route, width, 1)),
                (f"yolo_block.{i}.1", conv(width, width, 5, groups=width)),
                (f"yolo_block.{i}.2", conv(width, width, 1)),
                (f"yolo_block.{i}.route", conv(width, width, 5, groups=width)),
            ]
            transition = conv(width, width, 1) if i < levels - 1 else None
            self.add_level(DetectionBlock(layers, conv(width, width, 1)), width, transition)
            route = width

    def prepare(self, features: Sequence[Tensor]) -> list[Tensor]:
        coarsest, *finer = list(features)[::-1]
        return [coarsest if self.spp is None else self.spp(coarsest), *finer]
