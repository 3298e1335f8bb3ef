"""CSPResNeXt50, the backbone of most of YOLOv4's ablations (arXiv:2004.10934, tables 1 and 4 to 7;
CSPNet, arXiv:1911.11929).

Neither paper lists its layers: they are those of darknet's csresnext50-panet-spp.cfg, which are
those of the classifier csresnext50.cfg of CSPNet's authors. They differ from a ResNeXt50
(arXiv:1611.05431) with a second branch: residual units keep their number of channels, the max pool
is 2x2, and the 1x1 convolutions that open the second and third stage have no activation. The
numbers are those of YOLOv4's table 1: a receptive field of 425 pixels, 31.7 G operations at 512
(31 there), and 20.6 M parameters with the classifier's last layer, which the table counts (18.6 M
without). Layers are created in the order of darknet's files.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Act, Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain, freeze
from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.conv import ConvBNLayer, scale_channels

FIRST_CHANNELS = 128
"""Of each branch of the first stage; every stage has twice those of the one before."""
FIRST_GROUP = 4
"""Channels in a group of the first stage: 32 groups."""
BLOCKS = (3, 3, 5, 2)
"""Residual units of the stages with strides 4, 8, 16 and 32."""
PLAIN_SPLITS = (1, 2)
"""Stages whose 1x1 convolutions of the split have no activation."""


class ResNeXtUnit(nn.Layer):
    """1x1, 3x3 in groups and 1x1 convolutions, the input on top, then the activation.

    [B, ch_in, H, W] to [B, channels, H, W]; an input with fewer channels is added to the first ones
    of the output, as darknet does.
    """

    def __init__(self, ch_in: int, channels: int, groups: int, act: Act):
        super().__init__()
        self.conv1 = ConvBNLayer(ch_in, channels, 1, act=act)
        self.conv2 = ConvBNLayer(channels, channels, 3, groups=groups, act=act)
        self.conv3 = ConvBNLayer(channels, channels, 1, act=None)
        self._activation = ACTIVATIONS[act]
        self._common = min(ch_in, channels)
        self._is_partial = ch_in < channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x)))
        if self._is_partial:
            y = paddle.concat([y[:, : self._common] + x, y[:, self._common :]], axis=1)
        else:
            y = x + y
        return y if self._activation is None else self._activation(y)


class CSPResNeXtStage(nn.Layer):
    """A branch of residual units beside one without, and a transition over both.

    [B, ch_in, H, W] to [B, 2 channels, H / stride, W / stride]. With a stride of 2 a convolution in
    groups halves the map first.

    Args:
        channels: of each branch.
        entry: of the first convolution of the branch of units.
        split_act: activation of the 1x1 convolutions that open both branches.
    """

    def __init__(
        self,
        ch_in: int,
        channels: int,
        blocks: int,
        *,
        entry: int,
        stride: int,
        groups: int,
        act: Act,
        split_act: Act,
    ):
        super().__init__()
        conv = partial(ConvBNLayer, act=act)
        is_strided = stride > 1
        self.downsample = conv(ch_in, ch_in, 3, stride, groups=groups) if is_strided else None
        self.shortcut = conv(ch_in, channels, 1, act=split_act)
        self.entry = conv(ch_in, entry, 1, act=split_act)
        widths = [entry, *[channels] * blocks]
        units = (ResNeXtUnit(*pair, groups, act) for pair in zip(widths, widths[1:]))
        self.blocks = nn.Sequential(*units)
        self.exit = conv(channels, channels, 1)
        self.transition = conv(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        deep = self.exit(self.blocks(self.entry(x)))
        return self.transition(paddle.concat([deep, self.shortcut(x)], axis=1))


@register
class CSPResNeXt50(Backbone):
    """A stem of a 7x7 convolution and a max pool, and four stages.

    Args:
        act: activation of the convolutions and of the sums.
        return_idx: returned stages, 0 (stride 4) to 3 (stride 32).
        freeze_at: last frozen stage, the stem and earlier ones included; -1 freezes nothing.
        width_mult: factor on all channels and on the number of groups.
    """

    __shared__ = ("norm_type", "width_mult")

    def __init__(
        self,
        act: Act = "leaky",
        return_idx: Sequence[int] = (1, 2, 3),
        freeze_at: int = -1,
        norm_type: NormType = "bn",
        width_mult: Multiple = 1.0,
    ):
        super().__init__()
        check_arguments(rising("return_idx", return_idx, 0, len(BLOCKS) - 1))
        first = scale_channels(FIRST_CHANNELS, width_mult)  # a multiple of 8
        stem = first // 2
        self.stem = ConvBNLayer(3, stem, 7, 2, act=act)
        self.stages = nn.LayerList()
        for i, blocks in enumerate(BLOCKS):
            width = first * 2**i
            arguments: dict[str, Any] = {"groups": first // FIRST_GROUP, "act": act}
            arguments["split_act"] = None if i in PLAIN_SPLITS else act
            arguments.update({"entry": width, "stride": 2} if i else {"entry": stem, "stride": 1})
            self.stages.append(CSPResNeXtStage(width if i else stem, width, blocks, **arguments))
        self._returned = list(return_idx)
        self.out_shape = [ShapeSpec(2 * first * 2**i, 4 * 2**i) for i in return_idx]
        if freeze_at >= 0:
            freeze([self.stem, *self.stages[: freeze_at + 1]])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.stem(image), 2, stride=2)
        return chain(x, list(self.stages), self._returned)
