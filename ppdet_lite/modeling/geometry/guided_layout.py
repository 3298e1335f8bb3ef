"""Channels of raw outputs of heads with guided anchors (arXiv:1901.03278, arXiv:1911.09516).

With A anchors and C classes a level has 2 A channels with the logarithms of factors on width and
height of each anchor, then A (5 + C) as those of YOLOv3: x, y, w, h, objectness, classes.
"""

import paddle
from paddle import Tensor


def split_guided(output: Tensor, anchors: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """[B, A (7 + C), H, W] to factors [B, A, 2, H, W] and the rest [B, A, 5 + C, H, W]."""
    height, width = output.shape[2:]
    guide = output[:, : 2 * anchors].reshape([-1, anchors, 2, height, width])
    rest = output[:, 2 * anchors :].reshape([-1, anchors, 5 + num_classes, height, width])
    return guide, rest


def join_guided(output: Tensor, anchors: int, num_classes: int) -> Tensor:
    """The same boxes and scores as raw output of YOLOv3, [B, A (5 + C), H, W].

    A side is anchor * exp(guide) * exp(w), so that the guide only adds to w.
    """
    guide, rest = split_guided(output, anchors, num_classes)
    joined = paddle.concat([rest[:, :, :2], rest[:, :, 2:4] + guide, rest[:, :, 4:]], axis=2)
    height, width = output.shape[2:]
    return joined.reshape([-1, anchors * (5 + num_classes), height, width])
