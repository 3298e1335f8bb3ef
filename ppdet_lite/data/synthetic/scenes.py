"""Scenes drawn by program: vivid shapes over muted grounds, with their labels.

Overlaps, objects cut by the border and images without objects occur. Each kind has a typical hue
with a wide spread. The box of an object is the bounds of its outline inside the image, whether or
not another object covers a part of it.
"""

from typing import Any, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.data.synthetic import shapes

NEGATIVE_SHARE = 0.05
MIN_OBJECTS, MAX_OBJECTS = 2, 9
DIAMETER_RANGE = (0.12, 0.5)
"""Smallest and largest object as a share of the image side; drawn evenly on a log scale."""
MIN_INSIDE = 0.65
"""At least this share of an object's area lies within the image."""
MIN_VISIBLE = 0.65
"""At least this share of an object's pixels stays uncovered by later objects."""


class _Object(NamedTuple):
    kind: str
    diameter: float
    contours: list[np.ndarray]


def draw_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One image of `size` x `size` pixels with its labels; all choices come from `rng`.

    Returns:
        uint8 [size, size, 3] RGB, and a list of dicts with `kind`, `bbox` (x, y, width, height in
        pixels), `area`, `segmentation` (the outline inside the image) and `iscrowd` 0.
    """
    canvas = shapes.background(rng, size)
    wanted = 0 if rng.random() < NEGATIVE_SHARE else int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    owner = np.full((size, size), -1, np.int32)  # which object shows at each pixel
    solid_areas: list[int] = []
    labels: list[dict[str, Any]] = []
    for _ in range(wanted):
        item = _free_place(rng, size, owner, solid_areas)
        if item is None:
            continue
        alpha = shapes.coverage(item.contours, size, size)
        solid = alpha > 0.5
        owner[solid] = len(labels)
        solid_areas.append(int(solid.sum()))
        _paint(rng, canvas, alpha, item)
        labels.append(_label(item, size))
    return shapes.camera(rng, canvas), labels


def _free_place(
    rng: np.random.Generator, size: int, owner: np.ndarray, solid_areas: list[int]
) -> Optional[_Object]:
    """A random object that leaves enough visible of itself and of those drawn before; None when
    thirty tries found no place.
    """
    low, high = np.log(DIAMETER_RANGE)
    for _ in range(30):
        kind = str(rng.choice(list(shapes.OUTLINES)))
        diameter = size * float(np.exp(rng.uniform(low, high)))
        center, angle = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi)
        contours = shapes.place(shapes.OUTLINES[kind](rng), center, diameter, angle)
        inside = shapes.clip_polygon(contours[0], size, size)
        if shapes.polygon_area(inside) < MIN_INSIDE * shapes.polygon_area(contours[0]):
            continue
        free = owner[shapes.coverage(contours, size, size) <= 0.5]
        visible = np.bincount(free[free >= 0], minlength=len(solid_areas))
        if all(shown >= MIN_VISIBLE * area for shown, area in zip(visible, solid_areas)):
            return _Object(kind, diameter, contours)
    return None


def _paint(rng: np.random.Generator, canvas: np.ndarray, alpha: np.ndarray, item: _Object) -> None:
    """Draws one object into the canvas, in place: surface, sometimes a dark or light rim."""
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    under, alpha = canvas[window], alpha[window]
    color = shapes.object_color(rng, item.kind)
    surface = shapes.fill(rng, color, alpha.shape[:2], item.diameter)
    if rng.random() < 0.35:
        width = max(3, int(item.diameter * rng.uniform(0.06, 0.12)) | 1)
        inner = cv2.erode(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
        rim = color * rng.choice([0.35, 0.55, 1.5])
        surface = surface * inner[..., None] + rim * (1 - inner[..., None])
    surface = np.clip(surface, 0, 255)
    canvas[window] = under * (1 - alpha[..., None]) + surface * alpha[..., None]


def _label(item: _Object, size: int) -> dict[str, Any]:
    """COCO fields of an object; a ring's segmentation is its outer outline."""
    outline = np.round(shapes.clip_polygon(item.contours[0], size, size), 2)
    left, top = outline.min(axis=0)
    width, height = outline.max(axis=0) - (left, top)
    return {
        "kind": item.kind,
        "bbox": [round(float(v), 2) for v in (left, top, width, height)],
        "area": round(shapes.polygon_area(outline), 2),
        "segmentation": [[float(v) for v in outline.ravel()]],
        "iscrowd": 0,
    }
