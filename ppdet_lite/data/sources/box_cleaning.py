"""Puts annotated boxes in order: repairs what can be repaired, drops the rest, counts both."""

from typing import Callable

import numpy as np

from ppdet_lite.core.errors import DataError

MIN_SIDE_PX = 1e-3
"""A box with a shorter side counts as one of zero area."""
CLIP_TOLERANCE_PX = 0.5
"""Boxes that leave the image by no more are clipped without being counted: annotators round."""

DROPPED = {
    "non_finite": "with NaN or infinite coordinates",
    "zero_area": "of zero area",
    "outside": "outside the image",
    "crowd": "crowd",
    "repeated": "repeated (same image, class and corners)",
}
REPAIRED = {"inverted": "inverted", "clipped": "clipped to the image"}


def check_units(name: str, boxes_xyxy: np.ndarray, longest_side: int) -> None:
    """A DataError where all boxes, [N, 4], are given as shares of the image."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    boxes = boxes_xyxy[np.isfinite(boxes_xyxy).all(axis=1) & (sides != 0).any(axis=1)]
    if len(boxes) and longest_side > 2 and boxes.min() >= 0 and boxes.max() <= 1.01:
        raise DataError(
            f"{name}: all {len(boxes)} boxes lie between 0 and 1, as shares of the image do, "
            "allowed: pixels; multiply them by width and height of the image"
        )


def clean_boxes(
    boxes_xyxy: np.ndarray, widths: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Repairs or drops boxes, float [N, 4] in pixels of images with `widths` and `heights`, [N].

    Corners in the wrong order are swapped, boxes that reach over the border are clipped; boxes with
    NaN, without area or wholly outside the image are dropped.

    Returns:
        All boxes float32 [N, 4], of which only those with `keep`, bool [N], mean something; `keep`;
        for each reason of DROPPED and REPAIRED the rows that it concerns.
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
    return np.hstack([inside_low, inside_high]).astype(np.float32), keep, rows


def repeated_rows(
    image_rows: np.ndarray, classes: np.ndarray, boxes_xyxy: np.ndarray, keep: np.ndarray
) -> np.ndarray:
    """Rows, of those with `keep`, that an earlier row equals in image, class and corners."""
    rows = np.flatnonzero(keep)
    columns = np.column_stack([image_rows[rows], classes[rows], boxes_xyxy[rows].view(np.int32)])
    order = np.lexsort(columns.T)
    ordered = columns[order]  # lexsort is stable: the first of equal rows stays the first
    equal = (ordered[1:] == ordered[:-1]).all(axis=1)
    return np.sort(rows[order[1:][equal]])


def describe(rows: dict[str, np.ndarray], name_of: Callable[[int], str]) -> str:
    """One line about what was dropped and repaired, with the file (`name_of` a row) of a first
    example each; "" for nothing.
    """
    parts = []
    for title, reasons in (("dropped", DROPPED), ("repaired", REPAIRED)):
        found = [(rows[reason], text) for reason, text in reasons.items() if reason in rows]
        texts = [f"{len(r)} {text} (first: {name_of(int(r[0]))})" for r, text in found if len(r)]
        parts += [f"{title} {', '.join(texts)}"] if texts else []
    return f"boxes: {'; '.join(parts)}" if parts else ""
