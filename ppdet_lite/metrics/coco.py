"""COCO's detection metric, computed by pycocotools or faster-coco-eval."""

from collections import defaultdict
from typing import Any, Optional

import numpy as np

from ppdet_lite.metrics.box_evaluation import Accumulated, Boxes, accumulate, preferred_library
from ppdet_lite.metrics.metric import DetectionMetric, Rows, Truth, cell, text_table

STATISTICS = (
    ("AP", "AP, IoU 0.50:0.95"),
    ("AP50", "AP, IoU 0.50"),
    ("AP75", "AP, IoU 0.75"),
    ("APs", "AP, small objects (below 32 x 32)"),
    ("APm", "AP, medium objects"),
    ("APl", "AP, large objects (above 96 x 96)"),
    ("AR1", "AR, 1 detection per image"),
    ("AR10", "AR, 10 detections per image"),
    ("AR100", "AR, 100 detections per image"),
    ("ARs", "AR, small objects"),
    ("ARm", "AR, medium objects"),
    ("ARl", "AR, large objects"),
)
"""COCO's twelve numbers in their order: name and meaning."""


class COCOMetric(DetectionMetric):
    """COCO's twelve numbers, `bbox/AP` ... `bbox/ARl` as in STATISTICS (-1 where there is no such
    object), and a table per class.

    A `bias` of 1 reproduces results in which x2, y2 are the last pixel.

    Args:
        library: `pycocotools` or `faster-coco-eval`, which give the same numbers; None takes the
            faster one where it is installed.
    """

    title = "COCO metric"
    primary_key = "bbox/AP"
    max_detections = 100
    columns = ("class", "objects", "AP", "AP50", "AR100")
    most_detections = 250_000
    """Classes with more detections together are computed one portion after the other."""

    def __init__(
        self,
        truth: Truth,
        *,
        classwise: bool = False,
        bias: float = 0,
        library: Optional[str] = None,
    ):
        super().__init__(truth, classwise=classwise, bias=bias)
        self.library = library or preferred_library()
        self.computed_by = f" by {self.library}"

    def _compute(self, boxes: list[dict[str, Any]]) -> tuple[dict[str, float], Rows]:
        keys = [f"bbox/{name}" for name, _ in STATISTICS]
        if not self.image_ids:
            return dict.fromkeys(keys, 0.0), []
        truth = _ground_truth(boxes)
        order = np.argsort(self.category_ids, kind="stable").tolist()
        parts = [self._accumulated(truth, classes) for classes in self._portions(order)]
        tables = Accumulated(*(np.concatenate(table, axis=-3) for table in zip(*parts)))
        values = dict(zip(keys, _statistics(tables)))
        precision, recall = tables.precision[..., 0, -1], tables.recall[..., 0, -1]
        rows: Rows = [()] * len(order)
        for k, index in enumerate(order):
            averages = precision[:, :, k].mean(), precision[0, :, k].mean(), recall[:, k].mean()
            count = sum(not item["ignore"] for item in truth.get(self.category_ids[index], ()))
            rows[index] = (self.class_names[index], count, *map(float, averages))
        return values, rows

    def _portions(self, order: list[int]) -> list[list[int]]:
        """The class indices in groups with not too many detections, which bounds the memory."""
        counts = np.bincount(self.arrays()[1][:, 0].astype(int), minlength=len(order))
        portions: list[list[int]] = [[]]
        for index in order:
            if portions[-1] and counts[[*portions[-1], index]].sum() > self.most_detections:
                portions.append([])
            portions[-1].append(index)
        return portions

    def _accumulated(
        self, truth: dict[int, list[dict[str, Any]]], classes: list[int]
    ) -> Accumulated:
        ids = [self.category_ids[index] for index in classes]
        found = []
        for number, item in enumerate(self.coco_results(classes), start=1):
            _, _, width, height = item["bbox"]
            found.append({**item, "id": number, "area": width * height})
        labels = [item for category in ids for item in truth.get(category, ())]
        return accumulate(Boxes(labels, found, ids), self.library)

    def _lines(self, values: dict[str, float]) -> list[str]:
        return text_table([(text, values[f"bbox/{name}"]) for name, text in STATISTICS])

    def _summary_lines(self, values: dict[str, float]) -> list[str]:
        def row(**names: str) -> str:
            return "  ".join(f"{k} {cell(values[f'bbox/{name}'])}" for k, name in names.items())

        by_size = row(small="APs", medium="APm", large="APl")
        return [row(AP="AP", AP50="AP50", AP75="AP75"), f"AP by size: {by_size}"]


def _ground_truth(boxes: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The annotations by category, ready for `accumulate`."""
    by_category: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for number, item in enumerate(boxes, start=1):
        (_, _, width, height), is_crowd = item["bbox"], int(item.get("iscrowd", 0))
        area = item.get("area")
        box = {key: item[key] for key in ("image_id", "category_id", "bbox")}
        box.update(id=number, iscrowd=is_crowd, area=width * height if area is None else area)
        box["ignore"] = int(bool(is_crowd or item.get("ignore", 0)))
        by_category[item["category_id"]].append(box)
    return by_category


def _statistics(tables: Accumulated) -> list[float]:
    """The numbers of STATISTICS: means over what is defined."""
    precision, recall = tables
    chosen = [precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]]
    chosen += [precision[..., size, -1] for size in (1, 2, 3)]
    chosen += [recall[..., 0, limit] for limit in (0, 1, 2)]
    chosen += [recall[..., size, -1] for size in (1, 2, 3)]
    defined = [part[part > -1] for part in chosen]
    return [float(part.mean()) if part.size else -1.0 for part in defined]
