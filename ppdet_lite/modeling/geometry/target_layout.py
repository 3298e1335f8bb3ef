"""Channels of raw outputs and of targets of heads with anchors, and the boxes in their cells."""

from typing import NamedTuple, Optional

import paddle
import paddle.nn.functional as F


class Prediction(NamedTuple):
    """Raw outputs of a level, [B, A, H, W] each; `classes` [B, A, C, H, W]. Logits but for w, h."""

    x: paddle.Tensor
    y: paddle.Tensor
    w: paddle.Tensor
    h: paddle.Tensor
    objectness: paddle.Tensor
    classes: paddle.Tensor
    iou: Optional[paddle.Tensor]


class Target(NamedTuple):
    """Targets of one level, [B, A, H, W] each; `classes` [B, A, C, H, W].

    x, y: center in its cell, 0 to 1. w, h: ln(box / anchor). scale: 2 - area of the box as a share
    of the image. objectness: 0, or the score of the box (its mixup weight, 1 without mixup).
    classes: one-hot.
    """

    x: paddle.Tensor
    y: paddle.Tensor
    w: paddle.Tensor
    h: paddle.Tensor
    scale: paddle.Tensor
    objectness: paddle.Tensor
    classes: paddle.Tensor


def cell_offset(logit, level):
    """Center within the cell: s * sigmoid(logit) - (s - 1) / 2."""
    scale = level.scale_x_y
    return scale * F.sigmoid(logit) - 0.5 * (scale - 1)


def grid_boxes(x, y, w, h, level):
    """Offsets in the cell and log sizes [B, A, H, W] to corners [B, A, H, W, 4], image shares.

    Padded targets and images without objects simply give anchor-sized boxes.
    """
    height, width = x.shape[2], x.shape[3]
    columns = paddle.arange(width, dtype="float32").reshape([1, 1, 1, width])
    rows = paddle.arange(height, dtype="float32").reshape([1, 1, height, 1])
    anchors = paddle.to_tensor(level.anchors, dtype="float32") / level.stride
    anchor_w, anchor_h = anchors[:, 0].reshape([1, -1, 1, 1]), anchors[:, 1].reshape([1, -1, 1, 1])
    center_x, center_y = (x + columns) / width, (y + rows) / height
    half_w, half_h = w.exp() * anchor_w / width / 2, h.exp() * anchor_h / height / 2
    return paddle.stack(
        [center_x - half_w, center_y - half_h, center_x + half_w, center_y + half_h], axis=-1
    )
