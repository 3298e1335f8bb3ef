"""The neck of YOLOv3 whose maps ASFF (arXiv:1911.09516) fuses."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Optional

from paddle import nn

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
from ppdet_lite.modeling.layers.regularization.drop_block import SteppedDropBlock
from ppdet_lite.modeling.necks.fpn import PPYOLOFPN, DetectionBlock


@register
class YOLOv3RouteFPN(PPYOLOFPN):
    """`PPYOLOFPN` with `SPP` that returns the routes of its levels, without the 3x3 behind them.

    Args:
        tips: levels that keep their 3x3: "finest" (512, 256 and 256 channels) or "none" (512, 256
            and 128 channels).
        drop_block, block_size, keep_prob, width_mult, act: see `PPYOLOFPN`.
        drop_steps: [epoch, [side of the squares of each level, coarsest first]] of each growth of
            `drop_block`, in the order of time; None for `block_size` all the time.
        epoch: epochs of the training.
    """

    __shared__ = (*PPYOLOFPN.__shared__, "epoch")

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
        drop_steps: Optional[Sequence[Sequence[Any]]] = None,
        epoch: Count = 300,
    ):
        levels = len(in_channels)
        fits = all(
            len(step) == 2 and isinstance(step[0], int) and len(_sides(step)) == levels
            for step in drop_steps or ()
        )
        needed = f"[epoch, [{levels} odd sides]] for each step"
        check_arguments(("drop_steps", drop_steps, fits, needed))
        self._tips, self._drop = tips, (drop_steps, keep_prob, epoch)
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
        steps, keep_prob, epoch = self._drop
        if steps:
            level = len(self.yolo_block)
            shares = [(step[0] / epoch, _sides(step)[level]) for step in steps]
            block.conv_module.dropblock = SteppedDropBlock(shares, keep_prob)
        super().add_level(block, out_channels, transition)


def _sides(step: Sequence[Any]) -> Sequence[int]:
    """Of a step of `drop_steps`."""
    return step[1] if isinstance(step[1], Sequence) else ()
