"""Convolution, batch norm and activation in one block."""

from typing import Any, Optional

import paddle
from paddle import ParamAttr, Tensor, nn

from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.norm import batch_norm


def scale_channels(channels: int, width_mult: float) -> int:
    """`channels` times `width_mult`, rounded to a multiple of 8, at least 8; exact at factor 1."""
    return channels if width_mult == 1 else max(8, int(channels * width_mult / 8 + 0.5) * 8)


class ConvNorm(nn.Layer):
    """Convolution without bias, batch norm, activation: [B, ch_in, H, W] to [B, ch_out, H', W'].

    Weight files hold the convolution as `conv` and the norm as `norm_name` says.

    Args:
        ch_in, ch_out, filter_size, stride, groups: of the convolution; its padding is "same".
        act: name of the activation; None for none.
        weight_attr: of the convolution.
        **norm: arguments of `batch_norm`.
    """

    norm_name = "norm"

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        act: Optional[str] = None,
        weight_attr: Optional[ParamAttr] = None,
        **norm: Any,
    ):
        super().__init__()
        size = (ch_in, ch_out, filter_size, stride, (filter_size - 1) // 2)
        self.conv = nn.Conv2D(*size, groups=groups, weight_attr=weight_attr, bias_attr=False)
        self.add_sublayer(self.norm_name, batch_norm(ch_out, **norm))
        self._activation = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        x = getattr(self, self.norm_name)(self.conv(x))
        return x if self._activation is None else self._activation(x)


class ConvBNLayer(ConvNorm):
    """`ConvNorm` of the YOLO necks and of DarkNet, with LeakyReLU."""

    norm_name = "batch_norm"

    def __init__(self, *size: int, act: Optional[str] = "leaky", **more: Any):
        super().__init__(*size, act=act, **more)


class CoordConv(nn.Layer):
    """CoordConv (arXiv:1807.03247): a `ConvBNLayer` that gets the coordinates of each cell too.

    x is -1 in the first column and 1 in the last, y likewise over the rows: as in the paper, and as
    PP-YOLO's weights were trained. (PaddleDetection's maps run from -1 to -0.5 since its release
    2.2.)
    """

    def __init__(self, ch_in: int, ch_out: int, filter_size: int = 3, **more: Any):
        super().__init__()
        self.conv = ConvBNLayer(ch_in + 2, ch_out, filter_size, **more)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(append_coordinates(x))


def append_coordinates(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, C + 2, H, W] with x, then y, in [-1, 1]."""
    height, width = x.shape[2:]
    # A slice of x broadcasts the maps to its batch size, which a graph may not know beforehand.
    blank = paddle.zeros_like(x[:, :1])
    along_x = paddle.linspace(-1.0, 1.0, width, dtype="float32").astype(x.dtype)
    along_y = paddle.linspace(-1.0, 1.0, height, dtype="float32").astype(x.dtype)
    x_map, y_map = blank + along_x, blank + along_y.reshape([-1, 1])
    return paddle.concat([x, x_map, y_map], axis=1)
