"""Cells of all levels of YOLOX in one sequence, and the boxes predicted in them.

A, the number of cells, runs over levels in the order of the head, then rows, then columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor


class CellLevel(NamedTuple):
    """An output map with one box per cell; `stride` is in input pixels per cell."""

    stride: int


def flatten_levels(outputs: Sequence[Tensor]) -> Tensor:
    """Raw outputs [B, D, H_i, W_i] to [B, D, A]."""
    return paddle.concat([output.flatten(2) for output in outputs], axis=2)


def cell_grid(outputs: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Returns column and row of every cell [2, A] and its stride [A], both float32."""
    cells, sides = [], []
    for output, stride in zip(outputs, strides):
        height, width = output.shape[2:]
        column = paddle.arange(width, dtype="float32").unsqueeze(0).expand([height, width])
        row = paddle.arange(height, dtype="float32").unsqueeze(1).expand([height, width])
        cells.append(paddle.stack([column, row]).reshape([2, height * width]))
        sides.append(paddle.full([height * width], float(stride)))
    return paddle.concat(cells, axis=1), paddle.concat(sides)


def decode_boxes(regression: Tensor, cells: Tensor, strides: Tensor) -> Tensor:
    """Raw x, y, w, h [B, 4, A] to boxes_xyxy_px [B, A, 4] in pixels of the network input.

    Center (x + column, y + row) * stride, without a sigmoid; size exp(w), exp(h) * stride.
    """
    center = (regression[:, :2] + cells) * strides
    half = regression[:, 2:].exp() * strides / 2
    return paddle.concat([center - half, center + half], axis=1).transpose([0, 2, 1])


def joint_scores(objectness_logit: Tensor, class_logits: Tensor) -> Tensor:
    """sqrt(objectness x class) of logits [B, 1, A] and [B, C, A]: [B, C, A].

    As in PaddleDetection, whose weights and thresholds expect it; the paper has no square root.
    """
    return (F.sigmoid(objectness_logit) * F.sigmoid(class_logits)).sqrt()
