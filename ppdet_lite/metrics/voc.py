"""Pascal VOC's mean average precision."""

import logging
from collections import defaultdict
from typing import Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.metrics.detections import (
    DetectionMetric,
    Detections,
    classwise_table,
    ground_truth,
)
from ppdet_lite.ops.boxes_np import iou_matrix

_LOGGER = logging.getLogger("ppdet_lite.metrics")

MAP_TYPES = ("11point", "integral")


class VOCMetric(DetectionMetric):
    """mAP at one IoU threshold.

    A detection is right when the object of its class that it overlaps most overlaps by more than
    the threshold and no detection with a higher score has taken it. Detections of difficult objects
    count neither as right nor as wrong. Classes without objects do not enter the mean.

    Args:
        dataset: a data set with `to_coco`, or a COCO dict; annotations may carry `difficult`.
        class_names: by class index; the ground truth's categories in their order when None.
        overlap_thresh: the IoU that must be exceeded.
        map_type: `11point` averages the best precision at recalls 0, 0.1, ... 1 (VOC 2007);
            `integral` is the area under the precision of every detection over recall.
        is_bbox_normalized: False for pixels, where x2, y2 are the last pixel of a box: widths and
            heights are one larger than their difference.
        evaluate_difficult: count difficult objects like all others.
        classwise: per-class lines in `table` and per-class values in `results`.
    """

    def __init__(
        self,
        dataset,
        class_names: Optional[Sequence[str]] = None,
        overlap_thresh: float = 0.5,
        map_type: str = "11point",
        is_bbox_normalized: bool = False,
        evaluate_difficult: bool = False,
        classwise: bool = False,
    ):
        if map_type not in MAP_TYPES:
            hint = nearest_hint(map_type, MAP_TYPES)
            allowed = ", ".join(MAP_TYPES)
            raise ConfigError(f"map_type: found '{map_type}', allowed: {allowed}{hint}")
        self.overlap_thresh = overlap_thresh
        self.map_type = map_type
        self.evaluate_difficult = evaluate_difficult
        self._offset = 0.0 if is_bbox_normalized else 1.0
        category_ids = getattr(dataset, "category_ids", None)
        if class_names is None or category_ids is None:
            categories = ground_truth(dataset)["categories"]
            category_ids = [category["id"] for category in categories]
            class_names = class_names or [category["name"] for category in categories]
        super().__init__(dataset, Detections(category_ids, class_names), classwise)

    def results(self) -> dict[str, float]:
        """`bbox/mAP`, 0 to 1; with `classwise` also `bbox/AP/<class>`, -1 for a class without
        objects.
        """
        truth = _group_truth(self._truth(), self.detections)
        found = _group_detections(*self.detections.arrays())
        self._per_class = []
        for index, name in enumerate(self.detections.class_names):
            scores, is_right, count = self._match(truth.get(index, {}), found.get(index, {}))
            average = -1.0
            if count:
                average = average_precision(scores, is_right, count, self.map_type)
            self._per_class.append((name, count, len(scores), average))
        averages = [average for *_, average in self._per_class if average >= 0]
        self._message = self._nothing_to_see(averages)
        self._results = {"bbox/mAP": float(np.mean(averages)) if averages else 0.0}
        if self.classwise:
            for name, *_, average in self._per_class:
                self._results[f"bbox/AP/{name}"] = average
        return dict(self._results)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best."""
        return "bbox/mAP", self._computed()["bbox/mAP"]

    def table(self) -> str:
        """The numbers for printing."""
        value = self._computed()["bbox/mAP"]
        lines = [
            f"VOC metric, {len(self.detections.image_ids)} images",
            f"mAP({self.overlap_thresh:.2f}, {self.map_type}) = {100 * value:.2f}%",
        ]
        if self.classwise:
            lines += ["", *classwise_table(("class", "objects", "found", "AP"), self._per_class)]
        return "\n".join([*lines, self._message] if self._message else lines)

    def _match(self, truth: dict, found: dict) -> tuple[np.ndarray, np.ndarray, int]:
        """Judges the detections of one class.

        Args:
            truth: image id -> boxes_xyxy [N, 4], difficult bool [N].
            found: image id -> rows [M, 6].

        Returns:
            scores [K] and whether right, bool [K], of all detections that count; number of objects.
        """
        scores, is_right, count = [], [], 0
        for _, difficult in truth.values():
            count += len(difficult) if self.evaluate_difficult else int((~difficult).sum())
        nothing = (np.zeros((0, 4)), np.zeros(0, bool))
        for image_id, rows in found.items():
            boxes_xyxy, difficult = truth.get(image_id, nothing)
            rows = rows[np.argsort(-rows[:, 1], kind="stable")]
            overlaps = iou_matrix(rows[:, 2:6].astype(np.float64), boxes_xyxy, self._offset)
            taken = np.zeros(len(boxes_xyxy), bool)
            for row, overlap in zip(rows, overlaps):
                best = int(overlap.argmax()) if len(overlap) else -1
                hit = best >= 0 and overlap[best] > self.overlap_thresh
                if hit and difficult[best] and not self.evaluate_difficult:
                    continue
                scores.append(row[1])
                is_right.append(hit and not taken[best])
                if hit:
                    taken[best] = True
        return np.array(scores), np.array(is_right, bool), count

    def _nothing_to_see(self, averages: list) -> str:
        if not self.detections.image_ids:
            message = "no image was evaluated: mAP is 0"
        elif not averages:
            message = "the evaluated images have no labeled object: there is nothing to measure"
        elif not len(self.detections.arrays()[0]):
            message = "nothing was detected: mAP is 0"
        else:
            return ""
        _LOGGER.warning(message)
        return message


def average_precision(
    scores: np.ndarray, is_right: np.ndarray, object_count: int, map_type: str
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


def _group_truth(truth: dict, detections: Detections) -> dict:
    """Class index -> image id -> (boxes_xyxy float64 [N, 4], difficult bool [N]). Crowds count as
    difficult.
    """
    class_of = {category: index for index, category in enumerate(detections.category_ids)}
    rows = defaultdict(lambda: defaultdict(list))
    for item in truth["annotations"]:
        if item["image_id"] in detections.image_ids:
            x, y, width, height = item["bbox"]
            is_difficult = bool(item.get("difficult") or item.get("iscrowd"))
            row = (x, y, x + width, y + height, is_difficult)
            rows[class_of[item["category_id"]]][item["image_id"]].append(row)
    grouped = {}
    for index, images in rows.items():
        arrays = {number: np.array(boxes, np.float64) for number, boxes in images.items()}
        grouped[index] = {n: (a[:, :4], a[:, 4].astype(bool)) for n, a in arrays.items()}
    return grouped


def _group_detections(owners: np.ndarray, rows: np.ndarray) -> dict:
    """Class index -> image id -> rows [M, 6]."""
    grouped = defaultdict(dict)
    order = np.lexsort((owners, rows[:, 0]))
    owners, rows = owners[order], rows[order]
    keys = np.stack([rows[:, 0].astype(np.int64), owners], axis=1)
    borders = np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1
    if len(rows):
        for key, part in zip(keys[np.concatenate([[0], borders])], np.split(rows, borders)):
            grouped[int(key[0])][int(key[1])] = part
    return grouped
