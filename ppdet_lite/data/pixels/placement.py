"""Rectangles of whole pixels, images placed on a canvas, and their weighted sum."""

import functools
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.data.pixels.color import TRUNCATE, LevelMap
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.pixel_source import PixelSource

BLEND_COST = 0.9
"""Nanoseconds per pixel of `blend`, on the processor of `resampling.resize_cost`."""


class Rect(NamedTuple):
    """Whole-pixel rectangle; right and bottom lie outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return max(self.right - self.left, 0)

    @property
    def height(self) -> int:
        return max(self.bottom - self.top, 0)

    @property
    def area(self) -> int:
        return self.width * self.height

    def moved(self, dx: int, dy: int) -> "Rect":
        """`dx` to the right and `dy` down."""
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def cut(self, other: "Rect") -> "Rect":
        """The part of this rectangle inside `other`; empty ones have width or height 0."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Rect(left, top, max(right, left), max(bottom, top))

    def scaled(self, fx: float, fy: float) -> "Rect":
        """In pixels of another size, edges rounded to whole ones."""
        left, top, right, bottom = self
        edges = (left * fx, top * fy, right * fx, bottom * fy)
        return Rect(*(int(edge + 0.5) for edge in edges))

    def reduced(self, reduction: int, size_hw: SizeHW) -> "Rect":
        """In pixels of the image at 1/reduction, which has `size_hw` (height, width).

        Edges are rounded to whole pixels there, so they move by at most half of one. Never empty.
        """
        if reduction == 1:
            return self
        left, top, right, bottom = ((edge + reduction // 2) // reduction for edge in self)
        left, top = min(left, size_hw[1] - 1), min(top, size_hw[0] - 1)
        right, bottom = min(right, size_hw[1]), min(bottom, size_hw[0])
        return Rect(left, top, max(right, left + 1), max(bottom, top + 1))

    def window(self, array: np.ndarray) -> np.ndarray:
        """The view of `array` [H, W, ...] that it covers."""
        return array[self.top : self.bottom, self.left : self.right]


class Layer(NamedTuple):
    """One image on the canvas.

    Attributes:
        part: the rectangle of the source that is used.
        place: where that part lies on the canvas, same size.
        weight: its share in the blend.
    """

    source: PixelSource
    part: Rect
    place: Rect
    weight: float

    def cut(self, window: Rect) -> "Layer":
        """The part of it that a window of the canvas shows."""
        place = self.place.cut(window)
        dx, dy = self.part.left - self.place.left, self.part.top - self.place.top
        return self._replace(part=place.moved(dx, dy), place=place)

    def moved(self, dx: int, dy: int) -> "Layer":
        """At another place of the canvas."""
        return self._replace(place=self.place.moved(dx, dy))


def blend(out: np.ndarray, pieces: Sequence[tuple[np.ndarray, Rect, float]]) -> None:
    """Write the weighted sum of the pieces (pixels [h, w, 3], their place, their share) over black
    into `out` [H, W, 3].
    """
    # Cut along the edges of the pieces, so that each piece covers whole cells.
    places = [Rect(0, 0, out.shape[1], out.shape[0]), *(place for _, place, _ in pieces)]
    xs = sorted({x for place in places for x in (place.left, place.right)})
    ys = sorted({y for place in places for y in (place.top, place.bottom)})
    for top, bottom in zip(ys[:-1], ys[1:]):
        for left, right in zip(xs[:-1], xs[1:]):
            cell = Rect(left, top, right, bottom)
            inside = [
                (cell.moved(-place.left, -place.top).window(pixels), weight)
                for pixels, place, weight in pieces
                if cell.cut(place) == cell
            ]
            _sum_into(cell.window(out), inside)


def _sum_into(out: np.ndarray, parts: Sequence[tuple[np.ndarray, float]]) -> None:
    """out = sum of weight * pixels, fractions cut off; black without parts."""
    if not parts:
        out[:] = 0
    elif len(parts) == 1:
        pixels, weight = parts[0]
        LevelMap(weight).apply(pixels, out)
    elif len(parts) == 2:
        (first, weight_a), (second, weight_b) = parts
        cv2.addWeighted(first, weight_a, second, weight_b, TRUNCATE, dst=out)
    else:
        total = functools.reduce(np.add, (p.astype(np.float32) * weight for p, weight in parts))
        out[:] = np.clip(total + 1e-3, 0, 255).astype(np.uint8)
