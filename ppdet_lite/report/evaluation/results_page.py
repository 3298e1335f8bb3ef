"""The page of detections: a COCO results file and the labels of its images."""

from __future__ import annotations

from pathlib import Path

from ppdet_lite.report.charts import chart_style
from ppdet_lite.report.evaluation.evaluation import Evaluation
from ppdet_lite.report.evaluation.evaluation_sections import evaluation_sections, head_numbers
from ppdet_lite.report.page import Page, write_page


def write_results_page(evaluation: Evaluation, folder: Path, title: str, command: str) -> Path:
    """Writes `index.html` into `folder`, and its images into `report/` there.

    Raises:
        UserError: matplotlib or jinja2 is not installed.
        DataError: a file cannot be written.
    """
    with chart_style(evaluation.boxes.class_names):
        page = Page(
            title=title,
            subtitle=f"{len(evaluation.boxes.image_ids):,} images of {evaluation.name or 'labels'}",
            numbers=head_numbers(evaluation),
            sections=[*evaluation_sections(evaluation)],
            footer="Made by ppdet_lite.",
            command=command,
        )
        return write_page(page, folder)
