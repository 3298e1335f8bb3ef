"""The objective of self-adversarial training: outputs that show no object (YOLOv4, darknet)."""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.yolov4_loss import LevelOutput

LEAST_SCORE = 0.25
"""Classes of a higher score (objectness * class) are objects to be hidden."""


def no_object_loss(
    outputs: Sequence[Tensor], levels: Sequence[AnchorLevel], num_classes: int
) -> Tensor:
    """Returns a scalar with darknet's delta as negative gradient.

    Every objectness is pushed to 0. In cells with an object its classes are pushed to 0, the other
    classes to 1 and the values of the box to 0. All by the root of the area of the cell's box as a
    share of the image.

    Args:
        outputs, levels: raw outputs and `levels` of the head of YOLOv4.
    """
    total = paddle.zeros([])
    with full_precision():
        for i, (output, level) in enumerate(zip(outputs, levels)):
            part = LevelOutput.split(to_float32(output), level, i, num_classes)
            for values, delta in zip(part[:3], _deltas(part)):
                total = total - (values * delta).sum()
    return total


@paddle.no_grad()
def _deltas(part: LevelOutput) -> tuple[Tensor, Tensor, Tensor]:
    """Of boxes, objectness and classes."""
    level, (height, width) = part.level, part.objectness.shape[2:]
    grid_wh = np.array([width, height], np.float32) * level.stride
    shares_wh = np.asarray(level.anchors, np.float32) / grid_wh
    anchors_wh = paddle.to_tensor(shares_wh.reshape(1, -1, 1, 1, 2))
    raw = part.boxes[..., 2:]
    size = anchors_wh * ((2 * raw).square() if level.new_coords else raw.exp())
    scale = size.prod(axis=-1).sqrt()
    objectness, classes = part.probability(part.objectness), part.probability(part.classes)
    is_object = classes * objectness.unsqueeze(-1) > LEAST_SCORE
    is_cell = is_object.any(axis=-1, keepdim=True).astype("float32")
    target = is_cell - is_object.astype("float32")  # 1: another class of a cell with an object
    by_class = (target - classes) * is_cell * scale.unsqueeze(-1)
    center = part.probability(part.boxes[..., :2])
    center = level.scale_x_y * center - 0.5 * (level.scale_x_y - 1)
    by_box = -paddle.concat([center, raw], axis=-1) * is_cell * scale.unsqueeze(-1)
    return by_box, -objectness * scale, by_class
