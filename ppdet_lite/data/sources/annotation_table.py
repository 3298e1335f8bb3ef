"""Annotations as a few flat arrays.

COCO train2017 has 118 thousand images and 860 thousand boxes. As Python objects they would take
over a gigabyte, and every worker process that touches them would copy them; flat arrays take some
tens of megabytes and are shared by forked workers.
"""

from array import array
from typing import NamedTuple, Optional, Sequence, Union

import numpy as np

Column = Union[Sequence[int], np.ndarray]


class StringColumn:
    """A list of strings as one block of UTF-8 bytes."""

    def __init__(self, strings: Sequence[str]):
        encoded = [text.encode("utf-8", "surrogateescape") for text in strings]
        self._bytes = b"".join(encoded)
        self._offsets = _offsets([len(text) for text in encoded])

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

    def __init__(self, coordinates: Sequence[float], ring_points: Column, box_rings: Column):
        self._points = np.array(coordinates, np.float32).reshape(-1, 2)
        self._first_point = _offsets(ring_points)
        self._first_ring = _offsets(box_rings)

    @property
    def is_empty(self) -> bool:
        """True if no box has a polygon."""
        return len(self._points) == 0

    def of(self, row: int) -> list[np.ndarray]:
        """The polygons of a box: a list of float32 [K, 2], new arrays."""
        rings = range(self._first_ring[row], self._first_ring[row + 1])
        return [self._points[self._first_point[k] : self._first_point[k + 1]].copy() for k in rings]


def _offsets(counts: Column) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.array(counts, np.int64))])


class ImageTable:
    """One row per image: path as the annotations give it, id int64, width and height int32."""

    def __init__(self, files: Sequence[str], ids: Column, widths: Column, heights: Column):
        self.files = StringColumn(files)
        self.ids = np.array(ids, np.int64)
        self.widths, self.heights = np.array(widths, np.int32), np.array(heights, np.int32)

    def __len__(self) -> int:
        return len(self.files)


class Annotations(NamedTuple):
    """Images, and the boxes as they stand in the files, one row per annotation.

    Attributes:
        image_rows, classes: int64 [N]: row of `images`, class index.
        boxes_xyxy: float64 [N, 4] in pixels.
        crowd, difficult: bool [N].
        polygons: None for data without any.
    """

    images: ImageTable
    image_rows: np.ndarray
    classes: np.ndarray
    boxes_xyxy: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    polygons: Optional[PolygonColumn] = None


class AnnotationRows:
    """Collects images and boxes that come one after the other."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._widths, self._heights, self._box_counts = array("l"), array("l"), array("l")
        self._classes, self._corners, self._difficult = array("l"), array("d"), array("b")

    def add_image(self, file: str, size_hw: tuple[int, int]) -> None:
        """Appends an image, which the boxes that follow belong to."""
        self._files.append(file)
        self._heights.append(size_hw[0])
        self._widths.append(size_hw[1])
        self._box_counts.append(0)

    def add_box(self, class_index: int, box_xyxy: Sequence[float], difficult: bool = False) -> None:
        """Appends a box in pixels."""
        self._box_counts[-1] += 1
        self._classes.append(class_index)
        self._corners.extend(box_xyxy)
        self._difficult.append(difficult)

    def annotations(self) -> Annotations:
        """Everything so far; the id of an image is its row."""
        rows = np.arange(len(self._files))
        return Annotations(
            ImageTable(self._files, rows, self._widths, self._heights),
            np.repeat(rows, self._box_counts),
            np.array(self._classes, np.int64),
            np.array(self._corners, np.float64).reshape(-1, 4),
            np.zeros(len(self._classes), bool),
            np.array(self._difficult, bool),
        )


class BoxTable:
    """One row per usable box, grouped by image.

    Args:
        annotations: all boxes.
        boxes_xyxy: float32 [N, 4], the same repaired.
        keep: bool [N], False for those that are left out.

    Attributes:
        boxes_xyxy: float32 [M, 4] in pixels. classes: int32 [M]. crowd, difficult: bool [M].
        source_rows: int64 [M], the row in `annotations`, which is the row of `polygons`.
        polygons: None when there are none.
    """

    def __init__(self, annotations: Annotations, boxes_xyxy: np.ndarray, keep: np.ndarray):
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(annotations.image_rows[rows], kind="stable")]
        self.boxes_xyxy = np.ascontiguousarray(boxes_xyxy[rows], np.float32)
        self.classes = annotations.classes[rows].astype(np.int32)
        self.crowd = annotations.crowd[rows]
        self.difficult = annotations.difficult[rows]
        self.source_rows = rows
        per_image = np.bincount(annotations.image_rows[rows], minlength=len(annotations.images))
        self.first_box = _offsets(per_image)
        polygons = annotations.polygons
        self.polygons = None if polygons is None or polygons.is_empty else polygons

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def span(self, image: int) -> slice:
        """The rows of an image."""
        return slice(int(self.first_box[image]), int(self.first_box[image + 1]))

    def counts(self) -> np.ndarray:
        """Number of boxes per image, int64 [I]."""
        return np.diff(self.first_box)
