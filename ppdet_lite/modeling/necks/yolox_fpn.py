"""The neck of YOLOX-DarkNet53 (arXiv:2107.08430, section 2.1)."""

from collections.abc import Callable, Sequence
from typing import Optional

from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Channels, Layout, Multiple, NormType
from ppdet_lite.modeling.necks.fpn import PPYOLOFPN, DetectionBlock


@register
class YOLOXFPN(PPYOLOFPN):
    """The neck of YOLOv3 with `SPP`, without the last 3x3 convolution of each level, which YOLOX's
    decoupled head replaces. Its maps come finest first, with 128, 256 and 512 channels at
    `width_mult` 1.
    """

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        norm_type: NormType = "bn",
        data_format: Layout = "NCHW",
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
    ):
        super().__init__(in_channels, spp=True, width_mult=width_mult, in_strides=in_strides)
        self.out_shape = self.out_shape[::-1]

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Callable[[], nn.Layer]
    ) -> None:
        block.tip = nn.Identity()
        super().add_level(block, out_channels // 2, transition)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return super().forward(features)[::-1]
