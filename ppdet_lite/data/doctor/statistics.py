"""Numbers about the objects of a data set: classes, sizes, shapes, positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.doctor.survey import Split, read_split
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.box_cleaning import clean_boxes
from ppdet_lite.data.subset import AREA_BOUNDS, SIZES
from ppdet_lite.utils.logger import progress_bar

GRID = 32
"""Cells along each side of the map of positions."""

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
FORMAT_VERSION = 1


@dataclass(frozen=True)
class SplitStatistics:
    """The usable objects of a split.

    Attributes:
        name, class_names: of the split.
        image_sizes: width and height of every image [I, 2], pixels.
        per_image: objects of every image [I].
        classes: class index [N].
        sides: width and height in pixels [N, 2].
        shares: center x, y, width, height as shares of the image [N, 4].
        left_out: boxes without area, outside the image or with NaN; crowds.
    """

    name: str
    class_names: list[str]
    image_sizes: np.ndarray
    per_image: np.ndarray
    classes: np.ndarray
    sides: np.ndarray
    shares: np.ndarray
    left_out: int

    def class_counts(self) -> np.ndarray:
        """Objects of every class [C]."""
        return np.bincount(self.classes, minlength=len(self.class_names))

    def images_of_classes(self, image_rows: np.ndarray) -> np.ndarray:
        """Images with an object of every class [C]."""
        pairs = np.unique(np.stack([image_rows, self.classes]), axis=1)
        return np.bincount(pairs[1], minlength=len(self.class_names))

    def image_rows(self) -> np.ndarray:
        """Row of the image of every object [N]."""
        return np.repeat(np.arange(len(self.per_image)), self.per_image)

    def size_counts(self) -> np.ndarray:
        """Objects of every class and of COCO's sizes (small, medium, large) [C, 3]."""
        size = np.searchsorted(AREA_BOUNDS, self.sides.prod(axis=1))
        counts = np.zeros((len(self.class_names), len(SIZES)), np.int64)
        np.add.at(counts, (self.classes, size), 1)
        return counts

    def coverage(self) -> np.ndarray:
        """Share of the objects that cover every cell of a GRID x GRID map of the image."""
        steps = (np.arange(GRID) + 0.5) / GRID
        low, high = (
            self.shares[:, :2] - self.shares[:, 2:] / 2,
            self.shares[:, :2] + self.shares[:, 2:] / 2,
        )
        total = np.zeros((GRID, GRID))
        for start in range(0, len(low), 4096):
            part = slice(start, start + 4096)
            inside = (steps >= low[part, :, None]) & (steps <= high[part, :, None])
            total += np.einsum(
                "ny,nx->yx", *(inside[:, axis].astype(np.float32) for axis in (1, 0))
            )
        return total / max(len(low), 1)


def statistics_of(
    sources: Mapping[str, tuple[type[Any], Mapping[str, Any]]],
) -> list[SplitStatistics]:
    """The statistics of all splits; image files are read only where the labels give no size.

    Raises:
        DataError: a split cannot be read.
    """
    found = []
    for name, (source, arguments) in sources.items():
        split = read_split(name, source, arguments)
        if split.problems:
            raise DataError(f"{split.problems[0]} (ppdet data check lists all that is wrong)")
        found.append(_statistics(split))
    return found


def _statistics(split: Split) -> SplitStatistics:
    notes, images = split.annotations, split.annotations.images
    widths, heights = images.widths.astype(np.int64), images.heights.astype(np.int64)
    unknown = np.flatnonzero((widths <= 0) | (heights <= 0))
    with progress_bar(len(unknown), desc="sizes", unit="image") as bar:
        for row in unknown:
            heights[row], widths[row] = displayed_size(split.file(int(row)))
            bar.update(1)
    rows = notes.image_rows
    boxes, keep, _ = clean_boxes(notes.boxes_xyxy, widths[rows], heights[rows])
    keep &= ~notes.crowd
    order = np.flatnonzero(keep)
    order = order[np.argsort(rows[order], kind="stable")]
    boxes, rows = boxes[order].astype(np.float64), rows[order]
    sizes = np.stack([widths, heights], axis=1)
    sides, centers = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    return SplitStatistics(
        split.name,
        split.class_names,
        sizes,
        np.bincount(rows, minlength=len(images)),
        notes.classes[order],
        sides,
        np.hstack([centers / sizes[rows], sides / sizes[rows]]),
        int(len(keep) - keep.sum()),
    )


def spread(values: np.ndarray) -> dict[str, float]:
    """Smallest, quantiles and largest: "min", "5%", ..., "max"; {} for none."""
    if not len(values):
        return {}
    names = ["min", *(f"{quantile:.0%}" for quantile in QUANTILES[1:-1]), "max"]
    return {
        name: round(float(value), 4) for name, value in zip(names, np.quantile(values, QUANTILES))
    }


def as_json(name: str, splits: Sequence[SplitStatistics]) -> dict[str, Any]:
    """All numbers as JSON."""
    return {
        "version": FORMAT_VERSION,
        "data": name,
        "splits": {split.name: _split_json(split) for split in splits},
    }


def _split_json(split: SplitStatistics) -> dict[str, Any]:
    counts, sizes = split.class_counts(), split.size_counts()
    images = split.images_of_classes(split.image_rows())
    sides = np.sqrt(split.sides.prod(axis=1))
    ratios = split.sides[:, 0] / split.sides[:, 1]
    classes = {
        name: {
            "objects": int(counts[index]),
            "images": int(images[index]),
            **{size: int(sizes[index, place]) for place, size in enumerate(SIZES)},
            "side_px": spread(sides[split.classes == index]),
            "width_to_height": spread(ratios[split.classes == index]),
        }
        for index, name in enumerate(split.class_names)
    }
    return {
        "images": len(split.per_image),
        "images_without_objects": int((split.per_image == 0).sum()),
        "objects": len(split.classes),
        "boxes_left_out": split.left_out,
        "objects_per_image": spread(split.per_image),
        "image_width_px": spread(split.image_sizes[:, 0]),
        "image_height_px": spread(split.image_sizes[:, 1]),
        "sizes": {size: int(sizes[:, place].sum()) for place, size in enumerate(SIZES)},
        "side_px": spread(sides),
        "side_share": spread(np.sqrt(split.shares[:, 2:].prod(axis=1))),
        "width_to_height": spread(ratios),
        "center_x": spread(split.shares[:, 0]),
        "center_y": spread(split.shares[:, 1]),
        "coverage": split.coverage().round(4).tolist(),
        "classes": classes,
    }
