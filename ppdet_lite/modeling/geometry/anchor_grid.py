"""Predictions of all levels, anchors and cells in one sequence, and the boxes predicted in them.

N, the number of predictions, runs over levels in the order of the head, then anchors, rows and
columns.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.cell_grid import cell_grid


class AnchorOutputs(NamedTuple):
    """Raw outputs of all predictions: box x, y, w, h [B, 4, N], classes [B, C, N], the others
    [B, N]; logits except w and h.
    """

    box: Tensor
    objectness: Tensor
    classes: Tensor
    iou: Optional[Tensor]


class AnchorGrid(NamedTuple):
    """Column and row of every prediction's cell and width and height of its anchor in pixels, both
    [2, N], and the stride of its level [N]; float32.
    """

    cells: Tensor
    anchors: Tensor
    strides: Tensor

    def boxes(self, box: Tensor) -> Tensor:
        """Raw x, y, w, h [B, 4, N] to corners in pixels of the network input [B, N, 4]: center
        (sigmoid + cell) * stride, sides anchor * exp.
        """
        center = (F.sigmoid(box[:, :2]) + self.cells) * self.strides
        half = box[:, 2:].exp() * self.anchors / 2
        return paddle.concat([center - half, center + half], axis=1).transpose([0, 2, 1])


def flatten_anchors(
    outputs: Sequence[Tensor], levels: Sequence[AnchorLevel], num_classes: int
) -> AnchorOutputs:
    """Maps [B, A (5 + C), H, W], which A IoU logits precede where levels have an IoU factor."""
    parts: list[list[Tensor]] = [[], [], [], []]
    for output, level in zip(outputs, levels):
        anchors = len(level.anchors)
        if level.iou_aware_factor is not None:
            parts[3].append(output[:, :anchors].flatten(1))
            output = output[:, anchors:]
        output = output.reshape([0, anchors, 5 + num_classes, -1]).transpose([0, 2, 1, 3])
        output = output.flatten(2)
        parts[0].append(output[:, :4])
        parts[1].append(output[:, 4])
        parts[2].append(output[:, 5:])
    box, objectness, classes = (paddle.concat(part, axis=-1) for part in parts[:3])
    return AnchorOutputs(
        box, objectness, classes, paddle.concat(parts[3], axis=-1) if parts[3] else None
    )


def anchor_grid(outputs: Sequence[Tensor], levels: Sequence[AnchorLevel]) -> AnchorGrid:
    """The grid of maps [B, ?, H, W]."""
    cells, anchors, strides = [], [], []
    for output, level in zip(outputs, levels):
        count = len(level.anchors)
        one, sides = cell_grid([output], [level.stride])
        cells.append(paddle.tile(one, [1, count]))
        strides.append(paddle.tile(sides, [count]))
        wh = paddle.to_tensor(level.anchors, dtype="float32").transpose([1, 0]).unsqueeze(2)
        anchors.append((wh + paddle.zeros_like(sides)).flatten(1))
    return AnchorGrid(
        paddle.concat(cells, axis=1), paddle.concat(anchors, axis=1), paddle.concat(strides)
    )
