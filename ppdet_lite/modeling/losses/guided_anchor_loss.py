"""The loss of ASFF's YOLOv3 (arXiv:1911.09516): guided anchors, IoU, L1, objectness, classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Probability
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Classes
from ppdet_lite.modeling.assigners.anchor_shape import Cells, assign_by_shape
from ppdet_lite.modeling.assigners.guided_anchor import (
    GuidedTargets,
    WeightedObjects,
    best_anchor_overlap,
    guided_targets,
    shape_overlap,
    weighted_objects,
)
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.guided_layout import split_guided
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.ops import boxes as box_ops

LOG_EPS = 1e-12
"""Added to the ratio of sizes before its logarithm."""

MOST_SMOOTH = 1 / 20
"""Largest class target of other classes, that of the authors for Pascal VOC."""


class GuidedLevel(NamedTuple):
    """Raw output of a level by cells, numbered in [B, A, H, W]: guide [N, 2], raw [N, 5 + C]."""

    guide: Tensor
    raw: Tensor
    shape: tuple[int, int, int, int]
    level: AnchorLevel

    @classmethod
    def split(cls, output: Tensor, level: AnchorLevel, num_classes: int) -> "GuidedLevel":
        """Parts of [B, A (7 + C), H, W]."""
        guide, raw = split_guided(to_float32(output), len(level.anchors), num_classes)
        guide, raw = (part.transpose([0, 1, 3, 4, 2]) for part in (guide, raw))
        shape = tuple(raw.shape[:4])
        return cls(guide.reshape([-1, 2]), raw.reshape([-1, 5 + num_classes]), shape, level)

    @property
    def size_wh(self) -> np.ndarray:
        """Width and height of the network input in pixels."""
        return np.array(self.shape[:1:-1], np.float32) * self.level.stride

    def sizes(self, cells: np.ndarray, guide: Tensor) -> Tensor:
        """Guided sizes in pixels [M, 2] of cells [M] with their `guide` [M, 2]."""
        anchors = np.asarray(self.level.anchors, np.float32)
        own = anchors[np.unravel_index(cells, self.shape)[1]]
        return guide.exp() * paddle.to_tensor(own)

    def boxes(self, cells: np.ndarray, guide: Tensor, raw: Tensor) -> Tensor:
        """boxes_xyxy in pixels [M, 4]."""
        corner = paddle.to_tensor(self.columns_rows(cells))
        center = (F.sigmoid(raw[:, :2]) + corner) * float(self.level.stride)
        size = raw[:, 2:4].exp() * self.sizes(cells, guide)
        return box_ops.cxcywh_to_xyxy(paddle.concat([center, size], axis=1))

    def columns_rows(self, cells: np.ndarray) -> np.ndarray:
        """Column and row of cells [M], float32 [M, 2]."""
        _, _, row, column = np.unravel_index(cells, self.shape)
        return np.stack([column, row], axis=1).astype(np.float32)


@register
class GuidedAnchorLoss(nn.Layer):
    """Terms are summed over cells, anchors and levels and divided by the number of images.

    Positives come from `guided_targets`; s = 2 - box area / image area weighs small boxes.

    * `loss_anchor`: 1 - IoU^2 of the shapes of guided anchors and objects;
    * `loss_iou`: s (1 - IoU^2) at positives;
    * `loss_l1`: s times the cross entropy of the center in its cell and the L1 distance of the
      logarithm of size / guided anchor, at positives;
    * `loss_obj`: cross entropy, target 1 at positives, weighed by their share in a mixup; other
      cells whose box overlaps an object above `ignore_thresh` do not count;
    * `loss_cls`: cross entropy at positives.

    The guide gets gradients from the first three terms, as in the authors' code.

    Args:
        ignore_thresh: IoU, see above.
        label_smooth: class targets 1 - 1 / C and 1 / C; with less than 20 classes 0.95 and 0.05,
            as these would say less and with two classes nothing. A row has the class of the last
            object of its cell then, without it those of all.
    """

    __checked__ = True

    __shared__ = ("num_classes",)

    def __init__(
        self,
        num_classes: Classes = 80,
        ignore_thresh: Probability = 0.7,
        label_smooth: bool = False,
    ):
        super().__init__()
        self.num_classes, self.ignore_thresh = num_classes, ignore_thresh
        self.label_smooth = label_smooth

    def forward(
        self,
        outputs: Sequence[Tensor],
        batch: dict,
        levels: Sequence[AnchorLevel],
        anchors: Sequence[Sequence[int]],
        anchor_masks: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """Returns the terms and their sum `loss`; scalars.

        Args:
            outputs, levels: raw outputs and `levels` of the head.
            batch: `gt_bbox` [B, P, 4] center and size as fractions of the image, zero padded,
                `gt_class` [B, P] or [B, P, 1] and, with mixup, `gt_score` likewise.
            anchors: of all levels, (width, height) in pixels, without those of the free boxes.
            anchor_masks: indices of the anchors of each level.
        """
        if "gt_class" not in batch:
            text = "GuidedAnchorLoss needs gt_class: leave Gt2YoloTarget out of TrainReader"
            raise ConfigError(text)
        boxes, labels = (batch[key].numpy() for key in ("gt_bbox", "gt_class"))
        weights = batch["gt_score"].numpy() if "gt_score" in batch else None
        truth = weighted_objects(boxes, labels, weights)
        totals: dict[str, Tensor] = {}
        with full_precision():
            parts = [GuidedLevel.split(*pair, self.num_classes) for pair in zip(outputs, levels)]
            for part, targets in zip(parts, self.assign(parts, truth, anchors, anchor_masks)):
                for name, term in self._level_terms(part, truth, targets).items():
                    term = term / len(boxes)
                    totals[name] = totals[name] + term if name in totals else term
            totals["loss"] = sum(totals.values())
        return totals

    @paddle.no_grad()
    def assign(
        self,
        parts: Sequence[GuidedLevel],
        truth: WeightedObjects,
        anchors: Sequence[Sequence[int]],
        anchor_masks: Sequence[Sequence[int]],
    ) -> list[GuidedTargets]:
        """The targets of each level."""
        found, logs = [], []
        for part, mask in zip(parts, anchor_masks):
            shares = (np.asarray(anchors) / part.size_wh).astype(np.float32)
            cells = assign_by_shape(truth.objects, shares, mask, part.shape[2:], iou_thresh=1.0)
            found.append(cells)
            last = np.full_like(cells.anchor, part.shape[1] - 1)
            if len(cells.obj):
                free = cells._replace(anchor=last).flat(part.shape)
                logs.append(paddle.gather(part.guide, paddle.to_tensor(free)))
        # All levels are read together: each reading waits for the device.
        joined = paddle.concat(logs).numpy() if logs else np.zeros((0, 2), np.float32)
        ends = np.cumsum([len(cells.obj) for cells in found])
        targets = []
        for part, cells, own in zip(parts, found, np.split(joined, ends)):
            is_free = self._free_wins(part, truth, cells, own, anchors)
            targets.append(guided_targets(cells, is_free, part.shape))
        return targets

    def _free_wins(
        self,
        part: GuidedLevel,
        truth: WeightedObjects,
        cells: Cells,
        log_sizes: np.ndarray,
        anchors: Sequence[Sequence[int]],
    ) -> np.ndarray:
        size_wh = truth.objects.boxes_cxcywh[cells.obj, 2:] * part.size_wh
        free_wh = np.exp(log_sizes) * np.float32(part.level.anchors[-1])
        of_anchor = best_anchor_overlap(size_wh, np.asarray(anchors, np.float32))
        return shape_overlap(size_wh, free_wh) > of_anchor

    def _level_terms(
        self, part: GuidedLevel, truth: WeightedObjects, targets: GuidedTargets
    ) -> dict[str, Tensor]:
        terms = {"loss_obj": self._objectness_term(part, truth, targets)}
        if len(targets.positive) == 0:
            # A gradient of 0: processes that train together wait for one of every parameter.
            nothing = part.guide.sum() * 0
            return {
                **{f"loss_{n}": nothing for n in ("anchor", "iou", "l1", "cls")},
                **terms,
            }
        boxes_px = truth.objects.boxes_cxcywh * np.tile(part.size_wh, 2)
        guide = paddle.gather(part.guide, paddle.to_tensor(targets.guided))
        wanted_wh = paddle.to_tensor(boxes_px[targets.guided_obj, 2:])
        overlap = _shape_iou(part.sizes(targets.guided, guide), wanted_wh)
        terms["loss_anchor"] = (1 - overlap.square()).sum()

        cells = paddle.to_tensor(targets.positive)
        guide, raw = paddle.gather(part.guide, cells), paddle.gather(part.raw, cells)
        area = truth.objects.boxes_cxcywh[targets.obj, 2:].prod(axis=1)
        scale = paddle.to_tensor(2 - area)
        wanted = box_ops.cxcywh_to_xyxy(paddle.to_tensor(boxes_px[targets.box_obj]))
        overlap = box_ops.iou(part.boxes(targets.positive, guide, raw), wanted)
        terms["loss_iou"] = (scale * (1 - overlap.square())).sum()

        place = boxes_px[targets.obj, :2] / part.level.stride
        offset = paddle.to_tensor(place - part.columns_rows(targets.positive))
        ratio = paddle.to_tensor(boxes_px[targets.obj, 2:]) / part.sizes(targets.positive, guide)
        distance = binary_cross_entropy(raw[:, :2], offset)
        distance = distance + (raw[:, 2:4] - (ratio + LOG_EPS).log()).abs()
        terms["loss_l1"] = (scale.unsqueeze(1) * distance).sum()

        labels = paddle.to_tensor(self.class_targets(truth, targets))
        terms["loss_cls"] = binary_cross_entropy(raw[:, 5:], labels).sum()
        return terms

    def class_targets(self, truth: WeightedObjects, targets: GuidedTargets) -> np.ndarray:
        """Of positive cells, float32 [P, C]."""
        label, places = truth.objects.label, len(targets.positive)
        if self.label_smooth:
            rare = min(1 / self.num_classes, MOST_SMOOTH)
            table = np.full((places, self.num_classes), rare, np.float32)
            table[np.arange(places), label[targets.obj]] = 1 - rare
            return table
        table = np.zeros((places, self.num_classes), np.float32)
        rows = np.searchsorted(targets.positive, targets.taken)
        table[rows, label[targets.taken_obj]] = 1
        return table

    def _objectness_term(
        self, part: GuidedLevel, truth: WeightedObjects, targets: GuidedTargets
    ) -> Tensor:
        weight = self.objectness_weight(part, truth, targets)
        target = np.zeros(len(part.raw), np.float32)
        target[targets.positive] = 1
        return (binary_cross_entropy(part.raw[:, 4], paddle.to_tensor(target)) * weight).sum()

    @paddle.no_grad()
    def objectness_weight(
        self, part: GuidedLevel, truth: WeightedObjects, targets: GuidedTargets
    ) -> Tensor:
        """Weight of the objectness of each cell [N]: that of the object at positives, else 0 where
        it is ignored and 1 elsewhere."""
        every = np.arange(len(part.raw))
        boxes = part.boxes(every, part.guide, part.raw).reshape([part.shape[0], -1, 4])
        table = paddle.to_tensor(truth.objects.table() * np.tile(part.size_wh, 2))
        best = box_ops.iou_matrix(boxes, box_ops.cxcywh_to_xyxy(table)).max(axis=2)
        weight = 1 - (best > self.ignore_thresh).astype("float32").flatten()
        if len(targets.positive) == 0:
            return weight
        cells = paddle.to_tensor(targets.positive)
        return paddle.scatter(weight, cells, paddle.to_tensor(truth.weight[targets.obj]))


def _shape_iou(size_wh: Tensor, other_wh: Tensor) -> Tensor:
    """IoU of boxes with the same center, [M, 2] and [M, 2] to [M]."""
    common = paddle.minimum(size_wh, other_wh).prod(axis=1)
    return common / (size_wh.prod(axis=1) + other_wh.prod(axis=1) - common)
