"""CSPDarknet53, the backbone of YOLOv4 (arXiv:2004.10934; CSPNet, arXiv:1911.11929).

Layers are created in the order of darknet's configuration files, in which their weight files hold
them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain, freeze
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.layers.regularization.growing_drop_block import GrowingDropBlock
from ppdet_lite.modeling.layers.residual import ResidualUnit
from ppdet_lite.modeling.layers.weighted_residual import Normalization

STEM_CHANNELS = 32
BLOCKS = (1, 2, 8, 8, 4)
"""Residual units of the stages with strides 2, 4, 8, 16 and 32."""


class CSPStage(nn.Layer):
    """Strided convolution, then a branch of residual units beside one without, and a transition.

    [B, ch_in, H, W] to [B, ch_out, H / 2, W / 2].

    Args:
        width: channels of each branch.
        hidden: channels inside the residual units.
        weighted: of the residual units.
        drop: arguments of the `GrowingDropBlock` after the transition; None for none.
        **more: arguments of the convolution blocks.
    """

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        blocks: int,
        width: int,
        hidden: int,
        weighted: Optional[Normalization] = None,
        drop: Optional[tuple] = None,
        **more: Any,
    ):
        super().__init__()
        conv = partial(ConvBNLayer, **more)
        self.downsample = conv(ch_in, ch_out, 3, 2)
        self.shortcut = conv(ch_out, width, 1)
        self.entry = conv(ch_out, width, 1)
        units = (ResidualUnit(width, hidden, weighted, **more) for _ in range(blocks))
        self.blocks = nn.Sequential(*units)
        self.exit = conv(width, width, 1)
        self.transition = conv(2 * width, ch_out, 1)
        self.drop = None if drop is None else GrowingDropBlock(*drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        deep = self.exit(self.blocks(self.entry(x)))
        x = self.transition(paddle.concat([deep, self.shortcut(x)], axis=1))
        return x if self.drop is None else self.drop(x)


@register
class CSPDarknet53(Backbone):
    """A stem and five stages.

    The first stage has branches of all channels, the others of half of them.

    Args:
        act: activation of all convolutions.
        csp_first: False replaces the first stage by a strided convolution and a plain residual
            unit, as in scaled YOLOv4-CSP (arXiv:2011.08036).
        return_idx: returned stages, 0 (stride 2) to 4 (stride 32).
        freeze_at: last frozen stage, the stem and earlier ones included; -1 freezes nothing.
        width_mult: factor on all channels.
        weighted_residual: normalization of learned weights in the residual units (MiWRC); None for
            plain sums, as released.
        drop_block: add a `GrowingDropBlock` of `drop_probability` and `block_size` to each of the
            last two stages; the paper does not say where.
    """

    __shared__ = ("norm_type", "width_mult")

    def __init__(
        self,
        act: Act = "mish",
        csp_first: bool = True,
        return_idx: Sequence[int] = (2, 3, 4),
        freeze_at: int = -1,
        norm_type: NormType = "bn",
        width_mult: Multiple = 1.0,
        weighted_residual: Optional[Normalization] = None,
        drop_block: bool = False,
        drop_probability: Probability = 0.1,
        block_size: Count = 7,
    ):
        super().__init__()
        last = len(BLOCKS) - 1
        check_arguments(rising("return_idx", return_idx, 0, last))
        stem = scale_channels(STEM_CHANNELS, width_mult)
        self.stem = ConvBNLayer(3, stem, 3, act=act)
        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(STEM_CHANNELS * 2**i, width_mult) for i in range(last + 1)]
        unit: dict[str, Any] = {"act": act, "weighted": weighted_residual}
        self.stages = nn.LayerList()
        for i, (ch_out, blocks) in enumerate(zip(widths, BLOCKS)):
            ch_in, half = (widths[i - 1] if i else stem), ch_out // 2
            if i == 0 and not csp_first:
                down = ConvBNLayer(ch_in, ch_out, 3, 2, act=act)
                stage: nn.Layer = nn.Sequential(down, ResidualUnit(ch_out, half, **unit))
            else:
                width = half if i else ch_out
                drops = drop_block and i >= last - 1
                drop = (drop_probability, block_size) if drops else None
                stage = CSPStage(ch_in, ch_out, blocks, width, half, drop=drop, **unit)
            self.stages.append(stage)
        self._returned = list(return_idx)
        self.out_shape = [ShapeSpec(widths[i], 2 * 2**i) for i in return_idx]
        if freeze_at >= 0:
            freeze([self.stem, *self.stages[: freeze_at + 1]])

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(self.stem(image), list(self.stages), self._returned)
