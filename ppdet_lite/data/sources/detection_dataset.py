"""Labeled data sets: records out of annotation tables, selection, reporting."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data import kinds
from ppdet_lite.data.sources.annotation_table import Annotations, BoxTable, merge_repeats
from ppdet_lite.data.sources.balancing import repeat_factors
from ppdet_lite.data.sources.box_cleaning import check_units, clean_boxes, describe, repeated_rows
from ppdet_lite.data.sources.class_lists import ClassList
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.sources.files import raise_all
from ppdet_lite.ops.boxes_np import near_boxes


class Content(NamedTuple):
    """The content of a data set as it stands in its files.

    Attributes:
        name: the annotation file or folder, for messages.
        image_root: folder that the files of `annotations.images` are relative to.
        remarks: lines for the report.
        label_files: by row of `annotations.images`, the file that holds the labels of this image
            alone, "" where there is none; empty for formats without such files.
    """

    name: str
    image_root: Path
    classes: ClassList
    annotations: Annotations
    remarks: Sequence[str] = ()
    label_files: Sequence[str] = ()


@dataclass(eq=False)
class DetectionDataset(Dataset):
    """Images with boxes. A format is a subclass that defines `read`.

    Boxes are repaired or dropped by `clean_boxes`, and both are reported.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder of the images.
        anno_path: file or folder of the annotations.
        sample_num: number of images to use from the beginning, -1 for all.
        allow_empty: keep images without boxes.
        empty_ratio: largest share of images without boxes, 1 for any.
        repeat: passes over the images per epoch.
        repeat_threshold: balanced sampling in training: images with a class that is in a smaller
            share of the images come more often, see `repeat_factors`; None: all come equally often.

    Raises:
        DataError: a path does not exist, a file is not usable, or no image is left.
    """

    __checked__ = True
    __unused__ = ("data_fields",)  # a record always carries everything
    has_difficult = False
    load_crowd = True

    dataset_dir: Optional[str] = None
    image_dir: Optional[str] = None
    anno_path: Optional[str] = None
    sample_num: kinds.SampleCount = -1
    allow_empty: bool = True
    empty_ratio: kinds.Probability = 1.0
    repeat: kinds.Count = 1
    repeat_threshold: Optional[kinds.Probability] = None

    def __post_init__(self) -> None:
        name, image_root, classes, found, remarks, _ = self.read()
        super().__init__(name, *classes)
        annotations = merge_repeats(found)
        if merged := len(found.images) - len(annotations.images):
            remarks = [*remarks, f"images: {merged} entries repeat a file, and are merged"]
        check_units(name, found.boxes_xyxy, int(found.images.widths.max(initial=0)))
        self._image_root = os.fspath(image_root)
        self._images = images = annotations.images
        self._boxes, repairs = _usable_boxes(annotations, self.load_crowd)
        is_empty = self._boxes.counts == 0
        chosen = _limit_negatives(is_empty, self.empty_ratio if self.allow_empty else 0.0)
        kept = chosen[: self.sample_num] if self.sample_num > 0 else chosen
        if not len(kept):
            raise DataError(
                f"{name}: no image is left of {len(images)}: {int(is_empty.sum())} have no box, "
                f"allow_empty is {str(self.allow_empty).lower()}, sample_num {self.sample_num}"
                + "".join(f"; {line}" for line in repairs)
            )
        self._unique = len(kept)
        self._selection = np.tile(kept, self.repeat)  # rows of the image table, in order of use
        self._report(self._boxes.counts[kept], len(images) - len(chosen), repairs)
        self.report_lines += remarks
        if (factors := self.repeat_factors()) is not None:
            text = f"balanced sampling (repeat_threshold {self.repeat_threshold:g}): images come "
            text += f"up to {factors.max():.2f} times, {int((factors > 1).sum())} more than once; "
            self.report_lines.append(text + f"{int(factors.sum())} samples per epoch")

    def read(self) -> Content:
        """The images and boxes; a DataError names file, line and key of what is not usable."""
        raise NotImplementedError

    def refuse(self, problems: Sequence[DataError], count: int, things: str) -> None:
        """Ends `read` where some of `count` things, as label files, are not usable; a check of the
        data set notes them instead.
        """
        raise_all(problems, count, things)

    def _report(self, counts: np.ndarray, left_out: int, repairs: list[str]) -> None:
        names = ", ".join(self.class_names[:8]) + (", ..." if len(self.class_names) > 8 else "")
        text = f"{self.name}: {len(counts)} images, {int(counts.sum())} boxes, "
        self.report_lines.append(text + f"{len(self.class_names)} classes ({names})")
        self.report_lines += repairs
        if negatives := int((counts == 0).sum()):
            text = f"{negatives} kept as negatives (allow_empty: false leaves them out)"
            self.report_lines.append(f"images without objects: {text}")
        if left_out:
            self.report_lines.append(f"images without objects: {left_out} left out")

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def box_count(self) -> int:
        """Usable boxes in the annotations, those of images that were left out included."""
        return len(self._boxes)

    def image_path(self, index: int) -> str:
        return os.path.join(self._image_root, self._file_name(index))

    def record(self, index: int) -> dict[str, Any]:
        images, boxes = self._images, self._boxes
        image = self._selection[index]
        span = boxes.span(image)
        sample = {
            "im_file": self.image_path(index),
            "im_id": images.ids[image : image + 1].copy(),
            "h": int(images.heights[image]),
            "w": int(images.widths[image]),
            "gt_bbox": boxes.boxes_xyxy[span].copy(),
            "gt_class": boxes.classes[span, None].copy(),
            "gt_score": np.ones((span.stop - span.start, 1), np.float32),
            "is_crowd": boxes.crowd[span, None].astype(np.int32),
        }
        if self.has_difficult:
            sample["difficult"] = boxes.difficult[span, None].astype(np.int32)
        if (polygons := boxes.polygons(span)) is not None:
            sample["gt_poly"] = polygons
        return sample

    def repeat_factors(self) -> Optional[np.ndarray]:
        if self.repeat_threshold is None:
            return None
        kept, boxes = self._selection[: self._unique], self._boxes
        rows = np.repeat(np.arange(len(boxes.counts)), boxes.counts)
        place = np.full(len(boxes.counts), -1)
        place[kept] = np.arange(len(kept))
        counts = (place[rows] >= 0) & ~boxes.crowd
        objects = place[rows][counts], boxes.classes[counts]
        return np.tile(repeat_factors(*objects, len(kept), self.repeat_threshold), self.repeat)

    def _distinct(self) -> int:
        return self._unique

    def _file_name(self, index: int) -> str:
        return self._images.files[int(self._selection[index])]


def _usable_boxes(annotations: Annotations, load_crowd: bool) -> tuple[BoxTable, list[str]]:
    """The boxes for records, and the lines about the others and about polygons."""
    images, rows = annotations.images, annotations.image_rows
    boxes, keep, reasons = clean_boxes(
        annotations.boxes_xyxy, images.widths[rows], images.heights[rows]
    )
    distinct = keep & ~annotations.crowd  # a crowd may be listed in parts
    repeated = repeated_rows(rows, annotations.classes, boxes, distinct)
    reasons["repeated"] = repeated
    keep[repeated] = False
    if not load_crowd:
        reasons["crowd"] = np.flatnonzero(keep & annotations.crowd)
        keep = keep & ~annotations.crowd
    lines = [describe(reasons, lambda row: images.files[int(rows[row])])]
    if annotations.polygons:
        size = np.stack([images.widths[rows], images.heights[rows]] * 2, axis=1)
        bounds = np.clip(annotations.polygons.bounds(), 0, size)
        misfits = np.flatnonzero(keep & ~np.isnan(bounds[:, 0]) & ~near_boxes(bounds, boxes))
        annotations.polygons.drop(misfits)
        if len(misfits):
            first = images.files[int(rows[misfits[0]])]
            text = "do not fit their boxes and are left out; the boxes stay"
            lines.append(f"polygons: those of {len(misfits)} objects {text} (first: {first})")
    return BoxTable(annotations, boxes, keep), [line for line in lines if line]


def _limit_negatives(is_empty: np.ndarray, ratio: float) -> np.ndarray:
    """Rows in order, at most a share `ratio` of them empty; the choice is always the same."""
    negatives = np.flatnonzero(is_empty)
    filled = len(is_empty) - len(negatives)
    if ratio >= 1 or (allowed := int(filled * ratio / (1 - ratio))) >= len(negatives):
        return np.arange(len(is_empty))
    chosen = np.random.default_rng(0).choice(negatives, allowed, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(~is_empty), chosen]))
