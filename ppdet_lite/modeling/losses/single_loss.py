"""The loss of the branch that makes YOLOX NMS-free (arXiv:2107.08430, section 2.1)."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, rows_at
from ppdet_lite.ops import boxes as box_ops

IOU_WEIGHT, LEAST_IOU = 3.0, 1e-8
"""The weight of -ln(IoU + LEAST_IOU) in the cost, as in SimOTA."""

LEAST = 1e-6
"""Nearest that a probability comes to 0 and 1 before its logarithm."""


class SingleLoss(nn.Layer):
    """Teaches one prediction of each object, and no other, that it answers for it.

    The paper follows "Object detection made simpler by eliminating heuristic NMS"
    (arXiv:2101.11782) with two more convolutions, a one-to-one assignment and a stopped gradient,
    and says no more. Here an object takes one of the predictions that the rest of the loss gives
    it: that with the least cost of SimOTA, k being 1. The term is the cross entropy of
    sigmoid(logit) x score, the score without gradient, summed over predictions and classes and
    divided by the number of objects: what scores low anyway costs nothing.
    """

    def forward(
        self,
        logits: Tensor,
        scores: Tensor,
        boxes_xyxy_px: Tensor,
        matched: Tensor,
        truth: GroundTruth,
    ) -> Tensor:
        """Returns the term, a scalar.

        Args:
            logits: of the branch, [B, N].
            scores: objectness x class of the others [B, C, N].
            boxes_xyxy_px: predicted boxes [B, N, 4].
            matched: the object of each prediction in the rest of the loss, -1 for none [B, N].
        """
        scores = scores.detach()
        with paddle.no_grad():
            is_one = self.choose(scores, boxes_xyxy_px, matched, truth)
            wanted = rows_at(truth.labels, matched.clip(min=0))
            classes = paddle.arange(scores.shape[1]).reshape([1, -1, 1])
            labels = (classes == wanted.unsqueeze(1)).astype("float32") * is_one.unsqueeze(1)
        joint = (F.sigmoid(logits).unsqueeze(1) * scores).clip(LEAST, 1 - LEAST)
        loss = -labels * joint.log() - (1 - labels) * (1 - joint).log()
        return loss.sum() / is_one.sum().clip(min=1)

    @paddle.no_grad()
    def choose(
        self, scores: Tensor, boxes_xyxy_px: Tensor, matched: Tensor, truth: GroundTruth
    ) -> Tensor:
        """Returns 1 for the one prediction of each object and 0 for the others, [B, N]."""
        owner = matched.clip(min=0)
        iou = box_ops.iou(boxes_xyxy_px, rows_at(truth.boxes_xyxy_px, owner))
        joint = scores.sqrt().clip(LEAST, 1 - LEAST)
        wanted = rows_at(truth.labels, owner).unsqueeze(1)
        label = (paddle.arange(scores.shape[1]).reshape([1, -1, 1]) == wanted).astype("float32")
        cost = (-label * joint.log() - (1 - label) * (1 - joint).log()).sum(axis=1)
        cost -= IOU_WEIGHT * (iou + LEAST_IOU).log()
        objects = paddle.arange(truth.labels.shape[1]).reshape([1, -1, 1])
        is_own = matched.unsqueeze(1) == objects  # [B, P, N]
        costs = paddle.where(is_own, cost.unsqueeze(1), paddle.full([1], float("inf")))
        places = paddle.arange(matched.shape[1]).reshape([1, 1, -1])
        is_best = costs.argmin(axis=2, keepdim=True) == places
        return paddle.logical_and(is_best, is_own).any(axis=1).astype("float32")
