"""CSPResNet, a backbone of PaddleDetection's YOLOX and PP-YOLOE (arXiv:2203.16250, section 2.2).

Parameters have the names of PaddleDetection's weight files: `stem.conv1.conv.weight`, then
`stages.0.conv_down`, `.conv1`, `.conv2`, `.conv3`, `.attn.fc` and `.blocks.0.conv1`,
`.blocks.0.conv2.conv1`.
"""

from collections.abc import Sequence
from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import (
    Act,
    Channels,
    Multiple,
    Repeats,
    check_arguments,
    rising,
)
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.csp import BaseConv, scaled_depth
from ppdet_lite.modeling.layers.rep_vgg import RepVGGBlock


class BasicBlock(nn.Layer):
    """3x3, then a `RepVGGBlock`, with the input on top."""

    def __init__(self, channels: int, act: Act):
        super().__init__()
        self.conv1 = BaseConv(channels, channels, 3, act=act)
        self.conv2 = RepVGGBlock(channels, act)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class EffectiveSE(nn.Layer):
    """Channels weighed by a hard sigmoid of one linear layer on their means (arXiv:1911.06667)."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean([2, 3], keepdim=True)))


class CSPResStage(nn.Layer):
    """Strided 3x3 halfway to the new channels; half of them through blocks, half past them."""

    def __init__(self, ch_in: int, ch_out: int, blocks: int, act: Act):
        super().__init__()
        middle = (ch_in + ch_out) // 2
        half = middle // 2
        self.conv_down = BaseConv(ch_in, middle, 3, 2, act=act)
        self.conv1 = BaseConv(middle, half, 1, act=act)
        self.conv2 = BaseConv(middle, half, 1, act=act)
        self.blocks = nn.Sequential(*(BasicBlock(half, act) for _ in range(blocks)))
        self.attn = EffectiveSE(2 * half)
        self.conv3 = BaseConv(2 * half, ch_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_down(x)
        joined = paddle.concat([self.conv1(x), self.blocks(self.conv2(x))], axis=1)
        return self.conv3(self.attn(joined))


@register
class CSPResNet(Backbone):
    """A stem of 3x3 convolutions and stages of residual blocks, each on half of its channels.

    Args:
        layers, channels: blocks of each stage; channels of the stem and of each stage.
        return_idx: returned stages, 0 (stride 4) to 3 (stride 32).
        use_large_stem: three convolutions in the stem, not two.
        width_mult, depth_mult: factors on `channels` and `layers`.
        depth_wise, use_checkpoint, use_alpha: not implemented.
    """

    __shared__ = ("width_mult", "depth_mult")
    __unused__ = ("trt",)

    def __init__(
        self,
        layers: Sequence[Repeats] = (3, 6, 6, 3),
        channels: Sequence[Channels] = (64, 128, 256, 512, 1024),
        act: Act = "swish",
        return_idx: Sequence[int] = (0, 1, 2, 3),
        depth_wise: Literal[False] = False,
        use_large_stem: bool = False,
        width_mult: Multiple = 1.0,
        depth_mult: Multiple = 1.0,
        use_checkpoint: Literal[False] = False,
        use_alpha: Literal[False] = False,
    ):
        super().__init__()
        stages, found = len(layers), list(channels)
        needed = f"{stages + 1} numbers: of the stem and of {stages} stages"
        check_arguments(
            ("channels", found, len(found) == stages + 1, needed),
            rising("return_idx", return_idx, 0, stages - 1),
        )
        first, *widths = (max(2, round(number * width_mult)) for number in found)
        half = first // 2
        convs = {"conv1": BaseConv(3, half, 3, 2, act=act)}
        if use_large_stem:
            convs["conv2"] = BaseConv(half, half, 3, act=act)
        convs[f"conv{len(convs) + 1}"] = BaseConv(half, first, 3, act=act)
        self.stem = nn.Sequential(*convs.items())
        self.stages = nn.Sequential()
        for i, (ch_in, ch_out, blocks) in enumerate(zip([first, *widths], widths, layers)):
            stage = CSPResStage(ch_in, ch_out, scaled_depth(blocks, depth_mult), act)
            self.stages.add_sublayer(str(i), stage)
        self._returned = list(return_idx)
        self.out_shape = [ShapeSpec(widths[i], 4 * 2**i) for i in return_idx]

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(self.stem(image), list(self.stages), self._returned)
