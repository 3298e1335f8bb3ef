"""The page of a training run, made from the files in its folder alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.report.charts import chart_style
from ppdet_lite.report.evaluation.evaluation import read_evaluation
from ppdet_lite.report.evaluation.evaluation_sections import evaluation_sections
from ppdet_lite.report.page import Cell, Group, Number, Page, Section, Table, Tile, write_page
from ppdet_lite.report.results_csv import RESULTS_CSV, read_results_csv
from ppdet_lite.report.run_folder import batches_folder, detections_file, read_facts, truth_file
from ppdet_lite.report.training_charts import Columns, loss_names, training_charts

_HEAD = ("AP", "AP50", "AP75", "mAP")


def write_run_page(folder: Path) -> Path:
    """Writes `index.html` of a run, and its images into `report/`.

    Raises:
        UserError: matplotlib or jinja2 is not installed.
        DataError: the folder has no `results.csv`, or a file cannot be read or written.
    """
    if not (folder / RESULTS_CSV).is_file():
        raise DataError(f"{folder}: found no {RESULTS_CSV}, allowed: the folder of a training run")
    columns, facts = read_results_csv(folder / RESULTS_CSV), read_facts(folder)
    results = detections_file(folder)
    evaluation = read_evaluation(results, truth_file(folder)) if results.is_file() else None
    with chart_style(evaluation.boxes.class_names if evaluation else ()):
        sections = [_training(columns)]
        if evaluation:
            sections += evaluation_sections(evaluation)
        page = Page(
            title=facts.get("configuration", folder.resolve().name),
            subtitle=_position(columns, facts),
            numbers=_head(columns),
            sections=[*sections, *_batches(folder), _facts(facts)],
            footer="Made by ppdet_lite.",
            command=shlex.join(["ppdet", "report", str(folder.resolve())]),
        )
        return write_page(page, folder)


def _position(columns: Columns, facts: dict[str, str]) -> str:
    if not len(columns["iteration"]):
        return "No step has been logged yet."
    epoch, iteration = int(columns["epoch"][-1]), int(columns["iteration"][-1])
    total = f" of {facts['epochs']}" if "epochs" in facts else ""
    return f"{epoch + 1}{total} epochs, {iteration:,} iterations"


def _head(columns: Columns) -> list[Number]:
    """The metrics of the last evaluation and the best of the first of them."""
    numbers, best = [], []
    for name in _HEAD:
        values = columns.get(f"bbox/{name}", np.zeros(0))
        values = values[np.isfinite(values) & (values >= 0)]
        if len(values):
            numbers.append(Number(name, f"{100 * values[-1]:.1f}"))
            best.append(Number(f"best {name}", f"{100 * values.max():.1f}"))
    return numbers + best[:1]


def _training(columns: Columns) -> Section:
    if not len(columns["iteration"]):
        return Section("training", "Training", "No step has been logged yet.")
    rows = []
    for name in loss_names(columns):
        values = columns[name][np.isfinite(columns[name])]
        if len(values):
            numbers = [Cell(f"{v:.4g}", float(v)) for v in (values[0], values[-1], values.min())]
            rows.append([Cell(name, name), *numbers])
    table = Table(("loss", "first", "last", "lowest"), rows)
    text = "All numbers are rows of results.csv, which any spreadsheet or pandas reads."
    return Section("training", "Training", text, charts=[*training_charts(columns)], tables=[table])


def _batches(folder: Path) -> list[Section]:
    """The training images, if there are any."""
    files = sorted(batches_folder(folder).glob("*.jpg"))
    if not files:
        return []
    try:
        tiles = [Tile(f"train_batches/{file.stem}", file.read_bytes()) for file in files]
    except OSError as error:
        raise DataError(f"{files[0].parent}: cannot be read ({error.strerror})") from error
    text = (
        "The first images of the run as the network sees them, after all augmentation. Boxes that "
    )
    text += "do not fit here fit nowhere."
    groups = [Group("", "", tiles, "large")]
    return [Section("batches", "Training images", text, "Training images", groups=groups)]


def _facts(facts: dict[str, str]) -> Section:
    return Section("run", "This run", "What was trained, on what and how.", facts=facts)
