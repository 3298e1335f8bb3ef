"""The loss of YOLOX (arXiv:2107.08430, section 2.1)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.assigners.cell_assigner import CellAssigner
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, pad_ground_truth, rows_at
from ppdet_lite.modeling.assigners.sim_ota import SimOTAAssigner
from ppdet_lite.modeling.batch_tensors import position
from ppdet_lite.modeling.geometry import cell_grid as grid
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops

LOSS_WEIGHT = {"cls": 1.0, "obj": 1.0, "iou": 5.0, "l1": 1.0}


class YOLOXLoss(nn.Layer):
    """Terms are summed over the cells of the batch and divided by the number of cells with an
    object (at least 1) in this process; float32 under mixed precision too.

    * `loss_obj`: cross entropy in all cells, with label 1 in cells with an object;
    * `loss_cls`: cross entropy in cells with an object, whose class has the label IoU;
    * `loss_iou`: 1 - IoU^2 in cells with an object;
    * `loss_l1`: L1 distance of the corners in units of the stride, 0 before epoch `l1_epoch`. (As
      in PaddleDetection; the authors' code compares raw outputs.)

    Args:
        assigner: None for `SimOTAAssigner`.
        loss_weight: weights of terms that replace those of `LOSS_WEIGHT`.
        l1_epoch: first epoch (from 0) with the L1 term.
    """

    def __init__(
        self,
        assigner: Optional[CellAssigner] = None,
        loss_weight: Optional[dict[str, float]] = None,
        l1_epoch: int = 285,
    ):
        super().__init__()
        unknown = sorted(set(loss_weight or {}) - set(LOSS_WEIGHT))
        check_arguments(("loss_weight", unknown, not unknown, ", ".join(LOSS_WEIGHT)))
        self.assigner = assigner or SimOTAAssigner()
        self.loss_weight = {**LOSS_WEIGHT, **(loss_weight or {})}
        self.l1_epoch = l1_epoch

    def forward(
        self, outputs: Sequence[Tensor], batch: dict, strides: Sequence[int]
    ) -> dict[str, Tensor]:
        """Returns the terms and their weighted sum `loss`; scalars.

        Args:
            outputs: raw outputs of each level [B, 5 + C, H, W]: x, y, w, h, objectness, classes.
            batch: `gt_bbox` and `gt_class` as in `pad_ground_truth`, `epoch_id` (default 0).
            strides: input pixels per cell of each level.
        """
        with full_precision():
            flat = grid.flatten_levels([to_float32(output) for output in outputs])
            cells, sides = grid.cell_grid(outputs, strides)
            truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
            matched = self.assign(flat, cells, sides, truth)
            terms = self._terms(flat, cells, sides, truth, matched)
            if (position(batch, "epoch_id") or 0) < self.l1_epoch:
                terms["loss_l1"] = paddle.zeros([])
            terms["loss"] = sum(w * terms[f"loss_{name}"] for name, w in self.loss_weight.items())
        return terms

    @paddle.no_grad()
    def assign(self, flat: Tensor, cells: Tensor, sides: Tensor, truth: GroundTruth) -> Tensor:
        """Returns the object of each cell [B, A] int64, -1 for none; `flat` is [B, 5 + C, A]."""
        return self.assigner(
            grid.joint_scores(flat[:, 4:5], flat[:, 5:]),
            grid.decode_boxes(flat[:, :4], cells, sides),
            ((cells + 0.5) * sides).transpose([1, 0]),
            sides,
            truth,
        )

    def _terms(
        self, flat: Tensor, cells: Tensor, sides: Tensor, truth: GroundTruth, matched: Tensor
    ) -> dict[str, Tensor]:
        positive = matched >= 0
        owner = matched.clip(min=0)
        mask = positive.astype("float32")
        count = mask.sum().clip(min=1)
        # In other cells exp() may overflow, and infinity times the weight 0 is NaN.
        regression = flat[:, :4]
        inside = positive.unsqueeze(1).expand_as(regression)
        regression = paddle.where(inside, regression, paddle.zeros_like(regression))
        boxes = grid.decode_boxes(regression, cells, sides)
        target = rows_at(truth.boxes_xyxy_px, owner)
        iou = box_ops.iou(boxes, target)
        classes = paddle.arange(flat.shape[1] - 5).reshape([1, -1, 1])
        is_class = classes == rows_at(truth.labels, owner).unsqueeze(1)
        labels = is_class.astype("float32") * iou.detach().unsqueeze(1)
        class_loss = binary_cross_entropy(flat[:, 5:], labels).sum(axis=1)
        distance = self.l1_distance(regression, boxes, target, cells, sides)
        return {
            "loss_cls": (class_loss * mask).sum() / count,
            "loss_obj": binary_cross_entropy(flat[:, 4], mask).sum() / count,
            "loss_iou": ((1 - iou.square()) * mask).sum() / count,
            "loss_l1": (distance * mask).sum() / count,
        }

    def l1_distance(
        self, regression: Tensor, boxes: Tensor, target: Tensor, cells: Tensor, sides: Tensor
    ) -> Tensor:
        """Returns the L1 distance in every cell, [B, A].

        Args:
            regression: raw x, y, w, h [B, 4, A], zeros in cells without an object.
            boxes, target: predicted boxes and the objects' [B, A, 4], corners in pixels.
            cells, sides: see `cell_grid`.
        """
        return ((boxes - target) / sides.unsqueeze(1)).abs().sum(axis=2)
