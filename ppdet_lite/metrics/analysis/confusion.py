"""Which class is taken for which, or for background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.matching import Matches

_IOU = 0.5


def confusion_matrix(boxes: Boxes, matches: Matches, thresholds: Sequence[float]) -> np.ndarray:
    """Counts int64 [classes + 1, classes + 1]: rows are labels, columns detections. The last row
    and column are background: detections of nothing, labels without a detection.

    Detections below the threshold of their class are left out. Those of the right class are matched
    first, the others then with the labels that are left, the highest IoU first, all at IoU 0.5.
    Ignored labels and detections do not count.
    """
    labels, found = boxes.labels, boxes.found
    background = len(boxes.class_names)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    is_kept = found.scores >= np.asarray(thresholds, np.float64)[found.classes]
    right = matches.is_right() & is_kept
    np.add.at(matrix, (found.classes[right], found.classes[right]), 1)
    is_left = ~labels.is_ignored
    is_left[matches.labels[0][right]] = False
    wrong = matches.is_wrong() & is_kept
    for own, theirs in boxes.by_image():
        rows = theirs.start + np.flatnonzero(wrong[theirs])
        left = own.start + np.flatnonzero(is_left[own])
        overlap = boxes.overlaps(own, theirs)[np.ix_(rows - theirs.start, left - own.start)]
        for row, column in _pairs(overlap):
            matrix[labels.classes[left[column]], found.classes[rows[row]]] += 1
            is_left[left[column]] = wrong[rows[row]] = False
    matrix[background] += np.bincount(found.classes[wrong], minlength=background + 1)
    matrix[:, background] += np.bincount(labels.classes[is_left], minlength=background + 1)
    return matrix


def _pairs(overlap: np.ndarray) -> list[tuple[int, int]]:
    """Rows and columns that belong together, the highest IoU first."""
    pairs, rows, columns = [], set(), set()
    order = np.argsort(-overlap, axis=None, kind="stable")
    for place in order[: int((overlap >= _IOU).sum())].tolist():
        row, column = divmod(place, overlap.shape[1])
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs
