"""Annotations as a few flat arrays.

As Python objects the 860 thousand boxes of COCO train2017 would take over a gigabyte, in every
worker process; flat arrays take some tens of megabytes and are shared by forked workers.
"""

import os
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
    """The polygons of every box.

    Args:
        coordinates: x, y, x, y, ... of all rings in pixels.
        ring_points, box_rings: number of points of every ring, of rings of every box.
    """

    def __init__(self, coordinates: Sequence[float], ring_points: Column, box_rings: Column):
        # An array.array of floats is not copied: polygons are most of a large file.
        self._points = np.asarray(coordinates, np.float32).reshape(-1, 2)
        self._first_point = _offsets(ring_points)
        self._first_ring = _offsets(box_rings)
        self._last_ring = self._first_ring[1:].copy()

    def __len__(self) -> int:
        return len(self._points)

    def bounds(self) -> np.ndarray:
        """x1, y1, x2, y2 around the polygons of every box, float32 [N, 4]; NaN without points."""
        first = self._first_point[self._first_ring]
        filled = np.flatnonzero(first[1:] > first[:-1])
        bounds = np.full((len(first) - 1, 4), np.nan, np.float32)
        if len(filled):
            bounds[filled, :2] = np.minimum.reduceat(self._points, first[filled])
            bounds[filled, 2:] = np.maximum.reduceat(self._points, first[filled])
        return bounds

    def drop(self, rows: np.ndarray) -> None:
        """Forgets the polygons of these boxes."""
        self._last_ring[rows] = self._first_ring[:-1][rows]

    def of(self, row: int) -> list[np.ndarray]:
        """The polygons of a box: a list of float32 [K, 2], new arrays."""
        rings = range(self._first_ring[row], self._last_ring[row])
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
    """Images, and the boxes as they stand in the files: row of the image and class index int64 [N],
    corners in pixels float64 [N, 4], flags bool [N].
    """

    images: ImageTable
    image_rows: np.ndarray
    classes: np.ndarray
    boxes_xyxy: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    polygons: Optional[PolygonColumn] = None


def merge_repeats(annotations: Annotations) -> Annotations:
    """The same with one image per file, which gets the boxes of all entries of that file."""
    images = annotations.images
    files = [images.files[row] for row in range(len(images))]
    first: dict[str, int] = {}
    rows = [first.setdefault(os.path.normpath(file), row) for row, file in enumerate(files)]
    if len(first) == len(files):
        return annotations
    kept, new_rows = np.unique(rows, return_inverse=True)
    columns = (column[kept] for column in (images.ids, images.widths, images.heights))
    table = ImageTable([files[row] for row in kept], *columns)
    return annotations._replace(images=table, image_rows=new_rows[annotations.image_rows])


class AnnotationRows:
    """Collects images and boxes that come one after the other."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._widths, self._heights, self._box_counts = array("l"), array("l"), array("l")
        self._classes, self._corners, self._difficult = array("l"), array("d"), array("b")

    def add_image(self, file: str, height: int, width: int) -> None:
        """Appends an image, which the boxes that follow belong to."""
        self._files.append(file)
        self._heights.append(height)
        self._widths.append(width)
        self._box_counts.append(0)

    def add_box(self, class_index: int, box_xyxy: Sequence[float], difficult: bool = False) -> int:
        """Appends a box in pixels; returns its row."""
        self._box_counts[-1] += 1
        self._classes.append(class_index)
        self._corners.extend(box_xyxy)
        self._difficult.append(difficult)
        return len(self._classes) - 1

    def move_box(self, row: int, box_xyxy: Sequence[float]) -> None:
        """Gives a box other corners."""
        self._corners[4 * row : 4 * row + 4] = array("d", box_xyxy)

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
    """

    def __init__(self, annotations: Annotations, boxes_xyxy: np.ndarray, keep: np.ndarray):
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(annotations.image_rows[rows], kind="stable")]
        self.boxes_xyxy = np.ascontiguousarray(boxes_xyxy[rows], np.float32)
        self.classes = annotations.classes[rows].astype(np.int32)
        self.crowd = annotations.crowd[rows]
        self.difficult = annotations.difficult[rows]
        self.counts = np.bincount(
            annotations.image_rows[rows], minlength=len(annotations.images)
        )  # int64 [I], boxes per image
        self._first_box, self._source_rows = _offsets(self.counts), rows
        self._polygons = annotations.polygons or None  # None as well when there are none

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def span(self, image: int) -> slice:
        """The rows of an image."""
        return slice(int(self._first_box[image]), int(self._first_box[image + 1]))

    def polygons(self, span: slice) -> Optional[list[list[np.ndarray]]]:
        """The polygons of every box of a span; None in data without polygons."""
        column = self._polygons
        return column and [column.of(row) for row in self._source_rows[span]]
