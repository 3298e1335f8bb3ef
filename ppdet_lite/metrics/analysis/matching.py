"""Matches of detections with labels by the rules of COCO's metric, and its AP, in numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ppdet_lite.metrics.analysis.box_tables import Boxes

IOUS = np.arange(10) * 0.05 + 0.5
"""The IoUs of AP."""
RANGES = {"all": (0.0, 1e10), "small": (0.0, 1024.0), "medium": (1024.0, 9216.0)}
RANGES["large"] = (9216.0, 1e10)
"""Areas in square pixels, both ends included."""
RECALLS = np.linspace(0.0, 1.0, 101)


class Matches(NamedTuple):
    """The label of each detection. A setting is an IoU within a range of sizes; settings 0 to 9 are
    those of all sizes, 0 is IoU 0.5.

    Attributes:
        labels: int32 [settings, M], place of the matched label, -1 without one.
        is_ignored: bool [settings, M], counts neither as right nor as wrong.
        counts: int64 [ranges, classes], labels to find.
    """

    labels: np.ndarray
    is_ignored: np.ndarray
    counts: np.ndarray

    def is_right(self, setting: int = 0) -> np.ndarray:
        """True [M] for detections that found an object."""
        right: np.ndarray = (self.labels[setting] >= 0) & ~self.is_ignored[setting]
        return right

    def is_wrong(self, setting: int = 0) -> np.ndarray:
        """True [M] for detections of nothing, and for those of an object found before."""
        wrong: np.ndarray = (self.labels[setting] < 0) & ~self.is_ignored[setting]
        return wrong


def match(boxes: Boxes, ranges: tuple[str, ...] = ("all",)) -> Matches:
    """Matches the detections of each class, best score first: each takes the free label of its
    class with the highest IoU.

    Args:
        ranges: keys of RANGES, "all" first; labels and unmatched detections of other sizes are
            ignored.
    """
    labels, found = boxes.labels, boxes.found
    limits = np.array([RANGES[name] for name in ranges])
    areas = found.boxes_xywh_px[:, 2] * found.boxes_xywh_px[:, 3]
    ignored = labels.is_ignored | _outside(labels.areas, limits)  # [ranges, N]
    minimum = np.tile(np.minimum(IOUS, 1 - 1e-10), len(ranges))[:, None]
    taken = np.full((len(minimum), len(found.scores)), -1, np.int32)
    for own, theirs in boxes.by_image():
        if own.stop == own.start or theirs.stop == theirs.start:
            continue
        ious = boxes.overlaps(own, theirs)
        ious[found.classes[theirs, None] != labels.classes[own]] = -1
        is_ignored = np.repeat(ignored[:, own], len(IOUS), axis=0)
        crowd = labels.is_crowd[own]
        free = np.ones(is_ignored.shape, bool)
        for row in np.flatnonzero(ious.max(axis=1) >= minimum[0]).tolist():
            fits = (ious[row] >= minimum) & (free | crowd)
            best = _last_best(ious[row], fits & ~is_ignored)
            best = np.where(best < 0, _last_best(ious[row], fits & is_ignored), best)
            hit = np.flatnonzero(best >= 0)
            free[hit, best[hit]] = False
            taken[hit, theirs.start + row] = own.start + best[hit]
    is_ignored = np.repeat(_outside(areas, limits), len(IOUS), axis=0) & (taken < 0)
    for setting, own_labels in enumerate(taken):
        matched = own_labels >= 0
        is_ignored[setting, matched] = ignored[setting // len(IOUS), own_labels[matched]]
    counts = [
        np.bincount(labels.classes[~row], minlength=len(boxes.class_names)) for row in ignored
    ]
    return Matches(taken, is_ignored, np.array(counts))


def average_precisions(boxes: Boxes, matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """AP [settings, classes] and highest recall [settings, classes]; NaN for a class without labels
    to find in that range of sizes.
    """
    classes, scores = boxes.found.classes, boxes.found.scores
    precision = np.full((len(matches.labels), len(boxes.class_names)), np.nan)
    recall = precision.copy()
    for index in range(len(boxes.class_names)):
        mine = np.flatnonzero(classes == index)
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        is_hit, is_ignored = matches.labels[:, mine] >= 0, matches.is_ignored[:, mine]
        for setting in range(len(matches.labels)):
            if count := int(matches.counts[setting // len(IOUS), index]):
                right = is_hit[setting] & ~is_ignored[setting]
                wrong = ~is_hit[setting] & ~is_ignored[setting]
                precision[setting, index] = average_precision(right, wrong, count)
                recall[setting, index] = right.sum() / count
    return precision, recall


def average_precision(right: np.ndarray, wrong: np.ndarray, count: int) -> float:
    """COCO's AP: the mean of the best precision at 101 recalls.

    Args:
        right, wrong: bool [M], best score first. count: labels to find, at least 1.
    """
    hits = np.cumsum(right, dtype=np.float64)
    recall = hits / count
    precision = hits / (hits + np.cumsum(wrong) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(envelope, 0.0)[np.minimum(places, len(recall))].mean())


def _outside(areas: np.ndarray, limits: np.ndarray) -> np.ndarray:
    outside: np.ndarray = (areas < limits[:, :1]) | (areas > limits[:, 1:])
    return outside


def _last_best(ious: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """In each row of `allowed` [settings, N] the place of the highest IoU, the last of equal ones;
    -1 where nothing is allowed.
    """
    values = np.where(allowed, ious, -1.0)[:, ::-1]
    place = values.shape[1] - 1 - values.argmax(axis=1)
    found: np.ndarray = np.where(allowed.any(axis=1), place, -1)
    return found
