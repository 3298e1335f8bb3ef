"""Images of a report: boxes with names on a photo, or on the part of it that matters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.utils.drawing import class_color, text_color
from ppdet_lite.utils.text import put_text, text_size

Color = tuple[int, int, int]

_TEXT_PX = 9
_LEAST_CROP, _AROUND = 72, 2.4
_MOST_NAMES = 40
_DASH = 7


class Mark(NamedTuple):
    """A box to draw: x1, y1, x2, y2 in pixels of the photo, RGB, and its name."""

    box_xyxy_px: np.ndarray
    color: Color
    text: str = ""
    width: int = 2
    is_dashed: bool = False


def corners_of(box_xywh_px: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 of a box x, y, width, height."""
    corners: np.ndarray = np.concatenate([box_xywh_px[:2], box_xywh_px[:2] + box_xywh_px[2:]])
    return corners


def class_mark(box_xyxy_px: np.ndarray, index: int, text: str) -> Mark:
    """A box in the color of its class."""
    return Mark(box_xyxy_px, class_color(index), text)


def read_photo(path: Optional[Path]) -> Optional[np.ndarray]:
    """uint8 RGB [H, W, 3]; None where the file is not known or cannot be read any more."""
    try:
        return decode_image(path) if path is not None else None
    except ImageError:
        return None


def draw_marks(
    image_rgb: np.ndarray, marks: Sequence[Mark], side: int, around: Optional[np.ndarray] = None
) -> np.ndarray:
    """The photo with its longer side at `side` pixels and boxes on it.

    Args:
        marks: drawn in this order; of more than 40 no name is written.
        around: a box x1, y1, x2, y2; only its surroundings are shown.
    """
    left, top, right, bottom = 0, 0, image_rgb.shape[1], image_rgb.shape[0]
    if around is not None:
        left, top, right, bottom = _window(image_rgb.shape[:2], around)
    part = image_rgb[top:bottom, left:right]
    scale = side / max(part.shape[:2])
    size = [max(1, round(length * scale)) for length in part.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.ascontiguousarray(cv2.resize(part, size, interpolation=method))
    shown = [
        mark._replace(box_xyxy_px=(mark.box_xyxy_px - [left, top, left, top]) * scale)
        for mark in marks
    ]
    for mark in shown:
        _draw_box(canvas, mark)
    for mark in shown if len(shown) <= _MOST_NAMES else ():
        _draw_name(canvas, mark)
    return canvas


def side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two images of the same size, with a gap."""
    return np.hstack([first, np.full((first.shape[0], 6, 3), 255, np.uint8), second])


def as_jpeg(image_rgb: np.ndarray) -> bytes:
    """The image as the bytes of a JPEG."""
    _, data = cv2.imencode(".jpg", image_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 84])
    return data.tobytes()


def _window(size_hw: Sequence[int], box: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of a square around a box, moved into the photo."""
    x1, y1, x2, y2 = box.tolist()
    side = round(max(_AROUND * max(x2 - x1, y2 - y1), _LEAST_CROP))
    ends = []
    for low, high, length in ((x1, x2, size_hw[1]), (y1, y2, size_hw[0])):
        start = min(max(round((low + high - side) / 2), 0), max(length - side, 0))
        ends.append((start, min(start + side, length)))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _draw_box(canvas: np.ndarray, mark: Mark) -> None:
    x1, y1, x2, y2 = np.clip(np.rint(mark.box_xyxy_px), -8, max(canvas.shape) + 8).astype(int)
    corners = [(int(x), int(y)) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    for start, end in zip(corners, [*corners[1:], corners[0]]):
        if mark.is_dashed:
            _dashed(canvas, start, end, mark)
        else:
            cv2.line(canvas, start, end, mark.color, mark.width, cv2.LINE_AA)


def _dashed(canvas: np.ndarray, start: tuple[int, int], end: tuple[int, int], mark: Mark) -> None:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for at in range(0, length, 2 * _DASH):
        stop = min(at + _DASH, length)
        first, last = (
            tuple(round(a + (b - a) * place / length) for a, b in zip(start, end))
            for place in (at, stop)
        )
        cv2.line(canvas, first, last, mark.color, mark.width, cv2.LINE_AA)


def _draw_name(canvas: np.ndarray, mark: Mark) -> None:
    """The name above the box, or inside it where there is no room."""
    if not mark.text:
        return
    width, height, base = text_size(mark.text, _TEXT_PX)
    x = int(np.clip(mark.box_xyxy_px[0] - 1, 0, max(canvas.shape[1] - width - 4, 0)))
    y = int(mark.box_xyxy_px[1]) - 3
    if y - height - 3 < 0:
        y = int(max(mark.box_xyxy_px[1], 0)) + height + 5
    corner = (x + width + 4, y + base - 1)
    cv2.rectangle(canvas, (x, y - height - 3), corner, mark.color, cv2.FILLED)
    put_text(canvas, mark.text, (x + 2, y), _TEXT_PX, text_color(mark.color))
