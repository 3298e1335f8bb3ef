"""The loss of YOLOv4 (arXiv:2004.10934) as darknet computes it."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.core.annotations import Probability
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Classes, PerLevel
from ppdet_lite.modeling.assigners.anchor_shape import (
    Cells,
    Objects,
    assign_by_shape,
    padded_objects,
)
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.gaussian_layout import split_gaussian
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.losses.anchor_box_losses import (
    CellPlaces,
    DarknetBoxLoss,
    IouBoxLoss,
    decode_cells,
)
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.modeling.losses.gaussian_box_losses import DarknetGaussianLoss, GaussianBoxLoss
from ppdet_lite.ops import boxes as box_ops

LEAST_CLASS = 0.25
"""A cell leaves the objectness term only if one of its class probabilities exceeds this."""


class LevelOutput(NamedTuple):
    """Raw output of a level by parts, boxes [B, A, H, W, 4], objectness [B, A, H, W], classes
    [B, A, H, W, C]; logits of the boxes' deviations [B, A, H, W, 4] from a level that has them."""

    boxes: Tensor
    objectness: Tensor
    classes: Tensor
    level: AnchorLevel
    number: int
    deviations: Optional[Tensor] = None

    @classmethod
    def split(
        cls, output: Tensor, level: AnchorLevel, number: int, num_classes: int
    ) -> "LevelOutput":
        """Parts of [B, A (5 + C), H, W], or of a Gaussian level [B, A (9 + C), H, W]."""
        deviations = None
        if level.gaussian:
            output, logits = split_gaussian(output, len(level.anchors), num_classes)
            deviations = logits.transpose([0, 1, 3, 4, 2])
        batch, _, height, width = output.shape
        output = output.reshape([batch, len(level.anchors), 5 + num_classes, height, width])
        by_cell = output.transpose([0, 1, 3, 4, 2])
        boxes, classes = by_cell[..., :4], by_cell[..., 5:]
        return cls(boxes, output[:, :, 4], classes, level, number, deviations)

    def box_rows(self, flat: np.ndarray) -> Tensor:
        """Raw boxes of cells, numbered as `Cells.flat` does, [E, 4]; [E, 8] with deviations."""
        parts = [self.boxes] if self.deviations is None else [self.boxes, self.deviations]
        rows = [paddle.gather(part.reshape([-1, 4]), paddle.to_tensor(flat)) for part in parts]
        return paddle.concat(rows, axis=1)

    def probability(self, output: Tensor) -> Tensor:
        return output if self.level.new_coords else F.sigmoid(output)

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss with the gradient probability - target, by the logit or by the probability."""
        if self.level.new_coords:
            return (output - target).square() / 2
        return binary_cross_entropy(output, target)


class Overlaps(NamedTuple):
    """The best IoU of the box of every cell with an object [B, A, H, W], and that object's place
    in its image."""

    iou: Tensor
    place: Tensor


@register
class YOLOv4Loss(nn.Layer):
    """Terms are summed over cells, anchors and levels and divided by the number of images.

    * Positives: `assign_by_shape`, and cells whose box overlaps an object above `truth_thresh`.
    * Box: `box_loss` of every object in a cell. In a cell with objects of several classes theirs
      are averaged (if `iou_thresh` < 1), those of one class are added up.
    * Objectness: target 1 in positive cells, else 0; cells whose box overlaps an object above
      `ignore_thresh` do not count if one of their classes is more probable than `LEAST_CLASS`.
    * Classes: one row per cell, with a 1 for the class of every object in it.

    Args:
        box_loss: None for `IouBoxLoss` with its defaults.
        obj_normalizer: weight of the objectness, for all levels or per level.
        ignore_thresh, truth_thresh: overlaps, see above; 1 is never exceeded.
        iou_thresh: overlap of shapes above which an anchor is positive beside the best; 1: none.
        label_smooth_eps: e of the class targets e / 2 and 1 - e / 2.
        focal: weigh the class row by darknet's focal factor (arXiv:1708.02002, alpha 0.5, gamma 2).
        objectness_smooth: 1 to take the overlap as objectness target instead of ignoring a cell,
            else 0; for all levels or per level. A positive cell gets no target of its own then.
    """

    __checked__ = True

    __shared__ = ("num_classes",)
    __inject__ = ("box_loss",)

    def __init__(
        self,
        num_classes: Classes = 80,
        box_loss: Union[
            IouBoxLoss, DarknetBoxLoss, GaussianBoxLoss, DarknetGaussianLoss, None
        ] = None,
        obj_normalizer: PerLevel = 1.0,
        ignore_thresh: Probability = 0.7,
        truth_thresh: Probability = 1.0,
        iou_thresh: Probability = 0.213,
        label_smooth_eps: Probability = 0.0,
        focal: bool = False,
        objectness_smooth: Union[bool, Sequence[bool]] = False,
    ):
        super().__init__()
        self.num_classes, self.box_loss = num_classes, box_loss or IouBoxLoss()
        self.obj_normalizer, self.objectness_smooth = obj_normalizer, objectness_smooth
        self.ignore_thresh, self.truth_thresh = ignore_thresh, truth_thresh
        self.iou_thresh, self.focal = iou_thresh, focal
        self.label_smooth_eps = label_smooth_eps

    def forward(
        self,
        outputs: Sequence[Tensor],
        batch: dict,
        levels: Sequence[AnchorLevel],
        anchors: Sequence[Sequence[int]],
        anchor_masks: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """Returns `loss_box`, `loss_obj`, `loss_cls` and their sum `loss`; scalars.

        Args:
            outputs, levels: raw outputs and `levels` of the head.
            batch: `gt_bbox` [B, P, 4] center and size as fractions of the image, zero padded,
                `gt_class` [B, P] or [B, P, 1], and perhaps `gt_score` likewise: the weight of each
                object in all terms, which CutMix sets.
            anchors: of all levels, (width, height) in pixels.
            anchor_masks: indices of the anchors of each level.
        """
        if "gt_class" not in batch:
            raise ConfigError("YOLOv4Loss needs gt_class: leave Gt2YoloTarget out of TrainReader")
        boxes, labels = (batch[key].numpy() for key in ("gt_bbox", "gt_class"))
        scores = batch["gt_score"].numpy() if "gt_score" in batch else np.ones(labels.shape)
        objects, scores = padded_objects(boxes, labels, scores, self.num_classes)
        totals: dict[str, Tensor] = {}
        with full_precision():
            for i, (output, level) in enumerate(zip(outputs, levels)):
                part = LevelOutput.split(to_float32(output), level, i, self.num_classes)
                size_wh = np.array(output.shape[:1:-1]) * level.stride
                shares = (np.asarray(anchors) / size_wh).astype(np.float32)
                cells = assign_by_shape(
                    objects, shares, anchor_masks[i], output.shape[2:], self.iou_thresh
                )
                for name, term in self._level_terms(part, objects, scores, cells).items():
                    term = term / len(boxes)
                    totals[name] = totals[name] + term if name in totals else term
            totals["loss"] = sum(totals.values())
        return totals

    def _level_terms(
        self, part: LevelOutput, objects: Objects, scores: np.ndarray, cells: Cells
    ) -> dict[str, Tensor]:
        overlaps = best_overlaps(part, objects)
        is_smooth = bool(_of_level(self.objectness_smooth, part.number))
        one = 1 - self.label_smooth_eps / 2
        targets: np.ndarray = np.full(len(cells.obj), one, np.float32)
        if self.truth_thresh < 1:
            cells, hits = self._with_hits(cells, objects, overlaps)
            targets = np.concatenate([hits**2 if is_smooth else np.full_like(hits, one), targets])
        shape = part.objectness.shape
        flat = cells.flat(shape)
        scores = scores[cells.obj]
        strength = np.zeros(shape, np.float32)  # of the strongest object in each cell
        np.maximum.at(strength.ravel(), flat, scores)
        objectness, delta = self._objectness(part, overlaps, strength, is_smooth)
        terms = {"loss_obj": _of_level(self.obj_normalizer, part.number) * objectness}
        if len(flat) == 0:
            return {"loss_box": paddle.zeros([]), **terms, "loss_cls": paddle.zeros([])}
        rows, first, row_of = np.unique(flat, return_index=True, return_inverse=True)
        labels = objects.label[cells.obj]
        is_own = (np.arange(len(flat)) == first[row_of]) & (targets == one)
        table = np.full((2, len(rows), self.num_classes), self.label_smooth_eps / 2, np.float32)
        table[1] = 1
        table[:, row_of, labels] = targets, is_own  # of the last of several
        row_weight = strength.ravel()[rows, None]
        terms["loss_cls"], raised = self._classes(part, rows, table, labels[first], row_weight)
        active = paddle.gather(delta.flatten(), paddle.to_tensor(rows)) != 0
        share = paddle.where(active, raised.clip(min=1.0), paddle.ones_like(raised))
        weight = 1 / paddle.gather(share, paddle.to_tensor(row_of.reshape(-1)))
        if self.iou_thresh == 1:  # darknet then adds up all of them
            weight = paddle.ones_like(weight)
        places = cell_places(part, cells)
        target_cxcywh = paddle.to_tensor(objects.boxes_cxcywh[cells.obj])
        weight = weight * paddle.to_tensor(scores)
        terms["loss_box"] = self.box_loss(part.box_rows(flat), places, target_cxcywh, weight)
        return terms

    def _with_hits(
        self, cells: Cells, objects: Objects, overlaps: Overlaps
    ) -> tuple[Cells, np.ndarray]:
        """Cells whose box overlaps an object above `truth_thresh`, with that overlap, then those
        given."""
        iou = overlaps.iou.numpy()
        hits = np.nonzero(iou > self.truth_thresh)
        numbers = objects.number(hits[0], overlaps.place.numpy()[hits])
        return Cells(*map(np.concatenate, zip((numbers, *hits), cells))), iou[hits]

    def _objectness(
        self, part: LevelOutput, overlaps: Overlaps, strength: np.ndarray, is_smooth: bool
    ) -> tuple[Tensor, Tensor]:
        """The sum over all cells, and target - probability of each, 0 where it does not count.

        strength: weight of positive cells [B, A, H, W], 0 elsewhere.
        """
        with paddle.no_grad():
            found = part.probability(part.objectness)
            is_sure = part.probability(part.classes.max(axis=-1)) > LEAST_CLASS
            is_near = paddle.logical_and(overlaps.iou > self.ignore_thresh, is_sure)
            own_weight = paddle.to_tensor(strength)
            taken, one, zero = own_weight > 0, paddle.ones_like(found), paddle.zeros_like(found)
            weight = one
            if is_smooth:
                target = paddle.where(is_near, overlaps.iou, zero)
                hit = overlaps.iou > self.truth_thresh
                target = paddle.where(hit, overlaps.iou.square(), target)
                is_free = paddle.logical_and(taken, target == found)
                target = paddle.where(is_free, one, target)
            else:
                target = taken.astype("float32")
                weight = paddle.where(taken, own_weight, paddle.where(is_near, zero, one))
            delta = weight * (target - found)
        return (part.error(part.objectness, target) * weight).sum(), delta

    def _classes(
        self,
        part: LevelOutput,
        rows: np.ndarray,
        table: np.ndarray,
        labels: np.ndarray,
        row_weight: np.ndarray,
    ) -> tuple[Tensor, Tensor]:
        """The sum over the cells `rows` [U], and the number of classes that each raises, [U].

        Args:
            table: target of every class [U, C], and 1 where its delta has the focal factor, else 0.
            labels: class of the first object of each, [U].
            row_weight: of each, [U, 1].
        """
        output = paddle.gather(part.classes.reshape([-1, self.num_classes]), paddle.to_tensor(rows))
        target, has_factor = paddle.to_tensor(table)
        with paddle.no_grad():
            found = part.probability(output)
            weight = paddle.ones_like(found)
            if self.focal:
                own = paddle.take_along_axis(found, paddle.to_tensor(labels[:, None]), axis=1)
                weight = paddle.where(has_factor > 0, focal_factor(own) * weight, weight)
            raised = ((target - found) * weight > 0).astype("float32").sum(axis=1)
        weight = weight * paddle.to_tensor(row_weight)
        return (part.error(output, target) * weight).sum(), raised


@paddle.no_grad()
def best_overlaps(part: LevelOutput, objects: Objects) -> Overlaps:
    """Compares the boxes of all cells with all objects of their image."""
    shape = part.objectness.shape
    index = np.indices(shape).reshape(4, -1)
    every = Cells(index[0], *index)
    boxes = decode_cells(part.boxes.reshape([-1, 4]), cell_places(part, every))
    boxes = box_ops.cxcywh_to_xyxy(boxes).reshape([shape[0], -1, 4])
    found = []
    # One image after the other: all pairs of a batch of mosaics would fill the memory.
    for image in range(shape[0]):
        own = objects.boxes_cxcywh[objects.image == image]
        if len(own) == 0:  # a box without area overlaps nothing
            own = np.zeros((1, 4), np.float32)
        truth = box_ops.cxcywh_to_xyxy(paddle.to_tensor(own)).unsqueeze(0)
        iou = box_ops.iou_matrix(boxes[image : image + 1], truth)
        found.append((iou.max(axis=2), iou.argmax(axis=2)))
    best, place = (paddle.concat(parts).reshape(shape) for parts in zip(*found))
    return Overlaps(best, place)


def cell_places(part: LevelOutput, cells: Cells) -> CellPlaces:
    """The cells as the box losses take them."""
    height, width = part.objectness.shape[2:]
    grid_wh = np.array([width, height], np.float32)
    anchors = np.asarray(part.level.anchors, np.float32) / (grid_wh * part.level.stride)
    cells_xy = np.stack([cells.column, cells.row], axis=1).astype(np.float32)
    cells_xy, anchors_wh, grid = map(paddle.to_tensor, (cells_xy, anchors[cells.anchor], grid_wh))
    return CellPlaces(cells_xy, anchors_wh, grid, part.level, part.number)


def focal_factor(probability: Tensor) -> Tensor:
    """Darknet's factor of the class deltas for the probability of the true class."""
    slope = 2 * probability * (probability + 1e-15).log() + probability - 1
    return -0.5 * (1 - probability) * slope


def _of_level(value: Any, i: int) -> Any:
    return value[i] if isinstance(value, (list, tuple)) else value
