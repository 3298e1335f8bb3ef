"""Pascal VOC's mean average precision."""

from collections import defaultdict
from typing import Any, Literal

import numpy as np

from ppdet_lite.core.annotations import checked
from ppdet_lite.metrics.metric import DetectionMetric, Rows, Truth
from ppdet_lite.ops.boxes_np import iou_matrix

MapType = Literal["11point", "integral"]
_Labels = dict[int, np.ndarray]
"""Image id -> rows [N, 5] of the objects of one class: x1, y1, x2, y2, 1 for those that count
neither as found nor as missed."""


class VOCMetric(DetectionMetric):
    """mAP at one IoU threshold, `bbox/mAP`.

    A detection is right when the object of its class that it overlaps most overlaps by more than
    the threshold and no detection with a higher score has taken it. Detections of difficult objects
    (and crowds) count neither as right nor as wrong. Classes without objects do not enter the mean.

    Args:
        truth, classwise: see `DetectionMetric`; annotations may carry `difficult`.
        overlap_thresh: the IoU that must be exceeded.
        map_type: `11point` averages the best precision at recalls 0, 0.1, ... 1 (VOC 2007);
            `integral` is the area under the precision of every detection over recall.
        is_bbox_normalized: False for pixels, where x2, y2 are the last pixel of a box: widths and
            heights are one larger than their difference.
        evaluate_difficult: count difficult objects like all others.
    """

    title = "VOC metric"
    primary_key = "bbox/mAP"
    columns = ("class", "objects", "found", "AP")

    @checked
    def __init__(
        self,
        truth: Truth,
        *,
        classwise: bool = False,
        overlap_thresh: float = 0.5,
        map_type: MapType = "11point",
        is_bbox_normalized: bool = False,
        evaluate_difficult: bool = False,
    ):
        super().__init__(truth, classwise=classwise)
        self.overlap_thresh, self.map_type = overlap_thresh, map_type
        self.evaluate_difficult = evaluate_difficult
        self._offset = 0.0 if is_bbox_normalized else 1.0

    def _compute(self, boxes: list[dict[str, Any]]) -> tuple[dict[str, float], Rows]:
        labeled = self._by_class(boxes)
        owners, found = self.arrays()
        rows = []
        for index, name in enumerate(self.class_names):
            mine = found[:, 0] == index
            scores, is_right, count = self._match(labeled[index], owners[mine], found[mine])
            average = average_precision(scores, is_right, count, self.map_type) if count else -1.0
            rows.append((name, count, len(scores), average))
        averages = [average for *_, average in rows if average >= 0]
        return {"bbox/mAP": float(np.mean(averages)) if averages else 0.0}, rows

    def _lines(self, values: dict[str, float]) -> list[str]:
        value = 100 * values["bbox/mAP"]
        return [f"mAP({self.overlap_thresh:.2f}, {self.map_type}) = {value:.2f}%"]

    def _by_class(self, boxes: list[dict[str, Any]]) -> list[_Labels]:
        """The labels by class index and image id."""
        index_of = {category: i for i, category in enumerate(self.category_ids)}
        grouped: list[dict[int, list[tuple[float, ...]]]] = [defaultdict(list) for _ in index_of]
        for item in boxes:
            x, y, width, height = item["bbox"]
            is_ignored = bool(item.get("difficult") or item.get("iscrowd"))
            box = (x, y, x + width, y + height, is_ignored and not self.evaluate_difficult)
            grouped[index_of[item["category_id"]]][item["image_id"]].append(box)
        return [{number: np.array(rows) for number, rows in images.items()} for images in grouped]

    def _match(
        self, labeled: _Labels, owners: np.ndarray, found: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Judges the detections of one class: scores [K] and right or wrong, bool [K], of all that
        count, and the number of objects.

        Args:
            owners, found: image id [M] and row [M, 6] of the detections.
        """
        scores, is_right = [], []
        order = np.lexsort((-found[:, 1], owners))  # by image, best first
        owners, found = owners[order], found[order]
        images, starts = np.unique(owners, return_index=True)
        for image_id, rows in zip(images.tolist(), np.split(found, starts[1:])):
            objects = labeled.get(image_id, np.zeros((0, 5)))
            taken = np.zeros(len(objects), bool)
            overlaps = iou_matrix(rows[:, 2:6].astype(np.float64), objects[:, :4], self._offset)
            for row, overlap in zip(rows, overlaps):
                best = int(overlap.argmax()) if len(overlap) else -1
                hit = best >= 0 and overlap[best] > self.overlap_thresh
                if hit and objects[best, 4]:
                    continue
                scores.append(row[1])
                is_right.append(hit and not taken[best])
                if hit:
                    taken[best] = True
        count = sum(int((objects[:, 4] == 0).sum()) for objects in labeled.values())
        return np.array(scores), np.array(is_right, bool), count


def average_precision(
    scores: np.ndarray, is_right: np.ndarray, object_count: int, map_type: MapType
) -> float:
    """Average precision of one class.

    Args:
        scores: [K], any order. is_right: bool [K].
        object_count: number of objects to find, at least 1.
        map_type: see `VOCMetric`.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    right = np.cumsum(np.asarray(is_right, np.float64)[order])
    precision = right / np.arange(1, len(right) + 1)
    recall = right / object_count
    if map_type == "integral":
        return float(np.sum(precision * np.diff(recall, prepend=0.0)))
    best = [precision[recall >= level / 10].max(initial=0.0) for level in range(11)]
    return float(np.mean(best))
