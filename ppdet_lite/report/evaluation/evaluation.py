"""What an evaluation's files say: labels, detections and the analysis of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.evaluate.results_file import read_entries
from ppdet_lite.metrics.analysis.box_tables import Boxes
from ppdet_lite.metrics.analysis.confusion import confusion_matrix
from ppdet_lite.metrics.analysis.error_types import Errors, error_costs, find_errors
from ppdet_lite.metrics.analysis.matching import (
    IOUS,
    RANGES,
    Matches,
    average_precisions,
    match,
)
from ppdet_lite.metrics.analysis.score_curves import ScoreCurve, score_curves
from ppdet_lite.report.run_folder import read_json

_FORM = "an object with images (id, file_name), annotations (image_id, category_id, bbox) and "
_FORM += "categories (id, name)"


@dataclass
class Evaluation:
    """Labels and detections of some images.

    Attributes:
        boxes: both, as tables.
        paths: the file of each image of `boxes.image_ids`, None where it is not known.
        name: of the data.
        file_names: of each image in the labels.
    """

    boxes: Boxes
    paths: list[Optional[Path]]
    name: str = ""
    file_names: Sequence[str] = ()

    @cached_property
    def matches(self) -> Matches:
        """For all IoUs and sizes."""
        return match(self.boxes, tuple(RANGES))

    @cached_property
    def averages(self) -> tuple[np.ndarray, np.ndarray]:
        """See `average_precisions`."""
        return average_precisions(self.boxes, self.matches)

    @cached_property
    def curves(self) -> list[ScoreCurve]:
        """Of every class at IoU 0.5."""
        return score_curves(self.boxes, self.matches)

    @cached_property
    def thresholds(self) -> list[float]:
        """The best score threshold of every class."""
        return [curve.threshold() for curve in self.curves]

    @cached_property
    def errors(self) -> Errors:
        """Every error at IoU 0.5."""
        return find_errors(self.boxes, self.matches)

    @cached_property
    def costs(self) -> tuple[float, list[float]]:
        """See `error_costs`."""
        return error_costs(self.boxes, self.matches, self.errors)

    @cached_property
    def confusion(self) -> np.ndarray:
        """At the best thresholds; see `confusion_matrix`."""
        return confusion_matrix(self.boxes, self.matches, self.thresholds)

    def numbers(self) -> dict[str, float]:
        """AP, AP50, AP75 and those of the sizes; NaN where there is no such object."""
        precision = self.averages[0]
        values = {"AP": _mean(precision[:10]), "AP50": _mean(precision[0])}
        values["AP75"] = _mean(precision[5])
        for number, name in enumerate(RANGES):
            if number:
                part = precision[number * len(IOUS) : (number + 1) * len(IOUS)]
                values[f"AP{name[0]}"] = _mean(part)
        return values


def read_evaluation(results: Path, truth: Path, image_folder: Optional[Path] = None) -> Evaluation:
    """Detections (COCO results) and labels (`truth.json`) of an evaluation.

    Args:
        image_folder: the images lie there, not where the labels say.

    Raises:
        DataError: a file cannot be read, they do not belong together, or no image is in the folder.
    """
    evaluation = make_evaluation(results, read_json(truth), str(truth))
    if image_folder is not None:
        names = evaluation.file_names
        evaluation.paths = [_below(image_folder, name) for name in names]
        if names and not any(evaluation.paths):
            text = f"`image_dir`: found {image_folder}, which has no image of {truth}"
            raise DataError(f"{text}, allowed: the folder with {names[0]}")
    return evaluation


def _below(folder: Path, name: str) -> Optional[Path]:
    """The file of that name, or of its last part, in the folder; None if there is none."""
    files = [folder / name, folder / Path(name).name] if name else []
    return next((file.resolve() for file in files if file.is_file()), None)


def make_evaluation(results: Path, truth: dict[str, Any], truth_name: str) -> Evaluation:
    """The same with labels that have been read; `truth_name` stands in messages.

    Raises:
        DataError: the results cannot be read, or do not belong to these labels.
    """
    try:
        ids = {int(image["id"]): image for image in truth["images"]}
        categories = {category["id"] for category in truth["categories"]}
        names = {str(category["name"]) for category in truth["categories"]}
        for item in truth["annotations"]:
            x, y, width, height = map(float, item["bbox"])
            if item["image_id"] not in ids or item["category_id"] not in categories:
                raise ValueError(f"an annotation of image_id {item['image_id']}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{truth_name}: found {error!s}, allowed: {_FORM}") from error
    if not names:
        raise DataError(f"{truth_name}: categories: found none, allowed: one or more")
    entries = read_entries(str(results))
    for entry in entries:
        for key, known in (("image_id", ids), ("category_id", categories)):
            if entry[key] not in known:
                raise DataError(f"{results}: {key} {entry[key]} is not in {truth_name}")
    boxes = Boxes.of_coco(truth, entries)
    paths = [ids[number].get("path") for number in boxes.image_ids]
    file_names = [str(ids[number].get("file_name", "")) for number in boxes.image_ids]
    name = str((truth.get("info") or {}).get("data", ""))
    files = [Path(path) if path else None for path in paths]
    return Evaluation(boxes, files, name, file_names)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    values = np.asarray(values)
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
