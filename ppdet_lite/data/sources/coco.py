"""Data sets with a COCO annotation file."""

from typing import Optional

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data.sources.annotation_table import BoxTable, ImageTable
from ppdet_lite.data.sources.box_cleaning import clean_boxes
from ppdet_lite.data.sources.coco_json import CocoFile, read_coco
from ppdet_lite.data.sources.dataset import DetectionDataset
from ppdet_lite.data.sources.paths import join, require_file, require_folder


@register
class COCODataSet(DetectionDataset):
    """A COCO annotation file and a folder of images.

    Classes are numbered in the order of the file's `categories`, images go by id. Boxes are
    repaired or dropped as `boxes.clean_boxes` says; `to_coco` gives the ground truth as it stands
    in the file.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder of the images.
        anno_path: the JSON file.
        data_fields: kept from PaddleDetection; a record always carries everything.
        sample_num: number of images to use, -1 for all.
        load_crowd: keep crowd boxes, marked `is_crowd`; otherwise they are left out of the records
            (and still count in evaluation as crowds do).
        allow_empty: keep images without objects as negatives.
        empty_ratio: largest share of images without objects, 1 for any.
        repeat: passes over the images per epoch.
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
        data_fields: Optional[list[str]] = None,
        sample_num: int = -1,
        load_crowd: bool = False,
        allow_empty: bool = True,
        empty_ratio: float = 1.0,
        repeat: int = 1,
        use_polygons: bool = True,
    ):
        path = require_file(join(dataset_dir, anno_path), "dataset_dir + anno_path")
        image_root = require_folder(join(dataset_dir, image_dir), "dataset_dir + image_dir")
        super().__init__(str(path), image_root)
        self.data_fields = data_fields
        content = read_coco(path, use_polygons)
        self.class_names = [category["name"] for category in content.categories]
        self.category_ids = [category["id"] for category in content.categories]
        self._categories = content.categories
        images = ImageTable(
            [image["file_name"] for image in content.images],
            [image["id"] for image in content.images],
            [image["width"] for image in content.images],
            [image["height"] for image in content.images],
        )
        boxes, report = self._clean(content, images, load_crowd)
        self._keep_ground_truth(content)
        self._finish(images, boxes, report, sample_num, allow_empty, empty_ratio, repeat)

    def _clean(self, content: CocoFile, images: ImageTable, load_crowd: bool):
        """The boxes that go into records, and the line about the others."""
        rows = content.image_rows
        boxes_xyxy = content.boxes_xywh.copy()
        boxes_xyxy[:, 2:] += boxes_xyxy[:, :2]
        cleaned = clean_boxes(boxes_xyxy, images.widths[rows], images.heights[rows])
        keep = cleaned.keep
        if not load_crowd:
            keep = keep & ~content.crowd
            cleaned.rows["crowd"] = np.flatnonzero(cleaned.keep & content.crowd)
        table = BoxTable(
            rows,
            len(images),
            cleaned.boxes_xyxy,
            content.classes,
            content.crowd,
            np.zeros(len(rows), bool),
            keep,
            content.polygons,
        )
        return table, self._box_report(cleaned.rows, rows, images)

    def _keep_ground_truth(self, content: CocoFile) -> None:
        """Keeps the annotations as they stand in the file, grouped by image, for `to_coco`."""
        order = np.argsort(content.image_rows, kind="stable")
        self._truth = content._replace(
            images=[],
            categories=[],
            ids=content.ids[order],
            image_rows=content.image_rows[order],
            classes=content.classes[order],
            boxes_xywh=content.boxes_xywh[order],
            areas=content.areas[order],
            crowd=content.crowd[order],
            polygons=None,
        )

    def to_coco(self) -> dict:
        """The ground truth of the selected images as it stands in the file: with crowds, areas,
        category ids and annotation ids, without `segmentation`.
        """
        truth, annotations = self._truth, []
        selected = np.sort(self._selection[: self._unique])
        starts = np.searchsorted(truth.image_rows, selected, side="left")
        ends = np.searchsorted(truth.image_rows, selected, side="right")
        for image, start, end in zip(selected, starts, ends):
            image_id = int(self._images.ids[image])
            for row in range(start, end):
                annotations.append(
                    {
                        "id": int(truth.ids[row]),
                        "image_id": image_id,
                        "category_id": self.category_ids[truth.classes[row]],
                        "bbox": truth.boxes_xywh[row].tolist(),
                        "area": float(truth.areas[row]),
                        "iscrowd": int(truth.crowd[row]),
                    }
                )
        return {
            "images": [self._coco_image(image) for image in selected],
            "annotations": annotations,
            "categories": [dict(category) for category in self._categories],
        }
