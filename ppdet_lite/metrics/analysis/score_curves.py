"""Precision, recall and F1 over the score threshold, and the best threshold of each class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.matching import Matches

DEFAULT_THRESHOLD = 0.5
"""The threshold of a class that has no labels or no right detection."""


class ScoreCurve(NamedTuple):
    """One class at IoU 0.5, a point per distinct score from high to low: the detections that have
    at least this score.

    Attributes:
        scores, precision, recall: float64 [P].
        labels: number of labels to find.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    labels: int

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, [P]."""
        total = self.precision + self.recall
        f1: np.ndarray = 2 * self.precision * self.recall / np.where(total > 0, total, 1)
        return f1

    def best(self) -> int:
        """The point with the highest F1, -1 if that is 0 everywhere."""
        f1 = self.f1
        return int(f1.argmax()) if f1.max(initial=0) > 0 else -1

    def threshold(self) -> float:
        """The score threshold with the highest F1, between the last score that it keeps and the
        next one; `DEFAULT_THRESHOLD` where F1 is 0 everywhere.
        """
        best = self.best()
        if best < 0:
            return DEFAULT_THRESHOLD
        lowest = float(self.scores[best])
        below = self.scores[best + 1 : best + 2].tolist()
        return (lowest + below[0]) / 2 if below else lowest

    def at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and F1 at any thresholds; precision is NaN where nothing is kept."""
        kept = np.searchsorted(-self.scores, -thresholds, side="right")
        precision = np.append(np.nan, self.precision)[kept]
        recall, f1 = (np.append(0.0, values)[kept] for values in (self.recall, self.f1))
        return precision, recall, f1


def score_curves(boxes: Boxes, matches: Matches) -> list[ScoreCurve]:
    """The curve of every class."""
    right, wrong = matches.is_right(), matches.is_wrong()
    curves = []
    for index in range(len(boxes.class_names)):
        mine = np.flatnonzero((boxes.found.classes == index) & (right | wrong))
        mine = mine[np.argsort(-boxes.found.scores[mine], kind="stable")]
        scores, count = boxes.found.scores[mine], int(matches.counts[0, index])
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(mine) else mine
        hits = np.cumsum(right[mine])[ends]
        curves.append(ScoreCurve(scores[ends], hits / (ends + 1), hits / max(count, 1), count))
    return curves


def best_thresholds(boxes: Boxes, matches: Matches) -> list[float]:
    """For every class the score threshold with the highest F1 at IoU 0.5, four digits."""
    return [round(curve.threshold(), 4) for curve in score_curves(boxes, matches)]
