"""The loss of YOLOv3 (arXiv:1804.02767) with the terms that PP-YOLO and PP-YOLOv2 add."""

from collections.abc import Sequence
from typing import Optional, Union

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Count, Probability
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Classes, PerLevel
from ppdet_lite.modeling.geometry import target_layout as layout
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.target_layout import Prediction, Target, cell_offset, grid_boxes
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.modeling.losses.iou_loss import IouAwareLoss, IouLoss, SoftWeightIouAwareLoss
from ppdet_lite.ops import boxes as box_ops


@register
class YOLOv3Loss(nn.Layer):
    """Terms are summed over cells, anchors and levels and averaged over the images.

    They are not divided by the number of objects, are computed in float32 under mixed precision
    too, and may be not finite.

    Args:
        ignore_thresh: cells without object leave the objectness term if the IoU of their box with
            any object is higher.
        label_smooth: smooth class labels by min(1 / C, 1 / 40).
        downsample, scale_x_y: strides and grid sensitivity of the levels; None: those of the head.
        iou_loss: adds the term `loss_iou`.
        iou_aware_loss: adds the term `loss_iou_aware`, for heads that predict IoU.
    """

    __checked__ = True

    __shared__ = ("num_classes",)
    __inject__ = ("iou_loss", "iou_aware_loss")

    def __init__(
        self,
        num_classes: Classes = 80,
        ignore_thresh: Probability = 0.7,
        label_smooth: bool = False,
        downsample: Optional[Sequence[Count]] = None,
        scale_x_y: Optional[PerLevel] = None,
        iou_loss: Optional[IouLoss] = None,
        iou_aware_loss: Union[IouAwareLoss, SoftWeightIouAwareLoss, None] = None,
    ):
        super().__init__()
        self.num_classes, self.ignore_thresh = num_classes, ignore_thresh
        self.label_smooth = label_smooth
        self.downsample, self.scale_x_y = downsample, scale_x_y
        self.iou_loss, self.iou_aware_loss = iou_loss, iou_aware_loss

    def forward(
        self, outputs: Sequence[Tensor], batch: dict, levels: Sequence[AnchorLevel], iou_aware: bool
    ) -> dict[str, Tensor]:
        """Returns `loss_xy`, `loss_wh`, `loss_obj`, `loss_cls`, if configured also `loss_iou` and
        `loss_iou_aware`, and their sum `loss`; scalars.

        Args:
            outputs, levels: raw outputs and `levels` of the head.
            batch: `gt_bbox` [B, P, 4] center and size as fractions of the image, zero padded;
                `target0` ... per level [B, A, 6 + C, H, W] with the channels of `Target`.
            iou_aware: True if the outputs start with IoU logits.
        """
        if self.iou_aware_loss is not None and not iou_aware:
            raise ConfigError(
                "YOLOv3Loss.iou_aware_loss is set, but YOLOv3Head.iou_aware is false: the head has "
                "no IoU output to train"
            )
        totals: dict[str, Tensor] = {}
        with full_precision():
            gt_cxcywh = to_float32(batch["gt_bbox"])
            for i, (output, level) in enumerate(zip(outputs, levels)):
                sizes = len(level.anchors), self.num_classes
                predicted = layout.split_output(to_float32(output), *sizes, iou_aware)
                key = f"target{i}"
                target = layout.split_target(to_float32(batch[key]), key, predicted)
                for name, term in self._level_terms(predicted, target, gt_cxcywh, level).items():
                    totals[name] = totals[name] + term if name in totals else term
            totals["loss"] = sum(totals.values())
        return totals

    def _level_terms(
        self, predicted: Prediction, target: Target, gt_cxcywh: Tensor, level: AnchorLevel
    ) -> dict[str, Tensor]:
        terms = {
            "loss_xy": self.xy_term(predicted, target, level),
            "loss_wh": self.wh_term(predicted, target),
        }
        if self.iou_loss is not None or self.iou_aware_loss is not None:
            boxes, target_boxes = self._positive_boxes(predicted, target, level)
            if self.iou_loss is not None:
                loss = self.iou_loss(boxes, target_boxes)
                terms["loss_iou"] = _image_mean(loss * target.scale * target.objectness)
            if self.iou_aware_loss is not None:
                loss = self.iou_aware_loss(predicted.iou, boxes, target_boxes)
                terms["loss_iou_aware"] = _image_mean(loss * target.objectness)
        terms["loss_obj"] = self.objectness_term(predicted, target, gt_cxcywh, level)
        terms["loss_cls"] = self.class_term(predicted, target)
        return terms

    def xy_term(self, predicted: Prediction, target: Target, level: AnchorLevel) -> Tensor:
        """Center: cross entropy at grid sensitivity 1, else L1."""
        if level.scale_x_y == 1:
            loss_x = binary_cross_entropy(predicted.x, target.x)
            loss_y = binary_cross_entropy(predicted.y, target.y)
        else:
            loss_x = (cell_offset(predicted.x, level) - target.x).abs()
            loss_y = (cell_offset(predicted.y, level) - target.y).abs()
        return _image_mean((loss_x + loss_y) * target.scale * target.objectness)

    def wh_term(self, predicted: Prediction, target: Target) -> Tensor:
        """Size: L1 of the logarithms."""
        loss = (predicted.w - target.w).abs() + (predicted.h - target.h).abs()
        return _image_mean(loss * target.scale * target.objectness)

    def objectness_term(
        self, predicted: Prediction, target: Target, gt_cxcywh: Tensor, level: AnchorLevel
    ) -> Tensor:
        """Objectness: target 1 in cells with an object, weighted by its score, else 0."""
        logit = predicted.objectness
        positive = (target.objectness > 0).astype("float32")
        negative = (1 - positive) * self._far_from_objects(predicted, gt_cxcywh, level)
        to_one, to_zero = F.softplus(-logit), F.softplus(logit)
        return _image_mean(to_one * target.objectness + to_zero * negative)

    def class_term(self, predicted: Prediction, target: Target) -> Tensor:
        """Classes: cross entropy in cells with an object, weighted by its score."""
        labels = target.classes
        if self.label_smooth:
            delta = min(1.0 / self.num_classes, 1.0 / 40)
            labels = delta + (1 - 2 * delta) * (labels > 0).astype("float32")
        loss = binary_cross_entropy(predicted.classes, labels)
        return _image_mean(loss.sum(axis=2) * target.objectness)

    def _positive_boxes(
        self, predicted: Prediction, target: Target, level: AnchorLevel
    ) -> tuple[Tensor, Tensor]:
        """Returns predicted and true boxes of all cells; only those with an object are valid."""
        positive = target.objectness > 0
        x, y = cell_offset(predicted.x, level), cell_offset(predicted.y, level)
        # In other cells exp() may overflow, and infinity times the weight 0 is NaN.
        w = paddle.where(positive, predicted.w, paddle.zeros_like(predicted.w))
        h = paddle.where(positive, predicted.h, paddle.zeros_like(predicted.h))
        boxes = grid_boxes(x, y, w, h, level)
        return boxes, grid_boxes(target.x, target.y, target.w, target.h, level)

    @paddle.no_grad()
    def _far_from_objects(
        self, predicted: Prediction, gt_cxcywh: Tensor, level: AnchorLevel
    ) -> Tensor:
        """Returns 1 where the IoU with every object is at most `ignore_thresh`, else 0.

        Objects of score 0, which are no targets, count too, as for the released models.
        """
        if gt_cxcywh.shape[1] == 0:
            return paddle.ones_like(predicted.x)
        x, y = cell_offset(predicted.x, level), cell_offset(predicted.y, level)
        boxes = grid_boxes(x, y, predicted.w, predicted.h, level)
        flat = boxes.reshape([boxes.shape[0], -1, 4])
        best = box_ops.iou_matrix(flat, box_ops.cxcywh_to_xyxy(gt_cxcywh)).max(axis=2)
        return (best <= self.ignore_thresh).astype("float32").reshape(predicted.x.shape)


def _image_mean(values: Tensor) -> Tensor:
    return values.sum() / values.shape[0]
