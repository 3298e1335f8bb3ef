"""Spatial pyramid pooling as YOLO uses it (arXiv:1406.4729)."""

from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.conv import ConvBNLayer


class SPP(nn.Layer):
    """Max pools of several sizes beside the input itself, joined by a 1x1 convolution block.

    Args:
        ch_in, ch_out: channels before and after; the convolution takes (1 + pools) * ch_in.
        pool_sizes: odd and rising.
        **more: arguments of the convolution block.
    """

    def __init__(
        self, ch_in: int, ch_out: int, pool_sizes: Sequence[int] = (5, 9, 13), **more: Any
    ):
        super().__init__()
        self._pool_sizes = tuple(pool_sizes)
        self.conv = ConvBNLayer(ch_in * (1 + len(pool_sizes)), ch_out, 1, **more)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ch_in, H, W] to [B, ch_out, H, W]."""
        return self.conv(paddle.concat(max_pools(x, self._pool_sizes), axis=1))


def max_pools(x: Tensor, pool_sizes: Sequence[int]) -> list[Tensor]:
    """`x` and, for each odd and rising size, its max pool of stride 1: maps [B, C, H, W].

    A max pool of 9 is one of 5 over one of 5: the chain costs 25 taps per step, not 169.
    """
    maps = [x]
    for before, size in zip((1, *pool_sizes[:-1]), pool_sizes):
        step = size - before + 1
        maps.append(F.max_pool2d(maps[-1], step, stride=1, padding=step // 2))
    return maps
