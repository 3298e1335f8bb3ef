"""The neck of YOLOv3 whose maps ASFF (arXiv:1911.09516) fuses."""

from collections.abc import Callable, Sequence
from typing import Literal, Optional

from paddle import nn

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Channels, Kept, Layout, Multiple, NormType, Odd
from ppdet_lite.modeling.necks.fpn import PPYOLOFPN, DetectionBlock


@register
class YOLOv3RouteFPN(PPYOLOFPN):
    """`PPYOLOFPN` with `SPP` that returns the routes of its levels, without the 3x3 behind them.

    Args:
        tips: levels that keep their 3x3: "finest" (512, 256 and 256 channels) or "none" (512, 256
            and 128 channels).
        drop_block, block_size, keep_prob, width_mult, act: see `PPYOLOFPN`.
    """

    def __init__(
        self,
        in_channels: Sequence[Channels] = (256, 512, 1024),
        tips: Literal["finest", "none"] = "finest",
        norm_type: NormType = "bn",
        data_format: Layout = "NCHW",
        drop_block: bool = False,
        block_size: Odd = 3,
        keep_prob: Kept = 0.9,
        width_mult: Multiple = 1.0,
        in_strides: Optional[Sequence[Count]] = None,
        act: Act = "leaky",
    ):
        self._tips = tips
        super().__init__(
            in_channels,
            drop_block=drop_block,
            block_size=block_size,
            keep_prob=keep_prob,
            spp=True,
            width_mult=width_mult,
            in_strides=in_strides,
            act=act,
        )

    def add_level(
        self, block: DetectionBlock, out_channels: int, transition: Callable[[], nn.Layer]
    ) -> None:
        is_finest = len(self.yolo_block) == len(self.laterals) - 1
        if not (is_finest and self._tips == "finest"):
            block.tip = nn.Identity()
            out_channels //= 2
        super().add_level(block, out_channels, transition)
