"""COCO's detection metric, computed by pycocotools."""

import contextlib
import io
import logging
from collections import defaultdict
from typing import Any

from pycocotools.cocoeval import COCOeval

from ppdet_lite.metrics.metric import DetectionMetric, Rows, cell, text_table

_LOGGER = logging.getLogger("ppdet_lite.metrics")

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
    """

    title = "COCO metric"
    primary_key = "bbox/AP"
    max_detections = 100
    columns = ("class", "objects", "AP", "AP50", "AR100")

    def _compute(self, boxes: list[dict[str, Any]]) -> tuple[dict[str, float], Rows]:
        keys = [f"bbox/{name}" for name, _ in STATISTICS]
        if not self.image_ids:
            return dict.fromkeys(keys, 0.0), []
        evaluation = _BoxEvaluation(boxes, self)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        _LOGGER.debug("pycocotools:\n%s", output.getvalue().rstrip())
        values = dict(zip(keys, map(float, evaluation.stats)))
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
        recall = evaluation.eval["recall"][:, :, 0, -1]  # IoU, class
        rows = []
        for category, name in zip(self.category_ids, self.class_names):
            k = evaluation.params.catIds.index(category)
            averages = precision[:, :, k].mean(), precision[0, :, k].mean(), recall[:, k].mean()
            rows.append((name, evaluation.object_counts[category], *map(float, averages)))
        return values, rows

    def _lines(self, values: dict[str, float]) -> list[str]:
        return text_table([(text, values[f"bbox/{name}"]) for name, text in STATISTICS])

    def _summary_lines(self, values: dict[str, float]) -> list[str]:
        def row(**names: str) -> str:
            return "  ".join(f"{k} {cell(values[f'bbox/{name}'])}" for k, name in names.items())

        by_size = row(small="APs", medium="APm", large="APl")
        return [row(AP="AP", AP50="AP50", AP75="AP75"), f"AP by size: {by_size}"]


class _BoxEvaluation(COCOeval):  # type: ignore[misc]  # pycocotools has no types
    """COCOeval on ready lists of boxes.

    It differs in two points from handing over `COCO` objects. A ground truth with `ignore` is
    ignored, as VOC's difficult objects must be; pycocotools overwrites that flag. And it numbers
    the ground truth from 1, because pycocotools takes a match with an annotation of id 0 for none.
    """

    def __init__(self, truth: list[dict[str, Any]], found: DetectionMetric):
        super().__init__(iouType="bbox")
        self._truth, self._found = truth, found
        self.params.imgIds, self.params.catIds = sorted(found.image_ids), sorted(found.category_ids)
        self.object_counts: dict[int, int] = defaultdict(int)

    def _prepare(self) -> None:
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        self.evalImgs: dict[Any, Any] = defaultdict(list)
        self.eval: dict[str, Any] = {}
        for number, item in enumerate(self._truth, start=1):
            place, (_, _, width, height) = (item["image_id"], item["category_id"]), item["bbox"]
            is_crowd, area = int(item.get("iscrowd", 0)), item.get("area")
            box = {"id": number, "bbox": item["bbox"], "iscrowd": is_crowd}
            box["ignore"] = int(bool(is_crowd or item.get("ignore", 0)))
            self._gts[place].append({**box, "area": width * height if area is None else area})
            self.object_counts[place[1]] += 1 - box["ignore"]
        for number, item in enumerate(self._found.coco_results(), start=1):
            _, _, width, height = item["bbox"]
            place = item["image_id"], item["category_id"]
            self._dts[place].append({**item, "id": number, "area": width * height})
