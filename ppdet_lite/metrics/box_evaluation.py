"""COCO's matching of boxes, by pycocotools or by faster-coco-eval: ready lists in, arrays out.

Both differ in two points from handing over `COCO` objects. A ground truth with `ignore` is ignored,
as VOC's difficult objects must be; the libraries overwrite that flag. And the ground truth is
numbered from 1, because they take a match with an annotation of id 0 for none.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from pycocotools.cocoeval import COCOeval

PYCOCOTOOLS, FASTER = "pycocotools", "faster-coco-eval"


class Accumulated(NamedTuple):
    """COCO's tables; -1 where a class has no object.

    Attributes:
        precision: float64 [10 IoU, 101 recall, K classes, 4 sizes, 3 limits]; sizes are all, small,
            medium, large, limits 1, 10, 100 detections per image.
        recall: float64 [10 IoU, K, 4, 3].
    """

    precision: np.ndarray
    recall: np.ndarray


class Boxes(NamedTuple):
    """Annotations and detections of some classes as COCO writes them, with `area` and, of the
    annotations, `ignore`.
    """

    truth: list[dict[str, Any]]
    found: list[dict[str, Any]]
    category_ids: list[int]

    def image_ids(self) -> list[int]:
        """Those with a box. Images without one change no number."""
        return sorted({item["image_id"] for part in (self.truth, self.found) for item in part})


def preferred_library() -> str:
    """faster-coco-eval where it is installed (the extra `fast-eval`), else pycocotools."""
    has_faster = importlib.util.find_spec("faster_coco_eval") is not None
    return FASTER if has_faster else PYCOCOTOOLS


def accumulate(boxes: Boxes, library: str) -> Accumulated:
    """Matches the boxes and returns the tables of their classes, in the order of `category_ids`,
    which ascend.
    """
    if not boxes.truth or not boxes.found:
        return _without_matches(boxes)
    evaluation: Any = _PyCOCO(boxes)
    if library == FASTER:
        module = importlib.import_module("ppdet_lite.metrics.faster_box_evaluation")
        evaluation = module.faster_box_evaluation(boxes)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return Accumulated(evaluation.eval["precision"], evaluation.eval["recall"])


def _without_matches(boxes: Boxes) -> Accumulated:
    """The tables where there is no annotation, or no detection: -1 or 0."""
    params = COCOeval(iouType="bbox").params
    has_object = np.zeros((len(boxes.category_ids), len(params.areaRng)), bool)
    place = {category: number for number, category in enumerate(boxes.category_ids)}
    for item in boxes.truth:
        if not item["ignore"]:
            inside = [low <= item["area"] <= high for low, high in params.areaRng]
            has_object[place[item["category_id"]]] |= np.array(inside)
    table = np.where(has_object, 0.0, -1.0)[..., None].repeat(len(params.maxDets), -1)
    ious, recalls = len(params.iouThrs), len(params.recThrs)
    recall = np.broadcast_to(table, (ious, *table.shape))
    return Accumulated(np.broadcast_to(table, (ious, recalls, *table.shape)), recall)


class _PyCOCO(COCOeval):  # type: ignore[misc]  # pycocotools has no types
    """COCOeval on ready lists of boxes."""

    def __init__(self, boxes: Boxes):
        super().__init__(iouType="bbox")
        self._boxes = boxes
        self.params.imgIds, self.params.catIds = boxes.image_ids(), boxes.category_ids

    def _prepare(self) -> None:
        self._gts: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self._dts: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.evalImgs: dict[Any, Any] = defaultdict(list)
        self.eval: dict[str, Any] = {}
        for items, table in ((self._boxes.truth, self._gts), (self._boxes.found, self._dts)):
            for item in items:
                table[item["image_id"], item["category_id"]].append(item)
