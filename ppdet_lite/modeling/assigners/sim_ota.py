"""SimOTA, the assignment of cells to objects (YOLOX, arXiv:2107.08430, section 2.1).

A shortened form of optimal transport assignment (OTA, arXiv:2103.14259): instead of solving the
transport problem, each object takes the cheapest cells, as many as it is overlapped well by.
"""

from typing import Literal

import paddle
from paddle import Tensor

from ppdet_lite.core.annotations import Count, Positive
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.assigners.cell_assigner import CellAssigner
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, rows_at
from ppdet_lite.ops import boxes as box_ops

EPS = 1e-7
"""Added to an IoU before its logarithm."""

OUTSIDE = 1e8
"""Added to the cost of a cell that is not both inside the object and near its center.

PaddleDetection's value (the authors' own code has 1e5). A float32 of this size holds multiples of 8
only, so such cells differ in steps of 8, and among equal ones the first is the cheapest.
"""

LEAST_LOG = -100.0
"""In the place of the logarithm of 0."""


@register
class SimOTAAssigner(CellAssigner):
    """Cells to objects, at most one object per cell, for a whole batch at once.

    * A cell takes part when its center lies inside an object, or in the square of `center_radius`
      cells around the center of one.
    * cost(object, cell) = cls_weight * BCE(scores of the cell, one-hot class of the object)
      + iou_weight * -ln(IoU of the predicted box with the object)
      + `OUTSIDE` unless the cell's center lies inside the object *and* in the square at its center.
      The BCE is summed over the classes, of the joint score sqrt(class x objectness).
    * An object takes its k cheapest cells, k = the sum of its `candidate_topk` largest IoUs cut to
      a whole number, at least 1.
    * A cell that several objects take goes to the object with the lowest cost there.

    Args:
        center_radius: half the side of the square, in cells of the level.
        candidate_topk: most cells an object can take.
        iou_weight, cls_weight: of the cost's terms.
        use_vfl: PaddleDetection's switch for another cost (PicoDet's).
    """

    __unused__ = ("num_classes",)

    least_iou, outside = EPS, OUTSIDE

    def __init__(
        self,
        center_radius: Positive = 2.5,
        candidate_topk: Count = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        use_vfl: Literal[False] = False,
    ):
        super().__init__()
        self.center_radius, self.candidate_topk = center_radius, candidate_topk
        self.iou_weight, self.cls_weight = iou_weight, cls_weight

    @paddle.no_grad()
    def forward(
        self,
        scores: Tensor,
        boxes_xyxy_px: Tensor,
        centers_px: Tensor,
        strides: Tensor,
        truth: GroundTruth,
    ) -> Tensor:
        """See `CellAssigner.forward`."""
        points = centers_px.unsqueeze([0, 1])
        boxes = truth.boxes_xyxy_px.unsqueeze(2)
        inside = paddle.logical_and(points > boxes[..., :2], points < boxes[..., 2:]).all(axis=-1)
        offset = (points - (boxes[..., :2] + boxes[..., 2:]) / 2).abs().max(axis=-1)
        central = offset < self.center_radius * strides
        near, preferred = self.candidates(inside, central)
        valid = truth.valid.unsqueeze(2)
        takes_part = paddle.logical_and(near, valid).any(axis=1)
        iou = box_ops.iou_matrix(truth.boxes_xyxy_px, boxes_xyxy_px)
        cost = self.cls_weight * _class_cost(scores, truth.labels)
        cost -= self.iou_weight * paddle.log(iou + self.least_iou)
        cost += self.outside * (1 - preferred.astype("float32"))
        open_pairs = paddle.logical_and(takes_part.unsqueeze(1), valid)
        cost = paddle.where(open_pairs, cost, paddle.full_like(cost, float("inf")))
        iou = paddle.where(open_pairs, iou, paddle.zeros_like(iou))
        taken = self._cheapest(cost, iou)
        takers = taken.sum(axis=1)
        owner = paddle.where(takers > 1, cost.argmin(axis=1), taken.argmax(axis=1))
        return paddle.where(takers > 0, owner, paddle.full_like(owner, -1))

    def candidates(self, inside: Tensor, central: Tensor) -> tuple[Tensor, Tensor]:
        """Returns which pairs let a cell take part, and those without the cost `outside`.

        Args:
            inside, central: the cell's center lies in the object, and in the square, [B, P, A].
        """
        return paddle.logical_or(inside, central), paddle.logical_and(inside, central)

    def _cheapest(self, cost: Tensor, iou: Tensor) -> Tensor:
        """1 where an object takes a cell, else 0: [B, P, A] int64."""
        most = min(self.candidate_topk, cost.shape[2])
        count = iou.topk(most, axis=2)[0].sum(axis=2, keepdim=True).astype("int64").clip(min=1)
        lowest, cells = cost.topk(most, axis=2, largest=False)
        chosen = paddle.logical_and(paddle.arange(most) < count, paddle.isfinite(lowest))
        return paddle.put_along_axis(
            paddle.zeros(cost.shape, dtype="int64"), cells, chosen.astype("int64"), axis=2
        )


def _class_cost(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy summed over the classes: scores [B, C, A], labels [B, P] to [B, P, A].

    The sum for the label 0 everywhere, corrected in the one class that is 1: no array over objects,
    cells and classes is needed.
    """
    for_one = -paddle.log(scores).clip(min=LEAST_LOG)
    for_zero = -paddle.log(1 - scores).clip(min=LEAST_LOG)
    return for_zero.sum(axis=1, keepdim=True) + rows_at(for_one - for_zero, labels)
