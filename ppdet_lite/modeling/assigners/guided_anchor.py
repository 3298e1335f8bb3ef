"""The assignment of objects to guided anchors and to the box without anchor, as in ASFF's YOLOv3.

An object belongs to the level of the anchor, of all levels and unguided, whose shape overlaps it
best, and there to the cell of its center. In this cell the box without anchor takes it if its own
shape, as predicted, overlaps the object better than that anchor.
"""

from typing import NamedTuple, Optional

import numpy as np

from ppdet_lite.modeling.assigners.anchor_shape import Cells, Objects
from ppdet_lite.ops.boxes_np import wh_iou_matrix


class WeightedObjects(NamedTuple):
    """Objects and the weight of each in the objectness, [N]: the share of its image in a mixup."""

    objects: Objects
    weight: np.ndarray


def weighted_objects(
    boxes_cxcywh: np.ndarray, labels: np.ndarray, weights: Optional[np.ndarray]
) -> WeightedObjects:
    """The objects among padded rows [B, P, 4], [B, P] or [B, P, 1] and weights likewise (None: 1);
    rows without area do not count."""
    images, rows = boxes_cxcywh.shape[:2]
    image, row = np.nonzero((boxes_cxcywh[..., 2:] > 0).all(axis=2))
    labels = labels.reshape(images, rows)[image, row]
    boxes = boxes_cxcywh[image, row].astype(np.float32)
    weight = np.ones(len(image)) if weights is None else weights.reshape(images, rows)[image, row]
    return WeightedObjects(Objects(images, image, row, boxes, labels), weight.astype(np.float32))


class GuidedTargets(NamedTuple):
    """What the predictions of a level learn; numbers of cells count in [B, A, H, W], those of
    objects the rows of `Objects`.

    taken: [E] cell of each object of the level, in the order of time. positive: [P] the same
    without repeats. obj: [P] the last object of each. box_obj: [P] the object of its box: the last
    that went to this cell or, for the box without anchor, to any anchor of the cell. guided: [G]
    cells whose anchor is guided to the object guided_obj [G].
    """

    taken: np.ndarray
    taken_obj: np.ndarray
    positive: np.ndarray
    obj: np.ndarray
    box_obj: np.ndarray
    guided: np.ndarray
    guided_obj: np.ndarray


def guided_targets(
    cells: Cells, is_free: np.ndarray, shape: tuple[int, int, int, int]
) -> GuidedTargets:
    """Targets of a level of `shape` [B, A, H, W], the box without anchor being the last of A.

    Args:
        cells: from `assign_by_shape` for the anchors of the level.
        is_free: [E] True where the box without anchor takes the object.
    """
    free = cells._replace(anchor=np.full_like(cells.anchor, shape[1] - 1)).flat(shape)
    own = cells.flat(shape)
    taken = np.where(is_free, free, own)
    positive, last = _last_of_each(taken)
    # Both are guided to the object, whichever of them takes it.
    both = np.stack([own, free], axis=1).reshape(-1)
    guided, of_guided = _last_of_each(both)
    guided_obj = cells.obj[of_guided // 2]
    box_obj = guided_obj[np.searchsorted(guided, positive)]
    return GuidedTargets(taken, cells.obj, positive, cells.obj[last], box_obj, guided, guided_obj)


def _last_of_each(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values without repeats, rising, and the index of the last of each."""
    found, from_end = np.unique(values[::-1], return_index=True)
    return found, len(values) - 1 - from_end


def shape_overlap(size_wh: np.ndarray, other_wh: np.ndarray) -> np.ndarray:
    """IoU of boxes [N, 2] and [N, 2] with the same center, [N]."""
    common = np.minimum(size_wh, other_wh).prod(axis=1)
    return common / (size_wh.prod(axis=1) + other_wh.prod(axis=1) - common)


def best_anchor_overlap(size_wh: np.ndarray, anchors_wh: np.ndarray) -> np.ndarray:
    """The largest IoU of each size [N, 2] with anchors [M, 2], [N]."""
    return wh_iou_matrix(size_wh, anchors_wh).max(axis=1, initial=0)
