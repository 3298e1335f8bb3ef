"""Losses of the boxes that a head with anchors predicts in cells, given as raw outputs."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Positive
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import PerLevel
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.losses.darknet_gradients import box_gradient
from ppdet_lite.ops import boxes as box_ops


class CellPlaces(NamedTuple):
    """E cells of a level: cells_xy [E, 2] column and row, anchors_wh [E, 2] as fractions of the
    network input, grid_wh [2], the level and its number."""

    cells_xy: Tensor
    anchors_wh: Tensor
    grid_wh: Tensor
    level: AnchorLevel
    number: int


def decode_cells(raw: Tensor, places: CellPlaces) -> Tensor:
    """Raw x, y, w, h [E, 4] to boxes_cxcywh [E, 4] as fractions of the image."""
    level = places.level
    xy = raw[:, :2] if level.new_coords else F.sigmoid(raw[:, :2])
    offset = level.scale_x_y * xy - 0.5 * (level.scale_x_y - 1)
    size = (2 * raw[:, 2:]).square() if level.new_coords else raw[:, 2:].exp()
    center = (places.cells_xy + offset) / places.grid_wh
    return paddle.concat([center, size * places.anchors_wh], axis=1)


@register
class IouBoxLoss(nn.Layer):
    """loss_weight * (1 - overlap), summed, with its true gradient.

    Args:
        loss_weight: a number or one per level. Darknet's `iou_normalizer` of 0.07 stands before
            deltas without the derivatives of sigmoid, scale and grid; the true gradient contains
            them. At the centers it is as strong with 0.07 * 4 * cells in a row / scale_x_y.
        kind: of the overlap.
    """

    __checked__ = True

    box_values = 4

    def __init__(
        self,
        loss_weight: PerLevel = 2.5,
        kind: Literal["iou", "giou", "diou", "ciou"] = "ciou",
    ):
        super().__init__()
        self.loss_weight, self.kind = loss_weight, kind

    def forward(
        self, raw: Tensor, places: CellPlaces, target_cxcywh: Tensor, weight: Tensor
    ) -> Tensor:
        """Raw x, y, w, h [E, 4], true boxes [E, 4] and weights [E] to a scalar."""
        boxes = box_ops.cxcywh_to_xyxy(decode_cells(raw, places))
        overlap = getattr(box_ops, self.kind)(boxes, box_ops.cxcywh_to_xyxy(target_cxcywh))
        return of_level(self.loss_weight, places.number) * ((1 - overlap) * weight).sum()


@register
class DarknetBoxLoss(nn.Layer):
    """Darknet's box delta as gradient, which is not that of a loss; see `darknet_gradients`.

    The value is what darknet prints: loss_weight * mean(1 - overlap), for "mse" the sum of the
    squares of the deltas.

    Args:
        loss_weight: darknet's `iou_normalizer`.
        kind: darknet's `iou_loss`.
        max_delta: limit of each delta but those of "mse", a number or one per level; None: none.
    """

    __checked__ = True

    box_values = 4

    def __init__(
        self,
        loss_weight: Positive = 0.07,
        kind: Literal["iou", "giou", "diou", "ciou", "mse"] = "ciou",
        max_delta: Optional[PerLevel] = 5.0,
    ):
        super().__init__()
        self.loss_weight, self.kind, self.max_delta = loss_weight, kind, max_delta

    def forward(
        self, raw: Tensor, places: CellPlaces, target_cxcywh: Tensor, weight: Tensor
    ) -> Tensor:
        """See `IouBoxLoss.forward`."""
        with paddle.no_grad():
            boxes = decode_cells(raw, places)
            if self.kind == "mse":
                error = logit_error(raw, places, target_cxcywh)
                delta = self.loss_weight * box_scale(target_cxcywh) * error
                delta = delta * weight.unsqueeze(1)
                value = delta.square().sum()
            else:
                delta = self._overlap_delta(raw, boxes, places, target_cxcywh)
                delta = delta * weight.unsqueeze(1)
                value = self._mean_loss(boxes, target_cxcywh, weight)
        return with_gradient(value, raw, -delta)

    def _overlap_delta(
        self, raw: Tensor, boxes: Tensor, places: CellPlaces, target_cxcywh: Tensor
    ) -> Tensor:
        delta = box_gradient(boxes, target_cxcywh, self.kind)
        if not places.level.new_coords:
            delta = paddle.concat([delta[:, :2], delta[:, 2:] * raw[:, 2:].exp()], axis=1)
        return clipped(self.loss_weight * delta, self.max_delta, places.number)

    def _mean_loss(self, boxes: Tensor, target_cxcywh: Tensor, weight: Tensor) -> Tensor:
        """Darknet prints the mean GIoU loss for "giou" and that of the plain IoU for all others."""
        overlap = box_ops.giou if self.kind == "giou" else box_ops.iou
        target_xyxy = box_ops.cxcywh_to_xyxy(target_cxcywh)
        counted = (weight > 0).astype("float32")
        loss = (1 - overlap(box_ops.cxcywh_to_xyxy(boxes), target_xyxy)) * counted
        return self.loss_weight * loss.sum() / counted.sum().clip(min=1.0)


def logit_error(raw: Tensor, places: CellPlaces, target_cxcywh: Tensor) -> Tensor:
    """What the offset in the cell and the logarithm of the size lack of the true ones: [E, 4]."""
    level = places.level
    xy = raw[:, :2] if level.new_coords else F.sigmoid(raw[:, :2])
    offset = level.scale_x_y * xy - 0.5 * (level.scale_x_y - 1)
    ratio = target_cxcywh[:, 2:] / places.anchors_wh
    side = (ratio / 4).sqrt() if level.new_coords else ratio.log()
    target = target_cxcywh[:, :2] * places.grid_wh - places.cells_xy
    return paddle.concat([target - offset, side - raw[:, 2:]], axis=1)


def box_scale(target_cxcywh: Tensor) -> Tensor:
    """Weight of a box by its share of the image, small ones up to 2: [E, 1]."""
    return 2 - target_cxcywh[:, 2:3] * target_cxcywh[:, 3:]


def clipped(delta: Tensor, limit: Optional[PerLevel], number: int) -> Tensor:
    """Deltas of level `number` within -`limit` and `limit`, and 0 where they are not finite."""
    delta = paddle.where(paddle.isfinite(delta), delta, paddle.zeros_like(delta))
    if limit is None:
        return delta
    limit = of_level(limit, number)
    return delta.clip(-limit, limit)


def of_level(value: PerLevel, number: int) -> float:
    """The value of level `number`."""
    return value[number] if isinstance(value, Sequence) else value


def with_gradient(value: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """`value`, a scalar, whose gradient by `x` is `gradient`."""
    carrier = (x * gradient.detach()).sum()
    return value.detach() + (carrier - carrier.detach())
