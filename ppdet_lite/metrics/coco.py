"""COCO's detection metric, computed by pycocotools."""

import contextlib
import io
import logging
from collections import defaultdict
from typing import Optional, Sequence

from pycocotools.cocoeval import COCOeval

from ppdet_lite.metrics.detections import (
    DetectionMetric,
    Detections,
    classwise_table,
    ground_truth,
)

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


class _BoxEvaluation(COCOeval):
    """COCOeval on ready lists of boxes.

    It differs in two points from handing over `COCO` objects. A ground truth with `ignore` is
    ignored, as VOC's difficult objects must be; pycocotools overwrites that flag. And it numbers
    the ground truth from 1, because pycocotools takes a match with an annotation of id 0 for none.
    """

    def __init__(self, truth: dict, detections: Detections):
        super().__init__(iouType="bbox")
        self._truth, self._detections = truth, detections
        self.params.imgIds = sorted(detections.image_ids)
        self.params.catIds = sorted(detections.category_ids)

    def _prepare(self) -> None:
        self._gts, self._dts = defaultdict(list), defaultdict(list)
        self.evalImgs, self.eval = defaultdict(list), {}
        for number, item in enumerate(self._truth["annotations"], start=1):
            if item["image_id"] not in self._detections.image_ids:
                continue
            is_crowd = int(item.get("iscrowd", 0))
            area = item.get("area")
            box = {
                "id": number,
                "bbox": item["bbox"],
                "area": item["bbox"][2] * item["bbox"][3] if area is None else area,
                "iscrowd": is_crowd,
                "ignore": int(bool(is_crowd or item.get("ignore", 0))),
            }
            self._gts[item["image_id"], item["category_id"]].append(box)
        for number, item in enumerate(self._detections.coco_results(), start=1):
            width, height = item["bbox"][2:]
            box = {"id": number, "bbox": item["bbox"], "area": width * height}
            box["score"] = item["score"]
            self._dts[item["image_id"], item["category_id"]].append(box)


class COCOMetric(DetectionMetric):
    """COCO's twelve numbers and a table per class.

    Only images handed to `update` count, so a part of a data set can be evaluated.

    Args:
        dataset: a data set with `to_coco`, or a COCO dict with images, annotations, categories.
        category_ids: category of each class index; taken from the ground truth's categories in
            their order when None.
        class_names: by class index; likewise.
        classwise: per-class lines in `table` and per-class values in `results`.
        bias: added to widths and heights of detections: 1 reproduces results in which x2, y2 are
            the last pixel.
    """

    def __init__(
        self,
        dataset,
        category_ids: Optional[Sequence[int]] = None,
        class_names: Optional[Sequence[str]] = None,
        classwise: bool = False,
        bias: float = 0,
    ):
        if category_ids is None or class_names is None:
            categories = ground_truth(dataset)["categories"]
            ids = [category["id"] for category in categories]
            names = [category["name"] for category in categories]
            category_ids = ids if category_ids is None else category_ids
            class_names = names if class_names is None else class_names
        self.bias = bias
        super().__init__(dataset, Detections(category_ids, class_names, bias), classwise)

    def results(self) -> dict[str, float]:
        """`bbox/AP` ... `bbox/ARl` as in STATISTICS, 0 to 1, and -1 where there is no such object;
        with `classwise` also `bbox/AP/<class>`.

        Raises:
            ValueError: an image that the ground truth does not have.
        """
        truth = self._truth()
        self._message = self._nothing_to_see(truth)
        evaluation = _BoxEvaluation(truth, self.detections)
        if self.detections.image_ids:
            values = _run(evaluation)
            self._per_class = self._class_lines(evaluation)
        else:
            values, self._per_class = [0.0] * len(STATISTICS), []
        self._results = {f"bbox/{name}": v for (name, _), v in zip(STATISTICS, values)}
        if self.classwise:
            for name, _, average, *_ in self._per_class:
                self._results[f"bbox/AP/{name}"] = average
        return dict(self._results)

    @property
    def primary(self) -> tuple[str, float]:
        """Name and value of the number that decides which model is best: AP at IoU 0.50:0.95."""
        return "bbox/AP", self._computed()["bbox/AP"]

    def table(self) -> str:
        """The numbers for printing."""
        values = self._computed()
        rows = [(text, values[f"bbox/{name}"]) for name, text in STATISTICS]
        lines = [f"COCO metric, {len(self.detections.image_ids)} images"]
        lines += classwise_table(("", "value"), rows)[1:]
        if self.classwise and self._per_class:
            header = ("class", "objects", "AP", "AP50", "AR100")
            lines += ["", *classwise_table(header, self._per_class)]
        return "\n".join([*lines, self._message] if self._message else lines)

    def _nothing_to_see(self, truth: dict) -> str:
        """Why all numbers are 0 or -1, or ""."""
        images = self.detections.image_ids
        if not images:
            message = "no image was evaluated: all numbers are 0"
        elif not any(item["image_id"] in images for item in truth["annotations"]):
            message = "the evaluated images have no labeled object: there is nothing to measure"
        elif not len(self.detections.arrays()[0]):
            message = "nothing was detected: all numbers are 0"
        else:
            return ""
        _LOGGER.warning(message)
        return message

    def _class_lines(self, evaluation: COCOeval) -> list:
        """Class name, number of objects, AP, AP50, AR100 by class index; -1 without objects."""
        counts = defaultdict(int)
        for (_, category), boxes in evaluation._gts.items():
            counts[category] += sum(not box["ignore"] for box in boxes)
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
        recall = evaluation.eval["recall"][:, :, 0, -1]  # IoU, class
        lines = []
        for category, name in zip(self.detections.category_ids, self.detections.class_names):
            column = evaluation.params.catIds.index(category)
            lines.append(
                (
                    name,
                    counts[category],
                    float(precision[:, :, column].mean()),
                    float(precision[0, :, column].mean()),
                    float(recall[:, column].mean()),
                )
            )
        return lines


def _run(evaluation: COCOeval) -> list:
    """The twelve numbers. What pycocotools prints goes to the debug log."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    _LOGGER.debug("pycocotools:\n%s", output.getvalue().rstrip())
    return [float(value) for value in evaluation.stats]
