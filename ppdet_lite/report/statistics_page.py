"""The page of the statistics of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.doctor.statistics import SplitStatistics
from ppdet_lite.data.subset import SIZES
from ppdet_lite.report.charts import chart_style
from ppdet_lite.report.page import Cell, Number, Page, Section, Table, count_cell, write_page
from ppdet_lite.report.statistics_charts import statistics_charts


def write_statistics_page(
    name: str, layout: str, splits: Sequence[SplitStatistics], folder: Path, command: str
) -> Path:
    """Writes `index.html` with the charts and tables of all splits, and the charts into `report/`.

    Raises:
        UserError: matplotlib or jinja2 is not installed.
        DataError: there is no object, or a file cannot be written.
    """
    if not any(len(split.classes) for split in splits):
        raise DataError(f"{name}: no split has an object, of which statistics could be made")
    filled = [split for split in splits if len(split.classes)]
    with chart_style():
        charts = list(statistics_charts(filled))
    classes, others = charts[:1], charts[1:]
    text = "Boxes without area or outside the image, and crowds, are not counted."
    sections = [
        Section("overview", "Overview", text, tables=[_overview(splits)]),
        Section("objects", "Objects", "Sizes, shapes and positions.", charts=others),
        Section(
            "classes",
            "Classes",
            "Median side and shape are of all splits.",
            charts=classes,
            tables=[class_table(splits)],
        ),
    ]
    total = sum(len(split.classes) for split in splits)
    numbers = [
        Number("images", f"{sum(len(split.per_image) for split in splits):,}"),
        Number("objects", f"{total:,}"),
        Number("classes", f"{len(_names(splits)):,}"),
        Number("objects in an image", f"{total / sum(len(s.per_image) for s in splits):.1f}"),
    ]
    title, footer = f"Statistics of {name}", "All numbers are in stats.json."
    page = Page(title, layout, numbers, sections, footer, command)
    return write_page(page, folder)


def _overview(splits: Sequence[SplitStatistics]) -> Table:
    columns = ("split", "images", "without objects", "objects", *SIZES, "boxes left out")
    rows = [
        [
            Cell(split.name, split.name),
            count_cell(len(split.per_image)),
            count_cell(int((split.per_image == 0).sum())),
            count_cell(len(split.classes)),
            *map(count_cell, split.size_counts().sum(axis=0).tolist()),
            count_cell(split.left_out),
        ]
        for split in splits
    ]
    return Table(columns, rows)


def class_table(splits: Sequence[SplitStatistics]) -> Table:
    """A row for each class: objects and images of every split, sizes, median side and shape."""
    columns = ["class"]
    for split in splits:
        columns += [f"objects {split.name}", f"images {split.name}"]
    columns += [*SIZES, "median side, px", "median width / height"]
    names = _names(splits)
    indices = [{name: i for i, name in enumerate(split.class_names)} for split in splits]
    parts = [
        (split.class_counts(), split.images_of_classes(split.image_rows()), split.size_counts())
        for split in splits
    ]
    most = max(int(counts.max(initial=1)) for counts, *_ in parts)
    rows = []
    for name in names:
        row, sizes, sides = [Cell(name, name)], np.zeros(len(SIZES), np.int64), []
        for split, index, (counts, images, size_counts) in zip(splits, indices, parts):
            place = index.get(name)
            count = int(counts[place]) if place is not None else 0
            row.append(Cell(f"{count:,}", count, count / most))
            row.append(count_cell(int(images[place]) if place is not None else 0))
            if place is not None:
                sizes += size_counts[place]
                sides.append(split.sides[split.classes == place])
        found = np.concatenate(sides)
        row += map(count_cell, sizes.tolist())
        row.append(_median(np.sqrt(found.prod(axis=1)), "{:.0f}"))
        row.append(_median(found[:, 0] / found[:, 1], "{:.2f}"))
        rows.append(row)
    rows.sort(key=lambda row: -sum(row[1 + 2 * i].order for i in range(len(splits))))
    return Table(columns, rows)


def _median(values: np.ndarray, form: str) -> Cell:
    if not len(values):
        return Cell("–", -1.0)
    median = float(np.median(values))
    return Cell(form.format(median), median)


def _names(splits: Sequence[SplitStatistics]) -> list[str]:
    return list(dict.fromkeys(name for split in splits for name in split.class_names))
