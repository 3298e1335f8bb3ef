"""Channels of raw outputs of heads with Gaussian boxes (arXiv:1904.04620).

With A anchors and C classes a level has A (9 + C) channels, for each anchor: mean and deviation of
x, mean and deviation of y, of w and of h, objectness, classes. Deviations are logits.
"""

import paddle
from paddle import Tensor

VALUES = 8
"""Of a box: mean and deviation of each coordinate."""


def split_gaussian(output: Tensor, anchors: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """[B, A (9 + C), H, W] to the same means and scores as raw output of YOLOv3,
    [B, A (5 + C), H, W], and the logits of the deviations, [B, A, 4, H, W]."""
    height, width = output.shape[2:]
    output = output.reshape([-1, anchors, VALUES + 1 + num_classes, height, width])
    means, deviations = output[:, :, 0:VALUES:2], output[:, :, 1:VALUES:2]
    plain = paddle.concat([means, output[:, :, VALUES:]], axis=2)
    return plain.reshape([-1, anchors * (5 + num_classes), height, width]), deviations
