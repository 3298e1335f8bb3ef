"""The assignment of YOLOv3 (arXiv:1804.02767) on all predictions of a batch at once."""

import paddle
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Probability
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth
from ppdet_lite.modeling.geometry.anchor_grid import AnchorGrid
from ppdet_lite.ops import boxes as box_ops


@register
class BestAnchorAssigner(nn.Layer):
    """An object takes one prediction: of the cell that holds its center and the anchor whose shape
    overlaps best with its own. Of two objects that take the same one the later has it.

    Args:
        ignore_thresh: predictions without an object whose box overlaps any by more than this are
            not taught that there is none.
    """

    __checked__ = True

    def __init__(self, ignore_thresh: Probability = 0.7):
        super().__init__()
        self.ignore_thresh = ignore_thresh

    @paddle.no_grad()
    def forward(
        self, boxes_xyxy_px: Tensor, grid: AnchorGrid, truth: GroundTruth
    ) -> tuple[Tensor, Tensor]:
        """Returns the place of the object of each prediction [B, N] int64, -1 for none, and True
        where a prediction is ignored [B, N].

        Args:
            boxes_xyxy_px: predicted boxes [B, N, 4].
        """
        objects = truth.boxes_xyxy_px
        valid = truth.valid.unsqueeze(2)
        size = (objects[..., 2:] - objects[..., :2]).unsqueeze(2)  # [B, P, 1, 2]
        anchors = grid.anchors.transpose([1, 0])
        common = paddle.minimum(size, anchors).prod(axis=-1)
        union = size.prod(axis=-1) + anchors.prod(axis=-1) - common
        overlap = common / (union + box_ops.EPS)  # [B, P, N]
        # The same number for every cell of an anchor: the best ones are all cells of the best.
        is_best = overlap >= overlap.max(axis=2, keepdim=True)
        center = ((objects[..., :2] + objects[..., 2:]) / 2).unsqueeze(2)
        cell = (center / grid.strides.unsqueeze(1)).floor()
        is_here = (cell == grid.cells.transpose([1, 0])).all(axis=-1)
        taken = paddle.logical_and(paddle.logical_and(is_best, is_here), valid)
        numbers = paddle.arange(1, objects.shape[1] + 1).reshape([1, -1, 1])
        matched = (taken.astype("int64") * numbers).max(axis=1) - 1
        best = box_ops.iou_matrix(objects, boxes_xyxy_px) * valid.astype("float32")
        is_near = best.max(axis=1) > self.ignore_thresh
        return matched, paddle.logical_and(is_near, matched < 0)
