"""Rectangles of whole pixels, images placed on a canvas, and their weighted sum."""

from typing import Any, NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.data.pixels.color import TRUNCATE, LevelMap

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
        return Rect(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def cut(self, other: "Rect") -> "Rect":
        """The part of this rectangle inside `other`; empty ones have width or height 0."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Rect(
            left,
            top,
            max(min(self.right, other.right), left),
            max(min(self.bottom, other.bottom), top),
        )

    def holds(self, other: "Rect") -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def scaled(self, fx: float, fy: float) -> "Rect":
        """In pixels of another size, edges rounded to whole ones."""
        edges = (self.left * fx, self.top * fy, self.right * fx, self.bottom * fy)
        return Rect(*(int(edge + 0.5) for edge in edges))

    def reduced(self, reduction: int, size_hw) -> "Rect":
        """In pixels of the image at 1/reduction, which has `size_hw` (height, width).

        Edges are rounded to whole pixels there, so they move by at most half of one. Never empty.
        """
        if reduction == 1:
            return self
        half = reduction // 2
        left, top = (
            min((edge + half) // reduction, side - 1)
            for edge, side in zip((self.left, self.top), size_hw[::-1])
        )
        right, bottom = (
            max(min((edge + half) // reduction, side), start + 1)
            for edge, side, start in zip((self.right, self.bottom), size_hw[::-1], (left, top))
        )
        return Rect(left, top, right, bottom)

    def window(self, array: np.ndarray) -> np.ndarray:
        return array[self.top : self.bottom, self.left : self.right]


class Layer(NamedTuple):
    """One image on the canvas.

    Attributes:
        source: see `ppdet_lite.data.pixels.pixel_source`.
        part: the rectangle of the source that is used.
        place: where that part lies on the canvas, same size.
        weight: its share in the blend.
    """

    source: Any
    part: Rect
    place: Rect
    weight: float

    def cut(self, window: Rect) -> "Layer":
        place = self.place.cut(window)
        dx, dy = self.part.left - self.place.left, self.part.top - self.place.top
        return self._replace(part=place.moved(dx, dy), place=place)

    def moved(self, dx: int, dy: int) -> "Layer":
        return self._replace(place=self.place.moved(dx, dy))


class Piece(NamedTuple):
    """Pixels uint8 [h, w, 3], where they lie, and their share in the blend."""

    pixels: np.ndarray
    place: Rect
    weight: float


def blend(out: np.ndarray, pieces: Sequence[Piece]) -> None:
    """Write the weighted sum of the pieces over black into `out` [H, W, 3]."""
    covers = Rect(0, 0, out.shape[1], out.shape[0])
    for cell in _cells(covers, [piece.place for piece in pieces]):
        inside = [
            (cell.moved(-piece.place.left, -piece.place.top).window(piece.pixels), piece.weight)
            for piece in pieces
            if piece.place.holds(cell)
        ]
        _sum_into(cell.window(out), inside)


def _cells(area: Rect, rects) -> list[Rect]:
    """`area` cut along the edges of `rects`, so that each rectangle covers whole cells."""
    xs = sorted({area.left, area.right, *(x for r in rects for x in (r.left, r.right))})
    ys = sorted({area.top, area.bottom, *(y for r in rects for y in (r.top, r.bottom))})
    return [
        Rect(left, top, right, bottom)
        for top, bottom in zip(ys[:-1], ys[1:])
        for left, right in zip(xs[:-1], xs[1:])
    ]


def _sum_into(out: np.ndarray, parts) -> None:
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
        total = sum(pixels.astype(np.float32) * weight for pixels, weight in parts)
        out[:] = np.clip(total + 1e-3, 0, 255).astype(np.uint8)
