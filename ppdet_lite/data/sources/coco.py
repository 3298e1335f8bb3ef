"""Data sets with a COCO annotation file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_lite.core.registry import register
from ppdet_lite.data.sources.annotation_table import ImageTable, merge_repeats
from ppdet_lite.data.sources.class_lists import of_categories
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import find_listed, require_file, require_folder


@register
@dataclass(eq=False)
class COCODataSet(DetectionDataset):
    """A COCO annotation file and a folder of images.

    Classes are numbered in the order of the file's `categories`, images go by id. `to_coco` gives
    the ground truth as it stands in the file, repeated boxes included.

    Args:
        anno_path: the JSON file.
        load_crowd: keep crowd boxes, marked `is_crowd`; otherwise they are left out of the records
            (and still count in evaluation as crowds do).
        use_polygons: keep the polygons of `segmentation`, so that a cropped object's box can be
            that of its visible part.
    """

    load_crowd: bool = False
    use_polygons: bool = True

    def read(self) -> Content:
        path = require_file("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        content = read_coco(path, self.use_polygons, root)
        rows = content.annotations._replace(boxes_xyxy=content.boxes_xywh, polygons=None)
        self._truth = content._replace(annotations=rows)  # without what records have of their own
        classes, remarks = of_categories(content.categories), content.remarks
        found = content.annotations._replace(images=_found_images(content.annotations.images, root))
        return Content(str(path), root, classes, found, remarks)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._truth = self._truth._replace(annotations=merge_repeats(self._truth.annotations))

    def to_coco(self) -> dict[str, list[dict[str, Any]]]:
        """The ground truth of the selected images as it stands in the file: with crowds, areas,
        category ids and annotation ids, without `segmentation`.
        """
        truth, chosen = self._truth, self._selection[: self._unique]
        images, image_rows, classes, _, crowd, *_ = truth.annotations
        order = np.argsort(image_rows, kind="stable")
        rows = order[np.isin(image_rows[order], chosen)]
        return {
            "images": _dicts(
                id=images.ids[chosen],
                file_name=np.array([images.files[row] for row in chosen], object),
                width=images.widths[chosen],
                height=images.heights[chosen],
            ),
            "annotations": _dicts(
                id=truth.ids[rows],
                image_id=images.ids[image_rows[rows]],
                category_id=np.array(self.category_ids)[classes[rows]],
                bbox=truth.boxes_xywh[rows],
                area=truth.areas[rows],
                iscrowd=crowd[rows].astype(int),
            ),
            "categories": [dict(category) for category in truth.categories],
        }


def _found_images(images: ImageTable, root: Path) -> ImageTable:
    """The images at the places where they are, if the first one is not where the file says: tools
    write paths with `\\`, or of the machine that they ran on.
    """
    files = [images.files[row] for row in range(len(images))]
    if os.path.exists(root / files[0]):
        return images
    places = [find_listed(file, root, root) for file in files]
    files = [os.path.relpath(p, root) if p else f for p, f in zip(places, files)]
    return ImageTable(files, images.ids, images.widths, images.heights)


def _dicts(**columns: np.ndarray) -> list[dict[str, Any]]:
    """A dict per row."""
    rows = zip(*(column.tolist() for column in columns.values()))
    return [dict(zip(columns, row)) for row in rows]
