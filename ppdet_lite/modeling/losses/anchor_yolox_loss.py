"""The loss of the steps of YOLOX's roadmap that have anchors (arXiv:2107.08430, section 2.1)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.assigners.best_anchor import BestAnchorAssigner
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, pad_ground_truth, rows_at
from ppdet_lite.modeling.geometry.anchor_grid import (
    AnchorOutputs,
    anchor_grid,
    flatten_anchors,
)
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops

LOSS_WEIGHT = {"cls": 1.0, "obj": 1.0, "iou": 5.0, "iou_aware": 1.0}


class AnchorYOLOXLoss(nn.Layer):
    """Terms are summed over the predictions of the batch and divided by the number of those with an
    object (at least 1) in this process; float32 under mixed precision too.

    * `loss_obj`: cross entropy of predictions that are not ignored, label 1 with an object;
    * `loss_cls`: cross entropy of predictions with an object, label 1 for its class;
    * `loss_iou`: 1 - IoU^2 of predictions with an object;
    * `loss_iou_aware`: cross entropy of their predicted IoU, where the head predicts one.

    Args:
        assigner: None for `BestAnchorAssigner`.
        loss_weight: weights of terms that replace those of `LOSS_WEIGHT`.
    """

    def __init__(
        self,
        assigner: Optional[BestAnchorAssigner] = None,
        loss_weight: Optional[dict[str, float]] = None,
    ):
        super().__init__()
        unknown = sorted(set(loss_weight or {}) - set(LOSS_WEIGHT))
        check_arguments(("loss_weight", unknown, not unknown, ", ".join(LOSS_WEIGHT)))
        self.assigner = assigner or BestAnchorAssigner()
        self.loss_weight = {**LOSS_WEIGHT, **(loss_weight or {})}

    def forward(
        self, outputs: Sequence[Tensor], batch: dict, levels: Sequence[AnchorLevel], classes: int
    ) -> dict[str, Tensor]:
        """Returns the terms and their weighted sum `loss`; scalars.

        Args:
            outputs, levels: raw outputs, see `flatten_anchors`.
            batch: `gt_bbox` and `gt_class` as in `pad_ground_truth`.
        """
        with full_precision():
            flat = flatten_anchors([to_float32(output) for output in outputs], levels, classes)
            grid = anchor_grid(outputs, levels)
            truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
            with paddle.no_grad():
                found = grid.boxes(flat.box)
            matched, ignored = self.assigner(found, grid, truth)
            positive = matched >= 0
            # In other cells exp() may overflow, and infinity times the weight 0 is NaN.
            inside = positive.unsqueeze(1).expand_as(flat.box)
            box = paddle.where(inside, flat.box, paddle.zeros_like(flat.box))
            terms = self._terms(flat, grid.boxes(box), truth, matched, ignored)
            terms["loss"] = sum(
                weight * terms[f"loss_{name}"]
                for name, weight in self.loss_weight.items()
                if f"loss_{name}" in terms
            )
        return terms

    def _terms(
        self,
        flat: AnchorOutputs,
        boxes: Tensor,
        truth: GroundTruth,
        matched: Tensor,
        ignored: Tensor,
    ) -> dict[str, Tensor]:
        owner, mask = matched.clip(min=0), (matched >= 0).astype("float32")
        count = mask.sum().clip(min=1)
        iou = box_ops.iou(boxes, rows_at(truth.boxes_xyxy_px, owner))
        classes = paddle.arange(flat.classes.shape[1]).reshape([1, -1, 1])
        labels = (classes == rows_at(truth.labels, owner).unsqueeze(1)).astype("float32")
        class_loss = binary_cross_entropy(flat.classes, labels).sum(axis=1)
        counts = 1 - ignored.astype("float32")
        terms = {
            "loss_cls": (class_loss * mask).sum() / count,
            "loss_obj": (binary_cross_entropy(flat.objectness, mask) * counts).sum() / count,
            "loss_iou": ((1 - iou.square()) * mask).sum() / count,
        }
        if flat.iou is not None:
            label = iou.detach()
            terms["loss_iou_aware"] = (binary_cross_entropy(flat.iou, label) * mask).sum() / count
        return terms
