"""The sections of a page about an evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ppdet_lite.metrics.analysis.error_types import KINDS
from ppdet_lite.report.evaluation.drawn_errors import error_image_sections
from ppdet_lite.report.evaluation.drawn_images import image_section
from ppdet_lite.report.evaluation.evaluation import Evaluation
from ppdet_lite.report.evaluation.evaluation_charts import (
    confusion_chart,
    curve_charts,
    error_chart,
)
from ppdet_lite.report.page import (
    Cell,
    Number,
    Section,
    Table,
    count_cell,
    number_cell,
    percent_cell,
)

_MEANING = {
    "classification": "The box is right (IoU 0.5 with a label), the class is another.",
    "localization": "The class is right, the box is off: IoU 0.1 to 0.5 with its label.",
    "both": "Class and box are both off.",
    "duplicate": "A second detection of an object that a better one has found.",
    "background": "Nothing is labeled there: IoU at most 0.1 with any label.",
    "missed": "A label that no detection found, not even with another class or a box that is off.",
}
_MOST_CONFUSIONS = 12


def head_numbers(evaluation: Evaluation) -> list[Number]:
    """AP and its parts, in percent."""
    values = evaluation.numbers().items()
    return [Number(name, f"{100 * value:.1f}") for name, value in values if math.isfinite(value)]


def evaluation_sections(evaluation: Evaluation) -> Iterator[Section]:
    """All sections: numbers first, then images."""
    yield _per_class(evaluation)
    yield _errors(evaluation)
    text = "At IoU 0.5. The higher the threshold, the more of what is shown is right, and the less "
    text += "is found; F1 weighs both."
    if not (charts := [*curve_charts(evaluation)]):
        text = "There are no labels to find, hence nothing to measure."
    yield Section("curves", "Precision, recall and thresholds", text, "Curves", charts=charts)
    yield _confusion(evaluation)
    yield from error_image_sections(evaluation)
    if (section := image_section(evaluation)) is not None:
        yield section


def _per_class(evaluation: Evaluation) -> Section:
    names = evaluation.boxes.class_names
    precision, recall = evaluation.averages
    columns = ["class", "labels", "AP", "AP50", "AP75", "AR", "best F1", "at threshold"]
    rows = []
    for index, (name, curve) in enumerate(zip(names, evaluation.curves)):
        has = curve.labels > 0
        best = curve.best()
        f1 = float(curve.f1[best]) if best >= 0 else 0.0 if has else math.nan
        averages = precision[:10, index].mean(), precision[0, index], precision[5, index]
        cells = [percent_cell(float(value), bar=True) for value in averages]
        cells += [percent_cell(float(recall[:10, index].mean())), percent_cell(f1)]
        cells += [number_cell(curve.threshold() if best >= 0 else math.nan)]
        cells += [percent_cell(float(curve.precision[best]) if best >= 0 else math.nan)]
        cells += [percent_cell(float(curve.recall[best]) if best >= 0 else math.nan)]
        rows.append([Cell(name, name), count_cell(curve.labels), *cells])
    boxes = evaluation.boxes
    text = (
        f"{evaluation.name + ': ' if evaluation.name else ''}{len(boxes.image_ids):,} images, "
        f"{len(boxes.labels.images):,} labels, {len(boxes.found.images):,} detections. AP as COCO "
        "defines it; precision and recall are those at the threshold of the best F1. In "
        "percent, but for the threshold. Click on a column to sort by it."
    )
    table = Table([*columns, "precision", "recall"], rows, names=["class"])
    return Section("classes", "Evaluation, class by class", text, "Classes", tables=[table])


def _errors(evaluation: Evaluation) -> Section:
    counts, (_, costs) = evaluation.errors.counts(), evaluation.costs
    rows = [
        [Cell(kind, kind), count_cell(count), number_cell(100 * cost, 1), Cell(meaning, meaning)]
        for (kind, meaning), count, cost in zip(_MEANING.items(), counts, costs)
    ]
    text = "Every error has one kind; its cost is the AP50 that would be gained if only errors of "
    text += f"this kind were gone (TIDE). The most expensive kind: {KINDS[int(np.argmax(costs))]}."
    labels, detections = sum(curve.labels for curve in evaluation.curves), sum(counts[:-1])
    if not labels:
        text = "There are no labels to find, hence no AP50 that an error could cost. "
        text += f"Detections, all of them wrong: {detections:,}."
    elif not len(evaluation.boxes.found.images):
        text = f"Nothing is detected: none of the {labels:,} labels is found, and AP50 is 0."
    elif not max(costs):
        text = "There is no error that costs AP50."
        if sum(counts):
            text = "No kind of error alone costs AP50: without those of one kind it stays the same."
    table = Table(("error", "count", "AP50 lost", "meaning"), rows)
    return Section(
        "errors",
        "Errors that cost the AP",
        text,
        "Errors",
        charts=[error_chart(evaluation)],
        tables=[table],
    )


def _confusion(evaluation: Evaluation) -> Section:
    matrix = evaluation.confusion
    names = [*evaluation.boxes.class_names, "background"]
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    rows = []
    for place in np.argsort(-off, axis=None, kind="stable")[:_MOST_CONFUSIONS].tolist():
        row, column = divmod(place, len(names))
        if count := int(off[row, column]):
            share = count / max(int(matrix[row].sum()), 1)
            is_missed, is_nothing = column == len(names) - 1, row == len(names) - 1
            found = "not detected" if is_missed else names[column]
            labeled = "nothing there" if is_nothing else names[row]
            cells = [Cell(labeled, labeled), Cell(found, found), count_cell(count)]
            rows.append([*cells, percent_cell(share, bar=True)])
    columns = ("labeled", "detected", "count", "% of the label")
    table = Table(columns, rows, names=columns[:2])
    text = "Detections above the best threshold of their class, at IoU 0.5. The last column are "
    text += "labels that are not detected, the last row detections of nothing."
    return Section(
        "confusion",
        "Confusion",
        text,
        charts=[confusion_chart(evaluation)],
        tables=[table] if rows else [],
        is_wide=len(names) > 20,
    )
