"""DropBlock (arXiv:1810.12890): drop-out of squares instead of single cells."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32


class DropBlock(nn.Layer):
    """Zeroes random squares of each channel in training and scales up the rest; identity otherwise.

    Every channel of every image draws its own squares. Runs in float32 under mixed precision: a
    half cannot hold the number of cells.

    Args:
        block_size: side of the squares in cells, odd. On smaller maps the largest odd side that
            fits is used.
        keep_prob: expected share of kept cells, in (0, 1]; 1 turns the layer off.
    """

    def __init__(self, block_size: int = 3, keep_prob: float = 0.9):
        super().__init__()
        self.block_size, self.keep_prob = block_size, keep_prob

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        if not self.training or self.keep_prob == 1:
            return x
        height, width = x.shape[2:]
        side = min(self.block_size, height - 1 + height % 2, width - 1 + width % 2)
        # The rate at which centers are drawn, so that the squares together cover 1 - keep_prob.
        room = (height - side + 1) * (width - side + 1)
        rate = (1 - self.keep_prob) / side**2 * (height * width) / room
        with full_precision():
            centers = (paddle.rand(x.shape, dtype="float32") < rate).astype("float32")
            kept = 1 - F.max_pool2d(centers, side, stride=1, padding=side // 2)
            factor = kept.size / kept.sum().clip(min=1.0)
            return (to_float32(x) * kept * factor).astype(x.dtype)


class SteppedDropBlock(DropBlock):
    """`DropBlock` with a side that grows at given times, as in ASFF (arXiv:1911.09516); identity
    before the first.

    Args:
        steps: (share of the training, side of the squares) in the order of time.
        keep_prob: expected share of kept cells.

    Attributes:
        progress: done share of the training, 0 to 1; the trainer sets it.
    """

    def __init__(self, steps: Sequence[tuple[float, int]], keep_prob: float = 0.9):
        super().__init__(1, keep_prob)
        self.steps = tuple(steps)
        self.progress = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        sides = [side for start, side in self.steps if self.progress >= start]
        if not sides:
            return x
        self.block_size = sides[-1]
        return super().forward(x)
