"""Checks of boxes."""

from collections.abc import Iterator
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.doctor.catalog import Finding
from ppdet_lite.data.doctor.survey import Split
from ppdet_lite.data.sources.box_cleaning import check_units, clean_boxes, repeated_rows
from ppdet_lite.ops.boxes_np import iou_matrix

NETWORK_SIDE, TINY_SIDE = 640, 2.0
HUGE_SHARE = 0.98
DOUBLED_IOU = 0.9
_MOST_BOXES = 1000
"""Images with more boxes of one class are not searched for boxes on one another."""

_TEXTS = {
    "box_not_finite": "box {box}",
    "box_zero_area": "box {box}: {width:g} x {height:g} pixels",
    "box_outside": "box {box} in an image of {image}",
    "box_inverted": "box {box}: the right or lower corner comes first",
    "box_clipped": "box {box} reaches {over:.4g} pixels over the border of an image of {image}",
    "box_tiny": "{width:.3g} x {height:.3g} pixels in an image of {image}",
    "box_huge": "{share:.1%} of an image of {image}",
    "box_repeated": "box {box} is there twice",
}


def true_sizes(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of every image: of the labels, and of the file where they have none."""
    images = split.annotations.images
    files = np.array([fact.size_hw for fact in split.facts], np.int64).reshape(-1, 2)
    is_open = (images.widths <= 0) | (images.heights <= 0)
    widths, heights = (
        np.where(is_open, files[:, side], given)
        for side, given in ((1, images.widths), (0, images.heights))
    )
    return widths, heights


def are_shares(split: Split) -> bool:
    """True if all boxes are given as shares of the image, not in pixels."""
    try:
        widths = split.annotations.images.widths
        check_units("", split.annotations.boxes_xyxy, int(widths.max(initial=0)))
    except DataError:
        return True
    return False


def box_findings(split: Split) -> Iterator[Finding]:
    """All problems of the boxes of a split."""
    notes = split.annotations
    rows = notes.image_rows
    widths, heights = (side[rows] for side in true_sizes(split))
    size = np.stack([widths, heights], axis=1)
    scale = np.hstack([size, size]) if are_shares(split) else 1.0
    given = notes.boxes_xyxy * scale
    boxes, keep, reasons = clean_boxes(given, widths, heights)
    sides = np.abs(given[:, 2:] - given[:, :2])
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / np.maximum(size.prod(axis=1), 1)
    shrunk = np.minimum(NETWORK_SIDE / np.maximum(size.max(axis=1), 1), 1.0)
    shortest = sides.min(axis=1) * shrunk
    over = np.maximum(-given, given - np.hstack([size, size])).max(axis=1)
    objects = keep & ~notes.crowd
    found = {f"box_{reason.replace('non_', 'not_')}": rows for reason, rows in reasons.items()}
    found["box_tiny"] = np.flatnonzero(objects & (shortest < TINY_SIDE))
    found["box_huge"] = np.flatnonzero(objects & (shares >= HUGE_SHARE))
    found["box_repeated"] = repeated_rows(rows, notes.classes, boxes, objects)
    ranks = {"box_clipped": over, "box_outside": over, "box_huge": shares, "box_tiny": -shortest}
    for kind, places in found.items():
        for box in places.tolist():
            text = _TEXTS[kind].format(
                box="(" + ", ".join(f"{value:.6g}" for value in given[box]) + ")",
                width=sides[box, 0],
                height=sides[box, 1],
                over=over[box],
                share=shares[box],
                image=f"{widths[box]} x {heights[box]}",
            )
            rank = float(ranks[kind][box]) if kind in ranks else 0.0
            yield _finding(kind, split, [box], text, rank)
    objects[found["box_repeated"]] = False
    yield from _pairs(split, boxes, objects)


def _pairs(split: Split, boxes: np.ndarray, objects: np.ndarray) -> Iterator[Finding]:
    """Boxes on one another: of two classes, and doubled ones of one class."""
    names, classes = split.class_names, split.annotations.classes
    for row in range(len(split)):
        places = split.boxes_of(row)
        places = places[objects[places]]
        if not 2 <= len(places) <= _MOST_BOXES:
            continue
        iou = np.triu(iou_matrix(boxes[places], boxes[places]), 1)
        for a, b in np.argwhere(iou >= DOUBLED_IOU):
            first, second = int(places[a]), int(places[b])
            kind = _pair_kind(boxes, classes, first, second)
            if kind:
                two = f"'{names[classes[first]]}' and '{names[classes[second]]}'"
                text = two if kind == "box_two_classes" else f"two of {two.split(' and ')[0]}"
                share = float(iou[a, b])
                yield _finding(kind, split, [first, second], f"{text}, IoU {share:.2f}", share)


def _pair_kind(boxes: np.ndarray, classes: np.ndarray, first: int, second: int) -> Optional[str]:
    if classes[first] == classes[second]:
        return "box_doubled"
    return "box_two_classes" if (boxes[first] == boxes[second]).all() else None


def _finding(kind: str, split: Split, boxes: list[int], text: str, rank: float) -> Finding:
    row = int(split.annotations.image_rows[boxes[0]])
    return Finding(kind, split.name, split.file(row), text, rank, row, tuple(boxes))
