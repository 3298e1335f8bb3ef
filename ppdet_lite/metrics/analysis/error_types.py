"""Which kinds of errors cost how much AP: TIDE (Bolya et al., arXiv:2008.08115)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.matching import Matches, average_precision

FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoUs: from the first on a box is right, up to the second it lies on background."""

KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
"""The error types in the order of the paper; all but the last are those of detections."""
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND_ERROR, MISSED = range(6)


class Errors(NamedTuple):
    """Every error at IoU 0.5.

    Attributes:
        kinds: int8 [M], index into KINDS of every detection, -1 for right and ignored ones.
        targets: int32 [M], the label that a classification or localization error belongs to, the
            one that overlaps most for others, -1 without any.
        overlaps: float64 [M], IoU with it.
        is_missed: bool [N], labels that no detection found and no classification or localization
            error belongs to.
    """

    kinds: np.ndarray
    targets: np.ndarray
    overlaps: np.ndarray
    is_missed: np.ndarray

    def counts(self) -> list[int]:
        """Number of errors of each kind."""
        wrong = np.bincount(self.kinds[self.kinds >= 0], minlength=MISSED).tolist()
        return [*wrong, int(self.is_missed.sum())]


def find_errors(boxes: Boxes, matches: Matches) -> Errors:
    """The kind of every error, by section 2.2 of the paper: the first that fits of localization (a
    label of its class overlaps by 0.1 to 0.5), classification (one of another class by 0.5),
    duplicate (a found one of its class by 0.5), background (none by more than 0.1), and both.
    """
    labels, found = boxes.labels, boxes.found
    wrong = matches.is_wrong()
    kinds = np.full(len(found.scores), -1, np.int8)
    kinds[wrong] = BACKGROUND_ERROR
    targets, ious = np.full(len(kinds), -1, np.int32), np.zeros(len(kinds))
    for own, theirs in boxes.by_image():
        rows = np.flatnonzero(wrong[theirs])
        real = np.flatnonzero(~labels.is_ignored[own])
        if not len(rows) or not len(real):
            continue
        overlap = boxes.overlaps(own, theirs)[np.ix_(rows, real)]
        same = found.classes[theirs][rows, None] == labels.classes[own][real]
        kind, place = _kinds(overlap, same)
        rows += theirs.start
        kinds[rows] = kind
        ious[rows] = overlap[np.arange(len(rows)), place]
        targets[rows] = np.where(ious[rows] > 0, own.start + real[place], -1)
    is_missed = ~labels.is_ignored
    is_missed[matches.labels[0][matches.labels[0] >= 0]] = False
    is_missed[targets[(kinds == CLASSIFICATION) | (kinds == LOCALIZATION)]] = False
    return Errors(kinds, targets, ious, is_missed)


def _kinds(overlap: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinds [E] of errors and places [E] of their labels, from IoU and equality of classes [E, N].

    That a label is found already need not be asked: a wrong detection that overlaps one of its
    class by 0.5 is a duplicate, because a free one would have been its own.
    """
    best_same = np.where(same, overlap, -1).argmax(axis=1)
    best_other = np.where(same, -1, overlap).argmax(axis=1)
    best = overlap.argmax(axis=1)
    rows = np.arange(len(overlap))
    with_same = np.where(same.any(axis=1), overlap[rows, best_same], -1)
    with_other = np.where((~same).any(axis=1), overlap[rows, best_other], -1)
    conditions = [
        (with_same >= BACKGROUND) & (with_same < FOREGROUND),
        with_other >= FOREGROUND,
        with_same >= FOREGROUND,
        overlap[rows, best] <= BACKGROUND,
    ]
    kinds = np.select(
        conditions, [LOCALIZATION, CLASSIFICATION, DUPLICATE, BACKGROUND_ERROR], default=BOTH
    )
    places = np.select(conditions[:3], [best_same, best_other, best_same], default=best)
    return kinds, places


def error_costs(boxes: Boxes, matches: Matches, errors: Errors) -> tuple[float, list[float]]:
    """AP at IoU 0.5 and, for each kind, how much higher it is without the errors of that kind.

    A localization error gets the box, a classification error the class of its label, if nothing
    found the label and no error of a higher score, of either kind, can become it; the other errors
    vanish, and missed labels are no longer to be found. Section 2.3 of the paper.

    The mean is over the classes with labels, as pycocotools has it; `tidecv` counts a class that is
    only detected as 0.
    """
    right, wrong = matches.is_right(), matches.is_wrong()
    classes, counts = boxes.found.classes, matches.counts[0]
    base = _mean_ap(boxes, right, wrong, classes, counts)
    becomes_right = _best_of_labels(boxes, matches, errors)
    costs = []
    for kind in range(MISSED):
        chosen = np.flatnonzero(errors.kinds == kind)
        fixed_right, fixed_wrong, fixed_classes = right.copy(), wrong.copy(), classes.copy()
        fixed_wrong[chosen] = False
        if kind in (CLASSIFICATION, LOCALIZATION):
            chosen = chosen[becomes_right[chosen]]
            fixed_right[chosen] = True
            fixed_classes[chosen] = boxes.labels.classes[errors.targets[chosen]]
        fixed = _mean_ap(boxes, fixed_right, fixed_wrong, fixed_classes, counts)
        costs.append(fixed - base)
    missed = np.bincount(boxes.labels.classes[errors.is_missed], minlength=len(counts))
    costs.append(_mean_ap(boxes, right, wrong, classes, counts - missed) - base)
    return base, costs


def _best_of_labels(boxes: Boxes, matches: Matches, errors: Errors) -> np.ndarray:
    """True [M] for the classification or localization error of the highest score of each label
    that nothing found.
    """
    is_found = np.zeros(len(boxes.labels.images), bool)
    is_found[matches.labels[0][matches.is_right()]] = True
    rows = np.flatnonzero(np.isin(errors.kinds, (CLASSIFICATION, LOCALIZATION)))
    rows = rows[~is_found[errors.targets[rows]]]
    rows = rows[np.argsort(-boxes.found.scores[rows], kind="stable")]
    _, first = np.unique(errors.targets[rows], return_index=True)
    is_best = np.zeros(len(errors.kinds), bool)
    is_best[rows[first]] = True
    return is_best


def _mean_ap(
    boxes: Boxes, right: np.ndarray, wrong: np.ndarray, classes: np.ndarray, counts: np.ndarray
) -> float:
    """Mean over the classes with objects to find; 0 without any."""
    values = []
    for index in np.flatnonzero(counts > 0).tolist():
        mine = np.flatnonzero((classes == index) & (right | wrong))
        mine = mine[np.argsort(-boxes.found.scores[mine], kind="stable")]
        values.append(average_precision(right[mine], wrong[mine], int(counts[index])))
    return float(np.mean(values)) if values else 0.0
