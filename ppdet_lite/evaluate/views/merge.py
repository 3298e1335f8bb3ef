"""One list of detections from those of several views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.ops.boxes_np import coverage_matrix, iou_matrix

CUT_SHARE = 0.7
"""A cut box goes if so much of it lies in a box of its class that is whole."""


@dataclass(frozen=True)
class Merge:
    """Greedy NMS of each class over the detections of all views.

    Boxes that a tile cuts come after the others, and go where most of them lies in a box that
    stays; so an object that lies in several tiles is found once, and whole.

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

    def __call__(self, rows: np.ndarray, is_cut: np.ndarray) -> np.ndarray:
        """Detections [M, 6] of all views and which of them are cut [M] to those that stay, the best
        first.
        """
        kept = [
            self._of_class(rows[rows[:, 0] == label], is_cut[rows[:, 0] == label])
            for label in np.unique(rows[:, 0])
        ]
        merged = np.concatenate([np.zeros((0, 6), np.float32), *kept])
        return merged[np.argsort(-merged[:, 1], kind="stable")][: self.most].astype(np.float32)

    def _of_class(self, rows: np.ndarray, is_cut: np.ndarray) -> np.ndarray:
        order = np.lexsort([-rows[:, 1], is_cut])
        rows, is_cut = rows[order], is_cut[order]
        boxes = rows[:, 2:]
        overlap, inside = iou_matrix(boxes, boxes), coverage_matrix(boxes, boxes)
        if self.metric == "ios":
            overlap = np.maximum(inside, inside.T)
        alive, found = np.ones(len(rows), bool), []
        for place in range(len(rows)):
            if not alive[place]:
                continue
            same = alive & (overlap[place] > self.threshold)
            gone = same | (alive & is_cut & (inside[:, place] > CUT_SHARE))
            gone[: place + 1] = same[: place + 1] = False
            alive &= ~gone
            row = rows[place].copy()
            if self.vote and same.any():
                group = np.append(np.flatnonzero(same & ~is_cut), place)
                row[2:] = np.average(rows[group, 2:], axis=0, weights=rows[group, 1])
            found.append(row)
        return np.array(found).reshape(-1, 6)
