"""Putting annotated boxes in order: what can be repaired is repaired, the rest dropped, and all of
it counted.
"""

from typing import Callable, NamedTuple

import numpy as np

MIN_SIDE_PX = 1e-3
"""A box with a shorter side counts as one of zero area."""
CLIP_TOLERANCE_PX = 0.5
"""Boxes that leave the image by no more are clipped without being counted: annotators round."""

DROPPED = {
    "non_finite": "with NaN or infinite coordinates",
    "zero_area": "of zero area",
    "outside": "outside the image",
    "crowd": "crowd",
}
REPAIRED = {"inverted": "inverted", "clipped": "clipped to the image"}


class CleanedBoxes(NamedTuple):
    """Result of `clean_boxes`.

    Attributes:
        boxes_xyxy: float32 [N, 4], all N boxes; only rows with `keep` are meaningful.
        keep: bool [N].
        rows: reason -> indices of the boxes it concerns; the keys of DROPPED and REPAIRED.
    """

    boxes_xyxy: np.ndarray
    keep: np.ndarray
    rows: dict[str, np.ndarray]


def clean_boxes(boxes_xyxy: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> CleanedBoxes:
    """Repairs or drops boxes.

    Corners in the wrong order are swapped, boxes that reach over the border are clipped; boxes with
    NaN, without area or wholly outside the image are dropped.

    Args:
        boxes_xyxy: float [N, 4] in pixels; not changed.
        widths, heights: size of each box's image, [N].
    """
    finite = np.isfinite(boxes_xyxy).all(axis=1)
    boxes = np.where(finite[:, None], boxes_xyxy, 0.0)
    inverted = finite & (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    empty = finite & (high - low <= MIN_SIDE_PX).any(axis=1)
    size = np.stack([widths, heights], axis=1)
    inside_low, inside_high = np.clip(low, 0, size), np.clip(high, 0, size)
    outside = finite & ~empty & (inside_high - inside_low <= MIN_SIDE_PX).any(axis=1)
    keep = finite & ~empty & ~outside
    moved = np.maximum(np.abs(inside_low - low), np.abs(inside_high - high)).max(axis=1, initial=0)
    masks = {
        "non_finite": ~finite,
        "zero_area": empty,
        "outside": outside,
        "inverted": keep & inverted,
        "clipped": keep & (moved > CLIP_TOLERANCE_PX),
    }
    rows = {reason: np.flatnonzero(mask) for reason, mask in masks.items()}
    return CleanedBoxes(np.hstack([inside_low, inside_high]).astype(np.float32), keep, rows)


def describe(rows: dict[str, np.ndarray], name_of: Callable[[int], str]) -> str:
    """One line about what was dropped and repaired, with a first example each; "" for nothing.

    Args:
        rows: reason -> box rows, as in `CleanedBoxes`.
        name_of: from a box row to the file it belongs to.
    """
    parts = []
    for title, reasons in (("dropped", DROPPED), ("repaired", REPAIRED)):
        found = [
            f"{len(rows[reason])} {text} (first: {name_of(int(rows[reason][0]))})"
            for reason, text in reasons.items()
            if len(rows.get(reason, ()))
        ]
        if found:
            parts.append(f"{title} {', '.join(found)}")
    return f"boxes: {'; '.join(parts)}" if parts else ""
