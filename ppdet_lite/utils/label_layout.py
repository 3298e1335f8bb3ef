"""Places of labels on an image, so that they hide neither each other nor small objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

from ppdet_lite.utils.text import text_size

Size = tuple[int, int]
"""Height and width of an image in pixels."""

MOST_HIDDEN = 0.25
"""Largest share of another object that a label may hide; its text is made shorter before."""

_MIN_TEXT_PX = 8
_MIN_SHRUNK_TEXT_PX = 6
_CROWD = 12  # with more objects the text becomes smaller


class Label(NamedTuple):
    """A text with its box in pixels; `baseline` is the room below the text's base line."""

    text: str
    text_px: float
    width: int
    height: int
    baseline: int
    pad: int
    x: int = 0
    y: int = 0

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def overlap(self, other: Label) -> int:
        """Shared area in square pixels."""
        return int(_overlaps(np.array(self.box), np.array([other.box]))[0])


class Named(NamedTuple):
    """A name and what follows it, as a score."""

    name: str
    end: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.end}".strip()


def extent(size_hw: Size) -> float:
    """One length for the size of an image: the geometric mean of its sides, limited for strips."""
    return float(min((size_hw[0] * size_hw[1]) ** 0.5, 2 * min(size_hw)))


def place_labels(
    size_hw: Size, boxes_xyxy: np.ndarray, classes: Sequence[int], texts: Sequence[Named]
) -> list[Optional[Label]]:
    """A label for each box, the first of which have the choice.

    A label stands above, below, beside or, in a large box, inside of its box: where it hides the
    smallest shares of other objects and no other label. Where it would hide an object all the same
    its text is shortened to the name, and left out if the class has a label elsewhere: the color of
    the box tells the class then.

    Args:
        boxes_xyxy: [N, 4] in pixels.
        classes: index of each box.
    """
    labels: list[Optional[Label]] = []
    taken: list[Label] = []
    shown: set[int] = set()
    for row, (class_id, text) in enumerate(zip(classes, texts)):
        text_px = _text_px(size_hw, boxes_xyxy[row], len(texts))
        label, hidden = _best(fit_label(size_hw, text, text_px), row, boxes_xyxy, taken, size_hw)
        if hidden > MOST_HIDDEN and text.end and text.name:
            short = fit_label(size_hw, Named(text.name), text_px)
            label, hidden = _best(short, row, boxes_xyxy, taken, size_hw)
        if hidden > MOST_HIDDEN and class_id in shown:
            labels.append(None)
            continue
        shown.add(class_id)
        labels.append(label)
        taken.append(label)
    return labels


def _text_px(size_hw: Size, box_xyxy: np.ndarray, count: int) -> float:
    """Height of the letters: by the size of the image, smaller on small boxes and in crowds."""
    size = extent(size_hw)
    area = float((box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1]))
    side: float = max(area, 1.0) ** 0.5
    of_box: float = min(max((side / (0.12 * size)) ** 0.5, 0.65), 1.0)
    of_crowd: float = min(max((_CROWD / max(count, 1)) ** 0.25, 0.75), 1.0)
    return min(max(_MIN_TEXT_PX, size / 42 * of_box * of_crowd), max(size_hw[0] / 2.5, 3))


def _best(
    label: Label, row: int, boxes: np.ndarray, taken: Sequence[Label], size_hw: Size
) -> tuple[Label, float]:
    """The label at its best place, and the largest share of an object or label that it hides."""
    places = [_inside(label, x, y, size_hw) for x, y in _places(label, boxes[row])]
    others = np.delete(boxes, row, axis=0)
    labels = np.array([other.box for other in taken], np.float64).reshape(-1, 4)
    best, least, most = places[0], np.inf, 0.0
    for order, place in enumerate(places):
        box = np.array(place.box, np.float64)
        shares = np.concatenate([_hidden(box, others), _hidden(box, labels)])
        own = float(_hidden(box, boxes[row : row + 1])[0])
        # A box that it lies in loses little; many boxes of which it hides a bit count together.
        cost = float(shares.sum()) + float(shares[len(others) :].sum()) + own + 0.01 * order
        if cost < least:
            best, least, most = place, cost, float(shares.max(initial=0.0))
    return best, most


def _places(label: Label, box_xyxy: np.ndarray) -> list[tuple[float, float]]:
    """Top-left corners that a label may take, best first."""
    x1, y1, x2, y2 = box_xyxy
    left, right = x1 - label.width, x2 - label.width
    above, low = y1 - label.height, y2 - label.height
    places = [(x1, above), (x1, y1), (x1, y2), (x2, y1), (left, y1), (right, above)]
    places += [(x2, low), (left, low), (x1, low), (right, y2)]
    return places[1:] if above < 0 else places


def _hidden(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of each of the other boxes [N, 4] that a box covers."""
    areas = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(axis=1)
    return np.asarray(_overlaps(box, others) / np.maximum(areas, 1.0))


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1))


def _inside(label: Label, x: float, y: float, size_hw: Size) -> Label:
    """`label` at (x, y), moved so that it lies inside the image."""
    x = min(max(round(x), 0), max(size_hw[1] - label.width, 0))
    y = min(max(round(y), 0), max(size_hw[0] - label.height, 0))
    return label._replace(x=int(x), y=int(y))


def fit_label(size_hw: Size, text: Named, text_px: float) -> Label:
    """A label not wider than the image: if need be in smaller letters, then cut short."""
    width = size_hw[1]
    name, end = text
    label = _measure(str(text), text_px)
    if label.width > width:
        text_px = max(text_px * width / label.width * 0.97, min(_MIN_SHRUNK_TEXT_PX, text_px))
        label = _measure(str(text), text_px)
    while label.width > width and name:
        name = name[:-1]
        label = _measure(f"{name}. {end}".strip() if name else end, text_px)
    if label.width > width:
        label = _measure(end, text_px * width / label.width * 0.9)
    return label


def _measure(text: str, text_px: float) -> Label:
    width, height, baseline = text_size(text, text_px)
    pad = max(1, round(text_px / 6))
    return Label(text, text_px, width + 2 * pad, height + baseline + 2 * pad, baseline, pad)
