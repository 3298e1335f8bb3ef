"""CoordConv (arXiv:1807.03247): a convolution that also sees where it is."""

from typing import Any

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.conv import ConvBNLayer


class CoordConv(nn.Layer):
    """Appends an x and a y channel that run from -1 to 1 over the map, then a `ConvBNLayer`.

    x is -1 in the first column and 1 in the last, y likewise over the rows: as in the paper, and as
    PP-YOLO's weights were trained. (PaddleDetection's maps run from -1 to -0.5 since its release
    2.2.)
    """

    def __init__(self, ch_in: int, ch_out: int, filter_size: int = 3, **more: Any):
        super().__init__()
        self.conv = ConvBNLayer(ch_in + 2, ch_out, filter_size, **more)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ch_in, H, W] to [B, ch_out, H, W]."""
        return self.conv(append_coordinates(x))


def append_coordinates(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, C + 2, H, W] with x, then y, in [-1, 1]."""
    height, width = x.shape[2], x.shape[3]
    # A slice of x broadcasts the maps to its batch size, which a graph may not know beforehand.
    blank = paddle.zeros_like(x[:, :1])
    along_x = paddle.linspace(-1.0, 1.0, width, dtype="float32").astype(x.dtype)
    along_y = paddle.linspace(-1.0, 1.0, height, dtype="float32").astype(x.dtype)
    x_map = blank + along_x.reshape([1, 1, 1, -1])
    y_map = blank + along_y.reshape([1, 1, -1, 1])
    return paddle.concat([x, x_map, y_map], axis=1)
