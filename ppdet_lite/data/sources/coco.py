"""Data sets with a COCO annotation file."""

from typing import Any, Optional

import numpy as np

from ppdet_lite.core.registry import register
from ppdet_lite.data.sources.class_lists import of_categories
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.detection_dataset import DetectionDataset
from ppdet_lite.data.sources.paths import require_file, require_folder


@register
class COCODataSet(DetectionDataset):
    """A COCO annotation file and a folder of images.

    Classes are numbered in the order of the file's `categories`, images go by id. `to_coco` gives
    the ground truth as it stands in the file.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder of the images.
        anno_path: the JSON file.
        sample_num, allow_empty, empty_ratio, repeat: see `DetectionDataset`.
        load_crowd: keep crowd boxes, marked `is_crowd`; otherwise they are left out of the records
            (and still count in evaluation as crowds do).
        use_polygons: keep the polygons of `segmentation`, so that a cropped object's box can be
            that of its visible part.

    Raises:
        DataError: a path does not exist or the file is not usable; names file, line and key.
    """

    def __init__(
        self,
        dataset_dir: Optional[str] = None,
        image_dir: Optional[str] = None,
        anno_path: Optional[str] = None,
        *,
        sample_num: int = -1,
        load_crowd: bool = False,
        allow_empty: bool = True,
        empty_ratio: float = 1.0,
        repeat: int = 1,
        use_polygons: bool = True,
    ):
        path = require_file("dataset_dir + anno_path", dataset_dir, anno_path)
        root = require_folder("dataset_dir + image_dir", dataset_dir, image_dir)
        content = read_coco(path, use_polygons)
        super().__init__(
            str(path),
            root,
            of_categories(content.categories),
            content.annotations,
            load_crowd=load_crowd,
            sample_num=sample_num,
            allow_empty=allow_empty,
            empty_ratio=empty_ratio,
            repeat=repeat,
        )
        rows = content.annotations._replace(boxes_xyxy=content.boxes_xywh, polygons=None)
        self._truth = content._replace(annotations=rows)  # without what records have of their own

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


def _dicts(**columns: np.ndarray) -> list[dict[str, Any]]:
    """A dict per row."""
    rows = zip(*(column.tolist() for column in columns.values()))
    return [dict(zip(columns, row)) for row in rows]
