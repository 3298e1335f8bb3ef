"""What the data sets have in common: records out of annotation tables, selection, reporting."""

import os
from pathlib import Path
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.annotation_table import BoxTable, ImageTable
from ppdet_lite.data.sources.box_cleaning import describe


class DetectionDataset:
    """A labeled data set, after a subclass has read its annotations and called `_finish`.

    Attributes:
        name: the annotation file or folder, for messages.
        class_names: by class index.
        category_ids: number of each class in COCO results, by class index.
        report_lines: what was found, dropped and repaired.
    """

    has_difficult = False

    def __init__(self, name: str, image_root: Path):
        self.name = name
        self.class_names = []
        self.category_ids = []
        self.report_lines = []
        self._image_root = os.fspath(image_root)
        self._images: Optional[ImageTable] = None
        self._boxes: Optional[BoxTable] = None
        self._selection = np.zeros(0, np.int64)  # rows of the image table, in order of use
        self._unique = 0  # the selection without its repetitions

    def _finish(
        self,
        images: ImageTable,
        boxes: BoxTable,
        dropped_and_repaired: str,
        sample_num: int,
        allow_empty: bool,
        empty_ratio: float,
        repeat: int,
    ) -> None:
        """Takes the tables over, chooses the images and writes the report.

        Args:
            images, boxes: the annotations.
            dropped_and_repaired: line about the boxes, may be empty.
            sample_num: number of images to use from the beginning, -1 for all.
            allow_empty: keep images without boxes.
            empty_ratio: largest share of images without boxes, 1 for any.
            repeat: how many times an epoch passes over the images.

        Raises:
            DataError: no image is left, or a number makes no sense.
        """
        self._check_numbers(sample_num, empty_ratio, repeat)
        self._images, self._boxes = images, boxes
        rows = np.arange(len(images))
        is_empty = boxes.counts() == 0
        kept = rows if allow_empty else rows[~is_empty]
        if allow_empty and empty_ratio < 1:
            kept = _limit_negatives(rows, is_empty, empty_ratio)
        dropped_negatives = len(rows) - len(kept)
        kept = kept[:sample_num] if sample_num >= 0 else kept
        if not len(kept):
            raise DataError(
                f"{self.name}: no image is left of {len(images)}: {int(is_empty.sum())} have no "
                f"box, allow_empty is {str(allow_empty).lower()}, sample_num {sample_num}"
            )
        self._selection, self._unique = np.tile(kept, repeat), len(kept)
        self._report(kept, dropped_negatives, dropped_and_repaired)

    def _check_numbers(self, sample_num: int, empty_ratio: float, repeat: int) -> None:
        if sample_num < -1 or sample_num == 0:
            raise DataError(f"{self.name}: sample_num: found {sample_num}, allowed: -1 or 1 and up")
        if not 0 <= empty_ratio <= 1:
            raise DataError(f"{self.name}: empty_ratio: found {empty_ratio}, allowed: 0 to 1")
        if repeat < 1:
            raise DataError(f"{self.name}: repeat: found {repeat}, allowed: 1 and up")

    def _report(self, kept: np.ndarray, dropped_negatives: int, dropped_and_repaired: str) -> None:
        counts = self._boxes.counts()[kept]
        names = ", ".join(self.class_names[:8]) + (", ..." if len(self.class_names) > 8 else "")
        self.report_lines.append(
            f"{self.name}: {len(kept)} images, {int(counts.sum())} boxes, "
            f"{len(self.class_names)} classes ({names})"
        )
        if dropped_and_repaired:
            self.report_lines.append(dropped_and_repaired)
        negatives = int((counts == 0).sum())
        if negatives:
            self.report_lines.append(
                f"images without objects: {negatives} kept as negatives"
                " (allow_empty: false leaves them out)"
            )
        if dropped_negatives:
            self.report_lines.append(f"images without objects: {dropped_negatives} left out")

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def box_count(self) -> int:
        """Usable boxes in the annotations, those of images that were left out included."""
        return len(self._boxes)

    def image_path(self, index: int) -> str:
        """Path of an image. Whether the file exists is found out when it is read."""
        return os.path.join(self._image_root, self._images.files[self._selection[index]])

    def missing_files(self, limit: int = 10) -> list:
        """Paths of images that do not exist, at most `limit` of them."""
        missing = []
        for index in range(self._unique):
            path = self.image_path(index)
            if not os.path.isfile(path):
                missing.append(path)
                if len(missing) == limit:
                    break
        return missing

    def record(self, index: int) -> dict:
        """The sample without its image; all arrays are new and may be changed.

        Returns:
            `im_file` path, `im_id` int64 [1], `h`, `w` annotated size in pixels, `gt_bbox` float32
            [N, 4] x1, y1, x2, y2 in pixels, `gt_class` int32 [N, 1], `gt_score` float32 [N, 1]
            (ones), `is_crowd` int32 [N, 1]; `difficult` int32 [N, 1] for VOC; `gt_poly`, where the
            data set has polygons, a list of N lists of float32 [K, 2] in pixels.
        """
        image = self._selection[index]
        span = self._boxes.span(image)
        boxes = self._boxes
        sample = {
            "im_file": self.image_path(index),
            "im_id": self._images.ids[image : image + 1].copy(),
            "h": int(self._images.heights[image]),
            "w": int(self._images.widths[image]),
            "gt_bbox": boxes.boxes_xyxy[span].copy(),
            "gt_class": boxes.classes[span, None].copy(),
            "gt_score": np.ones((span.stop - span.start, 1), np.float32),
            "is_crowd": boxes.crowd[span, None].astype(np.int32),
        }
        if self.has_difficult:
            sample["difficult"] = boxes.difficult[span, None].astype(np.int32)
        if boxes.polygons is not None:
            sample["gt_poly"] = [boxes.polygons.of(row) for row in boxes.source_rows[span]]
        return sample

    def to_coco(self) -> dict:
        """The ground truth as a COCO dict; difficult boxes carry `ignore` 1."""
        images, annotations = [], []
        for image in self._selection[: self._unique]:
            images.append(self._coco_image(image))
            span = self._boxes.span(image)
            for row in range(span.start, span.stop):
                annotations.append(self._coco_annotation(image, row, len(annotations) + 1))
        return {
            "images": images,
            "annotations": annotations,
            "categories": self._coco_categories(),
        }

    def _coco_image(self, image: int) -> dict:
        return {
            "id": int(self._images.ids[image]),
            "file_name": self._images.files[image],
            "width": int(self._images.widths[image]),
            "height": int(self._images.heights[image]),
        }

    def _coco_categories(self) -> list:
        return [{"id": i, "name": name} for i, name in zip(self.category_ids, self.class_names)]

    def _coco_annotation(self, image: int, row: int, number: int) -> dict:
        x1, y1, x2, y2 = self._boxes.boxes_xyxy[row].astype(float).tolist()
        return {
            "id": number,
            "image_id": int(self._images.ids[image]),
            "category_id": self.category_ids[self._boxes.classes[row]],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": int(self._boxes.crowd[row]),
            "difficult": int(self._boxes.difficult[row]),
            "ignore": int(self._boxes.difficult[row]),
        }

    def _box_report(self, rows: dict, image_of: np.ndarray, images: ImageTable) -> str:
        """See `boxes.describe`."""
        return describe(rows, lambda row: images.files[image_of[row]])


def _limit_negatives(rows: np.ndarray, is_empty: np.ndarray, ratio: float) -> np.ndarray:
    """Rows in order, with negatives making up at most `ratio` of them. The choice is the same every
    time.
    """
    negatives = rows[is_empty]
    if ratio >= 1:
        return rows
    allowed = int((len(rows) - len(negatives)) * ratio / (1 - ratio))
    if allowed >= len(negatives):
        return rows
    chosen = np.random.default_rng(0).choice(negatives, allowed, replace=False)
    return np.sort(np.concatenate([rows[~is_empty], chosen]))
