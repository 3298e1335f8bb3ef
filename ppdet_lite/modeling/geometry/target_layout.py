"""Channels of raw outputs and targets of heads with anchors, and the boxes in their cells."""

from typing import NamedTuple, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel


class Prediction(NamedTuple):
    """Raw outputs of a level, [B, A, H, W], `classes` [B, A, C, H, W]; logits except w and h."""

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    objectness: Tensor
    classes: Tensor
    iou: Optional[Tensor]


class Target(NamedTuple):
    """Targets of a level, [B, A, H, W]; `classes` [B, A, C, H, W] is one-hot.

    x, y: center in its cell, 0 to 1. w, h: ln(box / anchor). scale: 2 - box area / image area.
    objectness: score of the box (its mixup weight, 1 without mixup), 0 without an object.
    """

    x: Tensor
    y: Tensor
    w: Tensor
    h: Tensor
    scale: Tensor
    objectness: Tensor
    classes: Tensor


def split_output(output: Tensor, anchors: int, num_classes: int, iou_aware: bool) -> Prediction:
    """Splits a raw output [B, A (5 + C), H, W], which `iou_aware` heads precede by A IoU logits."""
    iou = None
    if iou_aware:
        iou, output = output[:, :anchors], output[:, anchors:]
    batch, _, height, width = output.shape
    output = output.reshape([batch, anchors, 5 + num_classes, height, width])
    x, y, w, h, objectness = (output[:, :, i] for i in range(5))
    return Prediction(x, y, w, h, objectness, output[:, :, 5:], iou)


def split_target(target: Tensor, name: str, predicted: Prediction) -> Target:
    """Splits a target [B, A, 6 + C, H, W], called `name` in the batch, and checks its shape."""
    batch, anchors, num_classes, height, width = predicted.classes.shape
    needed = [batch, anchors, 6 + num_classes, height, width]
    if list(target.shape) != needed:
        raise ConfigError(
            f"{name} of the batch has shape {list(target.shape)}, the head's output needs "
            f"{needed}: num_classes, anchors, anchor_masks or downsample_ratios of the reader's "
            "Gt2YoloTarget differ from those of the model"
        )
    x, y, w, h, scale, objectness = (target[:, :, i] for i in range(6))
    return Target(x, y, w, h, scale, objectness, target[:, :, 6:])


def cell_offset(logit: Tensor, level: AnchorLevel) -> Tensor:
    """Returns the center within the cell: s * sigmoid(logit) - (s - 1) / 2."""
    return level.scale_x_y * F.sigmoid(logit) - 0.5 * (level.scale_x_y - 1)


def grid_boxes(x: Tensor, y: Tensor, w: Tensor, h: Tensor, level: AnchorLevel) -> Tensor:
    """Offsets in the cell and log sizes [B, A, H, W] to corners [B, A, H, W, 4], image fractions.

    Cells without object in a target give boxes of the size of the anchor.
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
