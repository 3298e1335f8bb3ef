"""Labels that may be wrong: confident detections that disagree with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.error_types import (
    BACKGROUND_ERROR,
    CLASSIFICATION,
    LOCALIZATION,
    Errors,
)
from ppdet_lite.metrics.analysis.matching import Matches

SUSPICIONS = {
    "not labeled": BACKGROUND_ERROR,
    "another class": CLASSIFICATION,
    "another box": LOCALIZATION,
}
"""What may be wrong -> the kind of error of the detection that says so."""


class Suspect(NamedTuple):
    """A detection (place in `Boxes.found`), what it says, and the label (place in `Boxes.labels`)
    that it disagrees with, -1 for none.
    """

    found: int
    suspicion: str
    label: int


def label_suspects(
    boxes: Boxes, matches: Matches, errors: Errors, thresholds: Sequence[float]
) -> list[Suspect]:
    """The detections above the best threshold of their class at whose place nothing is labeled, or
    whose label has another class or another box and is found by no right detection above its own
    threshold; the most confident first.
    """
    found, limits = boxes.found, np.asarray(thresholds, np.float64)
    is_sure = found.scores >= limits[found.classes]
    is_found = np.zeros(len(boxes.labels.images) + 1, bool)  # the last stands for no label
    is_found[matches.labels[0][matches.is_right() & is_sure]] = True
    suspects = []
    for name, kind in SUSPICIONS.items():
        targets = errors.targets if kind != BACKGROUND_ERROR else np.full(len(found.scores), -1)
        rows = np.flatnonzero((errors.kinds == kind) & is_sure & ~is_found[targets])
        suspects += [Suspect(row, name, int(targets[row])) for row in rows.tolist()]
    return sorted(suspects, key=lambda suspect: -found.scores[suspect.found])
