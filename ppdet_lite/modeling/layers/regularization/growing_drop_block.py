"""DropBlock (arXiv:1810.12890) with darknet's schedule, as in YOLOv4 (arXiv:2004.10934)."""

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32

FULL_AT = 0.85
"""Share of the training after which probability and size have grown to their full values."""


class GrowingDropBlock(nn.Layer):
    """Zeroes at most one square per channel and image in training, and scales up the rest of the
    image; identity otherwise. Probability and side of the squares grow linearly from 0.

    Args:
        probability: at the end, the square of a full map has its corner in a cell with
            probability / side^2.
        block_size: side at the end, in cells; cut to the map.
        relative_size: side at the end as a share of the map's width, in place of `block_size`;
            0 for none.

    Attributes:
        progress: done share of the training, 0 to 1; the trainer sets it.
    """

    def __init__(self, probability: float = 0.1, block_size: int = 7, relative_size: float = 0.0):
        super().__init__()
        self.probability, self.block_size = probability, block_size
        self.relative_size = relative_size
        self.progress = 0.0

    def current(self, height: int, width: int) -> tuple[float, int]:
        """Probability that a cell starts a square, and the side, on a map of this size."""
        grown = min(1.0, self.progress / FULL_AT)
        full_w, full_h = self.block_size, self.block_size
        if self.relative_size:
            full_w, full_h = int(self.relative_size * width), int(self.relative_size * height)
        side = min(max(1, int(min(full_w, full_h) * grown)), height, width)
        return self.probability * grown / side**2, side

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        height, width = x.shape[2:]
        rate, side = self.current(height, width)
        if not self.training or rate == 0:
            return x
        with full_precision():
            kept = 1 - _squares(x.shape, rate, side)
            # Of the image: all its channels.
            share = kept.mean(axis=[1, 2, 3], keepdim=True)
            return (to_float32(x) * kept / share.clip(min=1e-6)).astype(x.dtype)


def _squares(shape: list[int], rate: float, side: int) -> Tensor:
    """1 in the square of every channel that has one, [B, C, H, W]."""
    batch, channels, height, width = shape
    draws = paddle.rand([batch, channels, height * width], dtype="float32")
    has_square = (draws.min(axis=2) < rate).astype("float32").reshape([batch, channels, 1, 1])
    corner = draws.argmin(axis=2).reshape([batch, channels, 1, 1])
    top = (corner // width).clip(max=height - side)
    left = (corner % width).clip(max=width - side)
    rows = paddle.arange(height).reshape([1, 1, height, 1])
    columns = paddle.arange(width).reshape([1, 1, 1, width])
    in_rows = paddle.logical_and(rows >= top, rows < top + side).astype("float32")
    in_columns = paddle.logical_and(columns >= left, columns < left + side).astype("float32")
    return in_rows * in_columns * has_square
