"""The building blocks of YOLOX (arXiv:2107.08430): CSP layers (arXiv:1911.11929) and their parts.

Parameters are named as in PaddleDetection's weight files: `conv` and `bn` in a plain block,
`dw_conv` and `pw_conv` in a separable one, `conv1`, `conv2`, `conv3` and `bottlenecks` in a layer.
Layers take [B, ch_in, H, W] to [B, ch_out, H, W].
"""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Uniform

from ppdet_lite.modeling.layers.conv import ConvNorm
from ppdet_lite.modeling.layers.spp import max_pools

Act = Optional[str]
"""Name of an activation; None for none."""


class BaseConv(ConvNorm):
    """`ConvNorm` of YOLOX.

    Weights start uniform within 1 / sqrt(fan_in), the start that YOLOX was developed with. (A norm
    follows, so their scale only decides how fast a given rate turns them.)
    """

    norm_name = "bn"

    def __init__(
        self, ch_in: int, ch_out: int, ksize: int, stride: int = 1, *, groups: int = 1, act: Act
    ):
        bound = (ch_in // groups * ksize**2) ** -0.5
        start = ParamAttr(initializer=Uniform(-bound, bound))
        super().__init__(ch_in, ch_out, ksize, stride, groups=groups, act=act, weight_attr=start)


class DWConv(nn.Sequential):
    """Depthwise convolution block, then a 1x1 one; arguments as `BaseConv`."""

    def __init__(self, ch_in: int, ch_out: int, ksize: int, stride: int = 1, *, act: Act):
        depthwise = BaseConv(ch_in, ch_in, ksize, stride, groups=ch_in, act=act)
        super().__init__(("dw_conv", depthwise), ("pw_conv", BaseConv(ch_in, ch_out, 1, act=act)))


def conv_class(depthwise: bool) -> type:
    """`DWConv` or `BaseConv`."""
    return DWConv if depthwise else BaseConv


class Focus(nn.Layer):
    """Every 2x2 square of pixels into the channels of one cell, then a convolution block.

    The squares' pixels come in the order top left, bottom left, top right, bottom right, each with
    all its channels.
    """

    def __init__(self, ch_in: int, ch_out: int, ksize: int = 3, act: Act = "silu"):
        super().__init__()
        self.conv = BaseConv(ch_in * 4, ch_out, ksize, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ch_in, H, W], H and W even, to [B, ch_out, H / 2, W / 2]."""
        channels, height, width = x.shape[1:]
        x = x.reshape([-1, channels, height // 2, 2, width // 2, 2])
        x = x.transpose([0, 5, 3, 1, 2, 4])
        return self.conv(x.reshape([-1, channels * 4, height // 2, width // 2]))


class BottleNeck(nn.Layer):
    """1x1, then 3x3, and with `shortcut` the input on top; all with the same channels."""

    def __init__(self, channels: int, shortcut: bool, depthwise: bool, act: Act):
        super().__init__()
        self.conv1 = BaseConv(channels, channels, 1, act=act)
        self.conv2 = conv_class(depthwise)(channels, channels, 3, act=act)
        self._shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self._shortcut else y


class SPPLayer(nn.Layer):
    """1x1 to half the channels, max pools (odd sizes, rising) beside it, 1x1 over all of them."""

    def __init__(
        self, ch_in: int, ch_out: int, pool_sizes: Sequence[int] = (5, 9, 13), act: Act = "silu"
    ):
        super().__init__()
        hidden = ch_in // 2
        self._pool_sizes = tuple(pool_sizes)
        self.conv1 = BaseConv(ch_in, hidden, 1, act=act)
        self.conv2 = BaseConv(hidden * (1 + len(self._pool_sizes)), ch_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(paddle.concat(max_pools(self.conv1(x), self._pool_sizes), axis=1))


class CSPLayer(nn.Layer):
    """Half of the channels through bottlenecks, the other half past them, joined by a 1x1."""

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        num_blocks: int,
        shortcut: bool = True,
        depthwise: bool = False,
        act: Act = "silu",
    ):
        super().__init__()
        hidden = ch_out // 2
        self.conv1 = BaseConv(ch_in, hidden, 1, act=act)
        self.conv2 = BaseConv(ch_in, hidden, 1, act=act)
        self.bottlenecks = nn.Sequential(
            *(BottleNeck(hidden, shortcut, depthwise, act) for _ in range(num_blocks))
        )
        self.conv3 = BaseConv(hidden * 2, ch_out, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(paddle.concat([self.bottlenecks(self.conv1(x)), self.conv2(x)], axis=1))


def scaled_depth(blocks: int, depth_mult: float) -> int:
    """Bottlenecks of a layer at `depth_mult`, at least one."""
    return max(round(blocks * depth_mult), 1)
