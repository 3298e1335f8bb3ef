"""The assignment of objects to anchors by shape, as darknet's YOLOv4 makes it.

An object belongs to the anchor, of all levels, whose shape overlaps it best, and also to every
other one whose overlap exceeds a threshold: to the cell of its center, on one level or several.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Objects(NamedTuple):
    """Objects of B images, image after image: [N] each, boxes_cxcywh [N, 4] as fractions.

    `place` numbers the objects of an image.
    """

    images: int
    image: np.ndarray
    place: np.ndarray
    boxes_cxcywh: np.ndarray
    label: np.ndarray

    def table(self) -> np.ndarray:
        """The boxes per image, [B, P, 4] with zeros after the last; P is 1 or more."""
        found = np.zeros((self.images, self.place.max(initial=0) + 1, 4), np.float32)
        found[self.image, self.place] = self.boxes_cxcywh
        return found

    def number(self, image: np.ndarray, place: np.ndarray) -> np.ndarray:
        """The rows of objects that are given by image and place."""
        return np.searchsorted(self.image, image) + place


class Cells(NamedTuple):
    """Objects in cells of a level, [E] each, in the order of time; later ones come on top.

    `obj` counts the rows of `Objects`, the rest is a place in [B, A, H, W].
    """

    obj: np.ndarray
    image: np.ndarray
    anchor: np.ndarray
    row: np.ndarray
    column: np.ndarray

    def flat(self, shape: tuple[int, int, int, int]) -> np.ndarray:
        """The cells as numbers in an array of `shape`, [B, A, H, W]."""
        return np.ravel_multi_index(self[1:], shape)


def padded_objects(
    boxes_cxcywh: np.ndarray, labels: np.ndarray, scores: np.ndarray, num_classes: int
) -> tuple[Objects, np.ndarray]:
    """The objects among padded rows [B, P, 4] and [B, P] or [B, P, 1], and their scores [N].

    As in darknet, the first row whose x is 0 ends an image, and rows of other classes do not count.
    Neither do rows without area or score.
    """
    labels, scores = (rows.reshape(boxes_cxcywh.shape[:2]) for rows in (labels, scores))
    valid = np.logical_and.accumulate(boxes_cxcywh[..., 0] != 0, axis=1)
    valid &= (boxes_cxcywh[..., 2:] > 0).all(axis=2) & (scores > 0)
    valid &= (labels >= 0) & (labels < num_classes)
    image, row = np.nonzero(valid)
    place = (valid.cumsum(axis=1) - 1)[image, row]
    boxes = boxes_cxcywh[image, row].astype(np.float32)
    objects = Objects(len(labels), image, place, boxes, labels[image, row])
    return objects, scores[image, row].astype(np.float32)


def assign_by_shape(
    objects: Objects,
    anchors_wh: np.ndarray,
    mask: Sequence[int],
    grid_hw: tuple[int, int],
    iou_thresh: float,
) -> Cells:
    """The cells of one level that the objects belong to.

    Args:
        anchors_wh: all anchors as fractions of the network input, [N, 2] float32.
        mask: those of the level.
        grid_hw: rows and columns of the level.
        iou_thresh: other anchors than the best one count above it; 1 for none.
    """
    size, (height, width) = objects.boxes_cxcywh[:, None, 2:], grid_hw
    common = np.minimum(size, anchors_wh).prod(axis=2)
    union = size.prod(axis=2) + anchors_wh.prod(axis=1) - common
    iou = common / union
    taken = iou > iou_thresh if iou_thresh < 1 else np.zeros(iou.shape, bool)
    if len(iou):
        taken[np.arange(len(iou)), iou.argmax(axis=1)] = True
    obj, anchor = np.nonzero(taken[:, list(mask)])
    center = objects.boxes_cxcywh[obj, :2] * np.array([width, height], np.float32)
    # A center on the far border belongs to the last cell.
    column, row = np.clip(center.astype(np.int64), 0, [width - 1, height - 1]).T
    return Cells(obj, objects.image[obj], anchor, row, column)
