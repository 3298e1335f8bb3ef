"""Annotations as a few flat arrays.

COCO train2017 has 118 thousand images and 860 thousand boxes. As Python objects they would take
over a gigabyte, and every worker process that touches them would copy them; flat arrays take some
tens of megabytes and are shared by forked workers.
"""

from array import array
from typing import Optional, Sequence

import numpy as np


class StringColumn:
    """A list of strings as one block of UTF-8 bytes."""

    def __init__(self, strings: Sequence[str]):
        encoded = [text.encode("utf-8", "surrogateescape") for text in strings]
        self._bytes = b"".join(encoded)
        self._offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=self._offsets[1:])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> str:
        start, end = self._offsets[index], self._offsets[index + 1]
        return self._bytes[start:end].decode("utf-8", "surrogateescape")


class PolygonColumn:
    """The polygons of every box: box row r owns the rings `first_ring[r]:first_ring[r + 1]`, ring k
    the points `first_point[k]:first_point[k + 1]`.

    Args:
        coordinates: x, y, x, y, ... of all rings in pixels.
        ring_points: number of points of every ring.
        box_rings: number of rings of every box.
    """

    def __init__(self, coordinates: array, ring_points: array, box_rings: array):
        self._points = np.array(coordinates, np.float32).reshape(-1, 2)
        self._first_point = _offsets(np.array(ring_points, np.int64))
        self._first_ring = _offsets(np.array(box_rings, np.int64))

    @property
    def is_empty(self) -> bool:
        """Whether no box has a polygon."""
        return len(self._points) == 0

    def of(self, row: int) -> list:
        """The polygons of a box: a list of float32 [K, 2], new arrays."""
        rings = range(self._first_ring[row], self._first_ring[row + 1])
        return [self._points[self._first_point[k] : self._first_point[k + 1]].copy() for k in rings]


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


class ImageTable:
    """One row per image.

    Attributes:
        files: path of the image as the annotations give it.
        ids: int64 [I]. widths, heights: int32 [I].
    """

    def __init__(self, files: Sequence[str], ids, widths, heights):
        self.files = StringColumn(files)
        self.ids = np.array(ids, np.int64)
        self.widths = np.array(widths, np.int32)
        self.heights = np.array(heights, np.int32)

    def __len__(self) -> int:
        return len(self.files)


class BoxTable:
    """One row per usable box, grouped by image.

    Attributes:
        boxes_xyxy: float32 [N, 4] in pixels. classes: int32 [N]. crowd, difficult: bool [N].
        source_rows: int64 [N], the row in the annotation file, which is the row of `polygons`.
        polygons: None when there are none.
    """

    def __init__(
        self,
        image_of: np.ndarray,
        image_count: int,
        boxes_xyxy: np.ndarray,
        classes: np.ndarray,
        crowd: np.ndarray,
        difficult: np.ndarray,
        keep: np.ndarray,
        polygons: Optional[PolygonColumn] = None,
    ):
        """All arguments but the last hold one row per annotation; those with `keep` False are left
        out.
        """
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(image_of[rows], kind="stable")]
        self.boxes_xyxy = np.ascontiguousarray(boxes_xyxy[rows], np.float32)
        self.classes = classes[rows].astype(np.int32)
        self.crowd = crowd[rows].astype(bool)
        self.difficult = difficult[rows].astype(bool)
        self.source_rows = rows.astype(np.int64)
        self.first_box = _offsets(np.bincount(image_of[rows], minlength=image_count))
        self.polygons = None if polygons is None or polygons.is_empty else polygons

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def span(self, image: int) -> slice:
        """The rows of an image."""
        return slice(int(self.first_box[image]), int(self.first_box[image + 1]))

    def counts(self) -> np.ndarray:
        """Number of boxes per image, int64 [I]."""
        return np.diff(self.first_box)
