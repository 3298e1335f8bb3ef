"""Images of what a data check found: the boxes in question, large enough to be seen."""

from __future__ import annotations

from typing import Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.doctor.catalog import Finding
from ppdet_lite.data.doctor.check import Check
from ppdet_lite.data.doctor.survey import Split
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.report.page import Tile

SIDE = 460
"""Longer side of an image on the page, in pixels."""

MARK, SECOND, OTHER = "#ff2d55", "#ffd60a", "#22d3ee"
"""Colors of the box in question, of a second one, and of the others."""

_LEAST_SEEN = 14  # a box of fewer pixels on the page gets a ring
_LEAST_CROP = 96
_AROUND = 3.0  # side of the crop around a small box, in sides of the box


def finding_tile(done: Check, finding: Finding, name: str, title: str) -> Optional[Tile]:
    """The image of a finding; None for one without an image that can be read."""
    try:
        if finding.row is None:
            if finding.kind not in ("stray_image", "unlabeled"):
                return None
            image = _fit(decode_image(finding.file), SIDE)[0]
        else:
            image = _draw(done, finding)
    except ImageError:
        return None
    jpeg = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return Tile(name, jpeg.tobytes(), title, _caption(done, finding))


def _caption(done: Check, finding: Finding) -> str:
    text = f"{finding.split}: {finding.text}" if finding.split else finding.text
    if finding.boxes and finding.kind != "box_two_classes":
        split = done.survey_split(finding.split)
        text += f" ({split.class_names[split.annotations.classes[finding.boxes[0]]]})"
    return text


def _draw(done: Check, finding: Finding) -> np.ndarray:
    split = done.survey_split(finding.split)
    assert finding.row is not None
    first = _with_boxes(split, finding.row, finding.boxes)
    place = _place_of(done, finding.other) if finding.other else None
    if place is None:
        return first
    second = _with_boxes(*place, ())
    height = min(first.shape[0], second.shape[0])
    pair = [_to_height(image, height) for image in (first, second)]
    gap = np.full((height, 8, 3), 255, np.uint8)
    return np.hstack([pair[0], gap, pair[1]])


def _to_height(image: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _place_of(done: Check, file: str) -> Optional[tuple[Split, int]]:
    for split in done.survey.splits:
        for row in range(len(split)):
            if split.file(row) == file:
                return split, row
    return None


def _with_boxes(split: Split, row: int, marked: tuple[int, ...]) -> np.ndarray:
    """The image, cut to the surroundings of the marked boxes where these are small."""
    image, given = decode_image(split.file(row)), split.annotations.boxes_xyxy
    boxes = np.clip(np.nan_to_num(given), -1e6, 1e6)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    corners = np.hstack([low, high])
    marked = tuple(place for place in marked if np.isfinite(given[place]).all())
    left, top, right, bottom = _window(image.shape[:2], corners[list(marked)])
    canvas = np.full((bottom - top, right - left, 3), 235, np.uint8)  # outside of the image
    height, width = image.shape[:2]
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    at = max(-top, 0), max(-left, 0)
    canvas[at[0] : at[0] + inside.shape[0], at[1] : at[1] + inside.shape[1]] = inside
    canvas, scale = _fit(canvas, SIDE)
    others = [place for place in split.boxes_of(row) if place not in marked]
    colors = dict(zip(marked, (MARK, SECOND)))
    for place in [*others, *marked]:
        box = (corners[place] - (left, top, left, top)) * scale
        _draw_box(canvas, box, colors.get(place, OTHER), 2 if place in colors else 1)
    return canvas


def _draw_box(canvas: np.ndarray, box: np.ndarray, color: str, width: int) -> None:
    """A rectangle; the second of two equal ones would hide the first, and is drawn inside."""
    inset = 3 if color == SECOND else 0
    rgb = tuple(int(color[at : at + 2], 16) for at in (1, 3, 5))
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    corners = (x1 + inset, y1 + inset), (x2 - inset, y2 - inset)
    cv2.rectangle(canvas, *corners, rgb, width, cv2.LINE_AA)
    if width > 1 and min(x2 - x1, y2 - y1) < _LEAST_SEEN:
        radius = max(x2 - x1, y2 - y1) // 2 + _LEAST_SEEN
        cv2.circle(canvas, ((x1 + x2) // 2, (y1 + y2) // 2), radius, rgb, width, cv2.LINE_AA)


def _window(size_hw: tuple[int, int], marked: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 to show: the image and marked boxes that reach over its border, or the
    surroundings of small ones.
    """
    height, width = size_hw
    if not len(marked):
        return 0, 0, width, height
    x1, y1 = marked[:, :2].min(axis=0)
    x2, y2 = marked[:, 2:].max(axis=0)
    side = max(_AROUND * max(x2 - x1, y2 - y1), _LEAST_CROP)
    is_inside = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
    if is_inside and side < 0.6 * max(size_hw):
        center = (x1 + x2) / 2, (y1 + y2) / 2
        left, top = round(center[0] - side / 2), round(center[1] - side / 2)
        left = max(min(left, width - round(side)), 0)
        top = max(min(top, height - round(side)), 0)
        return left, top, min(left + round(side), width), min(top + round(side), height)
    most = max(size_hw)  # a box may be far away: show no more than twice the image
    left, top = round(max(min(x1, 0), -most / 2)), round(max(min(y1, 0), -most / 2))
    right = round(min(max(x2, width), width + most / 2))
    return left, top, right, round(min(max(y2, height), height + most / 2))


def _fit(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image with its longer side at `side` pixels, and the factor."""
    scale = side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method), scale
