"""One list of detections from those of several views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.ops.boxes_np import coverage_matrix, iou_matrix

CUT_SHARE = 0.7
"""A cut box goes if so much of it lies in a larger box of its class that crosses the border."""
CUT_SCORE = 0.2
"""... and that has this share of its score at least: weak boxes do not remove good ones."""

_OUTWARD = np.array([-1, -1, 1, 1], np.float32)


@dataclass(frozen=True)
class Merge:
    """Greedy NMS of each class over the detections of all views.

    First those boxes go that a tile cuts: they end near its inner border, and most of them lies in
    a larger one that goes on behind it. So an object that lies in several tiles is found once, and
    whole. All pairs are compared, so that the order of scores does not matter. Then the NMS: an
    object near a border that two tiles see whole keeps the better box.

    Args:
        threshold: boxes that overlap a better one by more go.
        metric: `iou`, or `ios`: the common area over that of the smaller box.
        vote: a box that stays becomes the mean, weighted by scores, of those of its class that it
            removes (box voting, Gidaris and Komodakis, arXiv:1505.01749).
        most: detections of an image.
    """

    threshold: float = 0.6
    metric: Literal["iou", "ios"] = "iou"
    vote: bool = False
    most: int = 300

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            found = f"found {self.threshold}, allowed: more than 0, at most 1"
            raise ConfigError(f"`match_threshold`: {found}")

    def __call__(self, rows: np.ndarray, borders: np.ndarray) -> np.ndarray:
        """Detections [M, 6] of all views to those that stay, the best first.

        Args:
            rows: class, score, x1, y1, x2, y2.
            borders: the inner borders [M, 4] that may cut them, see `View.to_image`.
        """
        kept = [
            self._of_class(rows[rows[:, 0] == label], borders[rows[:, 0] == label])
            for label in np.unique(rows[:, 0])
        ]
        merged = np.concatenate([np.zeros((0, 6), np.float32), *kept])
        return merged[np.argsort(-merged[:, 1], kind="stable")][: self.most].astype(np.float32)

    def _of_class(self, rows: np.ndarray, borders: np.ndarray) -> np.ndarray:
        order = np.argsort(-rows[:, 1], kind="stable")
        rows, borders = rows[order], borders[order]
        boxes = rows[:, 2:]
        overlap, inside = iou_matrix(boxes, boxes), coverage_matrix(boxes, boxes)
        if self.metric == "ios":
            overlap = np.maximum(inside, inside.T)
        alive, found = ~_is_part(rows, borders, inside), []
        for place in range(len(rows)):
            if not alive[place]:
                continue
            same = alive & (overlap[place] > self.threshold)
            same[: place + 1] = False
            alive &= ~same
            row = rows[place].copy()
            if self.vote and same.any():
                group = np.append(np.flatnonzero(same), place)
                row[2:] = np.average(rows[group, 2:], axis=0, weights=rows[group, 1])
            found.append(row)
        return np.array(found).reshape(-1, 6)


def _is_part(rows: np.ndarray, borders: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """True [M] for cut boxes most of which lies in a larger one that goes on behind the border.

    Args:
        rows, borders: of one class.
        inside: share [M, M] of each box in each other.
    """
    outward, scores = rows[:, 2:] * _OUTWARD, rows[:, 1]
    cut = np.flatnonzero(~np.isnan(borders).all(axis=1))
    ends = (borders[cut] * _OUTWARD)[:, None]
    crossed = (outward > ends).any(axis=2)  # comparisons with NaN are False
    as_good = scores >= CUT_SCORE * scores[cut, None]
    larger = inside.T[cut] < inside[cut]  # two parts of one object do not remove each other
    part = np.zeros(len(rows), bool)
    part[cut] = (crossed & larger & (inside[cut] > CUT_SHARE) & as_good).any(axis=1)
    return part
