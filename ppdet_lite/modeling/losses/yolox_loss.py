"""The loss of YOLOX (arXiv:2107.08430, section 2.1)."""

from collections.abc import Sequence
from typing import Optional

import paddle
from paddle import Tensor, nn

from ppdet_lite.modeling.arguments import check_arguments
from ppdet_lite.modeling.assigners.ground_truth import GroundTruth, pad_ground_truth, rows_at
from ppdet_lite.modeling.assigners.sim_ota import SimOTAAssigner
from ppdet_lite.modeling.batch_tensors import position
from ppdet_lite.modeling.geometry import cell_grid as grid
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops

LOSS_WEIGHT = {"cls": 1.0, "obj": 1.0, "iou": 5.0, "l1": 1.0}


class YOLOXLoss(nn.Layer):
    """Terms summed over the cells of the batch and divided by the number of cells with an object
    (at least 1), those of this process only.

    * `loss_obj`: cross entropy of the objectness of every cell with 1 where it answers for an
      object, else 0;
    * `loss_cls`: cross entropy per class, in cells with an object; the label of its class is the
      IoU of the predicted box with the object;
    * `loss_iou`: 1 - IoU^2, in cells with an object;
    * `loss_l1`: distance of the box corners in cells of the level, from epoch `l1_epoch` on, else
      0. (PaddleDetection's form; the authors' own code compares raw outputs.)

    Computed in float32 whatever the precision of the network.

    Args:
        assigner: gives cells to objects; None for `SimOTAAssigner`.
        loss_weight: factors of terms in the total, in place of those of `LOSS_WEIGHT`.
        l1_epoch: first epoch (from 0) with the L1 term.
    """

    def __init__(
        self,
        assigner: Optional[SimOTAAssigner] = None,
        loss_weight: Optional[dict[str, float]] = None,
        l1_epoch: int = 285,
    ):
        super().__init__()
        unknown = sorted(set(loss_weight or {}) - set(LOSS_WEIGHT))
        check_arguments(("loss_weight", unknown, not unknown, ", ".join(LOSS_WEIGHT)))
        self.assigner = SimOTAAssigner() if assigner is None else assigner
        self.loss_weight = {**LOSS_WEIGHT, **(loss_weight or {})}
        self.l1_epoch = l1_epoch

    def forward(
        self, outputs: Sequence[Tensor], batch: dict, strides: Sequence[int]
    ) -> dict[str, Tensor]:
        """The terms, and under `loss` their sum with `loss_weight`; scalars.

        Args:
            outputs: raw head outputs per level, [B, 5 + C, H, W]: x, y, w, h, objectness, classes.
            batch: `gt_bbox` and `gt_class` as `pad_ground_truth` takes them; `epoch_id`, without
                which the epoch is 0.
            strides: pixels per cell of each level.
        """
        with full_precision():
            flat = grid.flatten_levels([to_float32(output) for output in outputs])
            cells, sides = grid.cell_grid(outputs, strides)
            truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
            matched = self.assign(flat, cells, sides, truth)
            terms = self._terms(flat, cells, sides, truth, matched)
            if (position(batch, "epoch_id") or 0) < self.l1_epoch:
                terms["loss_l1"] = paddle.zeros([])
            terms["loss"] = sum(
                weight * terms[f"loss_{name}"] for name, weight in self.loss_weight.items()
            )
        return terms

    @paddle.no_grad()
    def assign(self, flat: Tensor, cells: Tensor, sides: Tensor, truth: GroundTruth) -> Tensor:
        """The object of each cell, [B, A] int64, -1 for none; `flat` is [B, 5 + C, A]."""
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
        # Other cells' boxes are replaced: the exponential of a wild output would turn into infinity
        # times the weight 0.
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
        distance = ((boxes - target) / sides.unsqueeze(1)).abs().sum(axis=2)
        return {
            "loss_cls": (class_loss * mask).sum() / count,
            "loss_obj": binary_cross_entropy(flat[:, 4], mask).sum() / count,
            "loss_iou": ((1 - iou.square()) * mask).sum() / count,
            "loss_l1": (distance * mask).sum() / count,
        }
