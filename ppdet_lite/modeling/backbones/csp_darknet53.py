"""CSPDarknet53, the backbone of YOLOv4 (arXiv:2004.10934; CSPNet, arXiv:1911.11929).

Layers are created in the order of darknet's configuration files, in which their weight files hold
them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain, freeze
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels
from ppdet_lite.modeling.layers.residual import ResidualUnit

STEM_CHANNELS = 32
BLOCKS = (1, 2, 8, 8, 4)
"""Residual units of the stages with strides 2, 4, 8, 16 and 32."""


class CSPStage(nn.Layer):
    """Strided convolution, then a branch of residual units beside one without, and a transition.

    [B, ch_in, H, W] to [B, ch_out, H / 2, W / 2].

    Args:
        width: channels of each branch.
        hidden: channels inside the residual units.
        **more: arguments of the convolution blocks.
    """

    def __init__(self, ch_in: int, ch_out: int, blocks: int, width: int, hidden: int, **more: Any):
        super().__init__()
        conv = partial(ConvBNLayer, **more)
        self.downsample = conv(ch_in, ch_out, 3, 2)
        self.shortcut = conv(ch_out, width, 1)
        self.entry = conv(ch_out, width, 1)
        units = (ResidualUnit(width, hidden, **more) for _ in range(blocks))
        self.blocks = nn.Sequential(*units)
        self.exit = conv(width, width, 1)
        self.transition = conv(2 * width, ch_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        deep = self.exit(self.blocks(self.entry(x)))
        return self.transition(paddle.concat([deep, self.shortcut(x)], axis=1))


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
    ):
        super().__init__()
        last = len(BLOCKS) - 1
        check_arguments(rising("return_idx", return_idx, 0, last))
        stem = scale_channels(STEM_CHANNELS, width_mult)
        self.stem = ConvBNLayer(3, stem, 3, act=act)
        # Halves of these channels are needed too, hence the rounding of the half.
        widths = [2 * scale_channels(STEM_CHANNELS * 2**i, width_mult) for i in range(last + 1)]
        self.stages = nn.LayerList()
        for i, (ch_out, blocks) in enumerate(zip(widths, BLOCKS)):
            ch_in, half = (widths[i - 1] if i else stem), ch_out // 2
            if i == 0 and not csp_first:
                down = ConvBNLayer(ch_in, ch_out, 3, 2, act=act)
                stage: nn.Layer = nn.Sequential(down, ResidualUnit(ch_out, half, act=act))
            else:
                width = half if i else ch_out
                stage = CSPStage(ch_in, ch_out, blocks, width, half, act=act)
            self.stages.append(stage)
        self._returned = list(return_idx)
        self.out_shape = [ShapeSpec(widths[i], 2 * 2**i) for i in return_idx]
        if freeze_at >= 0:
            freeze([self.stem, *self.stages[: freeze_at + 1]])

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(self.stem(image), list(self.stages), self._returned)
