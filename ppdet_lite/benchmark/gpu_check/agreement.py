"""Detections of an engine beside those of the network in float32 on the CPU."""

from typing import NamedTuple, Sequence

import numpy as np


class Tolerance(NamedTuple):
    """By how much a detection may differ and still be the same.

    Attributes:
        score: of its score.
        px, side_share: of each corner, in pixels and in shares of the longer side.
        matched: share of the detections that have to be the same. NMS decides by comparing; a tie
            that falls the other way changes whole boxes, however exact the network.
    """

    score: float
    px: float
    side_share: float
    matched: float


TOLERANCES = {
    "fp32": Tolerance(1e-3, 0.1, 5e-4, 0.999),
    "tf32": Tolerance(1e-2, 1.0, 1e-2, 0.95),
    "fp16": Tolerance(1e-2, 1.0, 1e-2, 0.95),
    "int8": Tolerance(0.2, 8.0, 0.1, 0.5),
}
"""By precision. FP16 keeps 11 bits of a number, TF32 as many; a network of 100 layers loses about 3
of them. INT8 (Paddle's) is a coarse check that the ranges fit: its loss is one of AP. Of INT8 files
see `roundings`."""


class Agreement(NamedTuple):
    """The result for all photos.

    Attributes:
        matched, total: detections of the reference that have a partner, and all of them.
        extra: detections without a partner in the reference.
        score, px: largest differences between partners.
    """

    matched: int
    total: int
    extra: int
    score: float
    px: float

    def holds(self, tolerance: Tolerance) -> bool:
        """True if the engine finds what the reference finds, and there was something to find."""
        most_extra = max(1, round((1 - tolerance.matched) * self.total))
        return (
            self.total > 0
            and self.matched >= tolerance.matched * self.total > 0
            and (self.extra <= most_extra)
        )

    def __str__(self) -> str:
        found = f"{self.matched} of {self.total}, {self.extra} extra"
        return f"{found}; score {self.score:.1g}, {self.px:.2g} px"


def compare(
    references: Sequence[np.ndarray], found: Sequence[np.ndarray], tolerance: Tolerance
) -> Agreement:
    """Matches detections [M, 6] (class, score, x1, y1, x2, y2) photo by photo.

    The lowest of a photo do not count, as far as scores of partners differ, too: where the list is
    cut, near-ties fall either way.

    Raises:
        ValueError: values that are no numbers, or another number of photos.
    """
    if len(references) != len(found):
        raise ValueError(f"found detections of {len(found)} photos, expected {len(references)}")
    if not all(np.isfinite(rows).all() for rows in found):
        raise ValueError("found detections that are no numbers")
    matched, total, extra, scores, pixels = 0, 0, 0, [0.0], [0.0]
    for expected, rows in zip(references, found):
        pairs = _partners(expected, rows, tolerance)
        lowest = [array[:, 1].min() for array in (expected, rows) if len(array)]
        gaps = [abs(float(expected[i, 1] - rows[j, 1])) for i, j in pairs]
        limit = max(lowest, default=0.0) + 2 * (np.quantile(gaps, 0.95) if gaps else 0.0)
        counts = expected[:, 1] > limit
        total += int(counts.sum())
        matched += sum(bool(counts[i]) for i, _ in pairs)
        alone = np.setdiff1d(np.arange(len(rows)), [j for _, j in pairs])
        extra += int((rows[alone, 1] > limit).sum())
        scores += gaps
        pixels += [float(np.abs(expected[i, 2:] - rows[j, 2:]).max()) for i, j in pairs]
    return Agreement(matched, total, extra, max(scores), max(pixels))


def _partners(
    expected: np.ndarray, rows: np.ndarray, tolerance: Tolerance
) -> list[tuple[int, int]]:
    """Pairs of one class within the tolerance, the best scores choosing first."""
    free, pairs = np.ones(len(rows), bool), []
    for i in np.argsort(-expected[:, 1], kind="stable"):
        row = expected[i]
        side = max(row[4] - row[2], row[5] - row[3], 0.0)
        gap = np.abs(rows[:, 2:] - row[2:]).max(axis=1, initial=0.0)
        score_gap = np.abs(rows[:, 1] - row[1])
        close = free & (rows[:, 0] == row[0]) & (score_gap <= tolerance.score)
        close &= gap <= tolerance.px + tolerance.side_share * side
        if close.any():
            choices = np.flatnonzero(close)
            j = int(choices[np.argmin((gap + score_gap)[close])])
            free[j] = False
            pairs.append((int(i), j))
    return pairs
