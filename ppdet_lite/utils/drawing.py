"""Images of detections: boxes in class colors with labels, numpy and OpenCV only.

Everything drawn follows the size of the image, so that boxes and labels can be read on 64 px and on
6000 px alike.
"""

import colorsys
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.utils.detection_rows import class_name, confident_rows

Size = tuple[int, int]
"""Height and width of an image in pixels."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# OpenCV 5 draws any Unicode text, earlier versions draw question marks for everything beyond ASCII.
_DRAWS_UNICODE = int(cv2.__version__.split(".")[0]) >= 5
_MIN_TEXT_PX = 8
_MIN_SHRUNK_TEXT_PX = 6


def class_color(class_id: int) -> tuple[int, int, int]:
    """RGB color of a class, well apart for neighboring class numbers: hues follow the golden angle,
    saturation and brightness alternate.
    """
    hue = (0.02 + class_id * 0.618033988749895) % 1.0
    saturation = (0.95, 0.65, 0.85)[class_id % 3]
    value = (1.0, 0.95, 0.72, 0.85)[class_id % 4]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def text_color(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever stands out more on `background` (RGB): WCAG 2's luminance."""
    linear = [
        (c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


class _Label(NamedTuple):
    """A text with its box in pixels; `baseline` is the room below the text's base line."""

    text: str
    scale: float
    thickness: int
    width: int
    height: int
    baseline: int
    pad: int
    x: int = 0
    y: int = 0

    def overlap(self, other: "_Label") -> int:
        """Shared area in square pixels."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(width, 0) * max(height, 0)


def draw_detections(
    image_rgb: np.ndarray,
    bbox: np.ndarray,
    class_names: Sequence[str],
    threshold: float = 0.5,
    *,
    min_side: int = 0,
) -> np.ndarray:
    """A copy of an image with boxes in class colors and labels "name 0.87".

    Args:
        image_rgb: uint8 [H, W, 3].
        bbox: [M, 6] class index, score, x1, y1, x2, y2 in pixels.
        class_names: by class index.
        threshold: detections with a lower score are not drawn.
        min_side: smaller images are first enlarged by a whole factor until their longer side has
            so many pixels, to make labels readable. 0 keeps the size.
    """
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
        raise ValueError(
            f"expected a uint8 image [H, W, 3], got {image_rgb.dtype} {list(image_rgb.shape)}"
        )
    factor = max(-(-min_side // max(image_rgb.shape[:2])), 1)
    height, width = (factor * side for side in image_rgb.shape[:2])
    canvas = np.ascontiguousarray(image_rgb).copy()
    if factor > 1:
        canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_CUBIC)
    rows = confident_rows(bbox, threshold)
    rows[:, 2:] *= factor
    labels = _place_labels((height, width), rows, class_names)
    # The most confident detection is drawn last, on top; all boxes before all labels, so no line
    # crosses a text.
    for row in rows[::-1]:
        _draw_box(canvas, row)
    for row, label in zip(rows[::-1], labels[::-1]):
        _draw_label(canvas, label, class_color(int(row[0])))
    return canvas


def line_width(size_hw: Size) -> int:
    """Width in pixels of the lines of a box."""
    return max(1, round(_extent(size_hw) / 320))


def _extent(size_hw: Size) -> float:
    """One length for the size of an image: the geometric mean of its sides, limited for strips."""
    return float(min((size_hw[0] * size_hw[1]) ** 0.5, 2 * min(size_hw)))


def _draw_box(canvas: np.ndarray, row: np.ndarray) -> None:
    size_hw = canvas.shape[:2]
    limits = np.tile(np.array(size_hw[::-1]) - 1, 2)
    x1, y1, x2, y2 = np.clip(np.rint(row[2:]), 0, limits).astype(int).tolist()
    cv2.rectangle(canvas, (x1, y1), (x2, y2), class_color(int(row[0])), line_width(size_hw))


def _place_labels(size_hw: Size, rows: np.ndarray, class_names: Sequence[str]) -> list[_Label]:
    """A label per row; each takes the first of its places that covers no earlier label."""
    labels: list[_Label] = []
    for row in rows:
        class_id, score = int(row[0]), row[1]
        name = class_name(class_names, class_id)
        if not _DRAWS_UNICODE and not name.isascii():
            name = f"class {class_id}"
        label = _fit_label(size_hw, name, f"{score:.2f}")
        places = [_inside(label, x, y, size_hw) for x, y in _corners(label, row[2:])]
        covered = [sum(place.overlap(other) for other in labels) for place in places]
        labels.append(places[int(np.argmin(covered))])
    return labels


def _corners(label: _Label, box_xyxy_px: np.ndarray) -> list[tuple[float, float]]:
    """Top-left corners that a label may take, best first."""
    x1, y1, x2, y2 = box_xyxy_px
    above = y1 - label.height
    places = [(x1, above), (x1, y1), (x1, y2), (x1, y2 - label.height), (x2 - label.width, above)]
    return places[1:] if above < 0 else places


def _inside(label: _Label, x: float, y: float, size_hw: Size) -> _Label:
    """`label` at (x, y), moved so that it lies inside the image."""
    x = min(max(round(x), 0), max(size_hw[1] - label.width, 0))
    y = min(max(round(y), 0), max(size_hw[0] - label.height, 0))
    return label._replace(x=int(x), y=int(y))


def _fit_label(size_hw: Size, name: str, score: str) -> _Label:
    """A label in the text size of the image; if too wide, in smaller letters, then cut short."""
    height, width = size_hw
    text_px = min(max(_MIN_TEXT_PX, _extent(size_hw) / 42), max(height / 2.5, 3))
    label = _measure(f"{name} {score}", text_px)
    if label.width > width:
        text_px = max(text_px * width / label.width * 0.97, min(_MIN_SHRUNK_TEXT_PX, text_px))
        label = _measure(f"{name} {score}", text_px)
    while label.width > width and name:
        name = name[:-1]
        label = _measure(f"{name}. {score}" if name else score, text_px)
    if label.width > width:
        label = _measure(score, text_px * width / label.width * 0.9)
    return label


def _measure(text: str, text_px: float) -> _Label:
    """Size of a label whose capital letters are about `text_px` high."""
    scale = max(text_px / 22.0, 0.05)
    thickness = max(1, round(text_px / 11))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(1, round(text_px / 6))
    size = (width + 2 * pad, height + baseline + 2 * pad)
    return _Label(text, scale, thickness, *size, baseline, pad)


def _draw_label(canvas: np.ndarray, label: _Label, color: tuple[int, int, int]) -> None:
    corner = (label.x + label.width - 1, label.y + label.height - 1)
    cv2.rectangle(canvas, (label.x, label.y), corner, color, cv2.FILLED)
    base = (label.x + label.pad, label.y + label.height - label.pad - label.baseline)
    style = (_FONT, label.scale, text_color(color), label.thickness, cv2.LINE_AA)
    cv2.putText(canvas, label.text, base, *style)
