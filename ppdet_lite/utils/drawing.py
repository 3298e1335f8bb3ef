"""Images of detections: boxes in class colors with labels.

Everything drawn follows the size of the image, so that boxes and labels can be read on 64 px and on
6000 px alike.
"""

import colorsys
import functools
from typing import NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.utils.detection_rows import Threshold, class_name, confident_rows
from ppdet_lite.utils.label_layout import (
    Label,
    Named,
    Size,
    extent,
    fit_label,
    place_labels,
)
from ppdet_lite.utils.logger import get_logger
from ppdet_lite.utils.text import FONT_VARIABLE, can_draw, put_text, text_size

_PANEL, _INK = (255, 255, 255), (31, 39, 51)
_MOST_LETTERS = 40
"""Of a label's name; what is longer ends in three points."""


class DrawStyle(NamedTuple):
    """The parts of a drawing.

    Attributes:
        labels: write the class beside each box; without it, boxes alone.
        scores: write the score behind the class.
        numbers: write only a number beside each box; a list at the right of the image tells class
            and score of each. For crowds.
    """

    labels: bool = True
    scores: bool = True
    numbers: bool = False


FULL_STYLE = DrawStyle()


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


def draw_detections(
    image_rgb: np.ndarray,
    bbox: np.ndarray,
    class_names: Sequence[str],
    threshold: Threshold = 0.5,
    *,
    min_side: int = 0,
    style: DrawStyle = FULL_STYLE,
) -> np.ndarray:
    """A copy of an image with boxes in class colors and labels "name 0.87".

    Labels keep off small objects and other labels, see `place_labels`; lines of small boxes are
    thin.

    Args:
        image_rgb: uint8 [H, W, 3].
        bbox: [M, 6] class index, score, x1, y1, x2, y2 in pixels.
        class_names: by class index. Names with letters that cannot be drawn here become "class 7",
            see `utils.text`.
        threshold: detections with a lower score are not drawn.
        min_side: smaller images are first enlarged by a whole factor until their longer side has
            so many pixels, to make labels readable. 0 keeps the size.
        style: the parts to draw; with `numbers` the image becomes wider.
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
    # Small boxes are drawn last, on top; all boxes before all labels, so no line crosses a text.
    areas = np.clip(rows[:, 4:] - rows[:, 2:4], 0, None).prod(axis=1)
    for row in rows[np.argsort(-areas, kind="stable")]:
        _draw_box(canvas, row)
    if not style.labels:
        return canvas
    texts = [_text(row, class_names, style) for row in rows]
    beside = [Named("", str(n)) for n in range(1, len(texts) + 1)] if style.numbers else texts
    classes = [int(row[0]) for row in rows]
    labels = place_labels((height, width), rows[:, 2:], classes, beside)
    for row, label in zip(rows[::-1], labels[::-1]):
        if label is not None:
            _draw_label(canvas, label, class_color(int(row[0])))
    return _with_list(canvas, texts, classes) if style.numbers and texts else canvas


def line_width(size_hw: Size, side: Optional[float] = None) -> int:
    """Width in pixels of the lines of boxes; thinner for one whose shorter `side` is small."""
    width = max(1, round(extent(size_hw) / 320))
    return width if side is None else min(width, max(1, round(side / 16)))


def _text(row: np.ndarray, class_names: Sequence[str], style: DrawStyle) -> Named:
    name = class_name(class_names, int(row[0]))
    if not can_draw(name):
        _warn_of_letters()
        name = f"class {int(row[0])}"
    if len(name) > _MOST_LETTERS:
        name = name[: _MOST_LETTERS - 3] + "..."
    return Named(name, f"{row[1]:.2f}" if style.scores else "")


@functools.cache
def _warn_of_letters() -> None:
    """Once, however many names there are."""
    get_logger().warning(
        'class names with letters that no font here has are drawn as "class 7"; %s names a font '
        "file (with OpenCV 4 the extra `fonts` is needed too)",
        FONT_VARIABLE,
    )


def _draw_box(canvas: np.ndarray, row: np.ndarray) -> None:
    size_hw = canvas.shape[0], canvas.shape[1]
    limits = np.tile(np.array(size_hw[::-1]) - 1, 2)
    x1, y1, x2, y2 = np.clip(np.rint(row[2:]), 0, limits).astype(int).tolist()
    width = line_width(size_hw, min(row[4] - row[2], row[5] - row[3]))
    cv2.rectangle(canvas, (x1, y1), (x2, y2), class_color(int(row[0])), width)


def _draw_label(canvas: np.ndarray, label: Label, color: tuple[int, int, int]) -> None:
    corner = (label.x + label.width - 1, label.y + label.height - 1)
    cv2.rectangle(canvas, (label.x, label.y), corner, color, cv2.FILLED)
    base = (label.x + label.pad, label.y + label.height - label.pad - label.baseline)
    put_text(canvas, label.text, base, label.text_px, text_color(color))


def _with_list(canvas: np.ndarray, texts: Sequence[Named], classes: Sequence[int]) -> np.ndarray:
    """The image with a list "3 person 0.87" at its right, in as many columns as needed."""
    height = canvas.shape[0]
    text_px = max(8.0, extent(canvas.shape[:2]) / 48)
    line = max(round(text_px * 2.1), 1)
    in_column = max(height // line, 1)
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    mark = max(fit_label((height, 10**6), Named("", n), text_px).width for n in numbers)
    column = mark + round(text_px) + max(text_size(str(text), text_px).width for text in texts)
    gap = max(round(text_px), 2)
    columns = -(-len(texts) // in_column)
    panel = np.full((height, columns * (column + gap) + gap, 3), _PANEL, np.uint8)
    for place, (number, text, class_id) in enumerate(zip(numbers, texts, classes)):
        x, y = gap + place // in_column * (column + gap), place % in_column * line
        label = fit_label((height, 10**6), Named("", number), text_px)._replace(x=x, y=y + 2)
        _draw_label(panel, label, class_color(class_id))
        base = (x + mark + gap // 2, y + 2 + label.height - label.pad - label.baseline)
        put_text(panel, str(text), base, text_px, _INK)
    return np.hstack([canvas, panel])
