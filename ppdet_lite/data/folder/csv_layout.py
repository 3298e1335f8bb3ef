"""Folders with CSV tables of boxes."""

from __future__ import annotations

import contextlib
import csv
from typing import Any

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.reading import FolderReading
from ppdet_lite.data.folder.scan import FolderScan, parent, stem
from ppdet_lite.data.folder.split_words import by_split
from ppdet_lite.data.sources.labeling.csv_boxes import COLUMNS, columns_of, is_data, read_csv

_SHOWN = 12  # names of columns
_LOOKED_AT = 50  # rows, to find the folder that their paths start from


def csv_readings(scan: FolderScan) -> list[FolderReading]:
    """The readings of the CSV tables; one for all whose names differ by a split only."""
    readings = []
    tables = [file for file in scan.files(".csv") if columns_of(first_row(scan, file))]
    for pattern, files in by_split(tables).items():
        labels = _labels(scan, parent(pattern), [*files.values()])
        sections = {split: _section(scan, file, labels) for split, file in files.items()}
        first = first_row(scan, next(iter(files.values())))
        names = COLUMNS if is_data(first) else first
        more = ",..." if len(names) > _SHOWN else ""
        title = f"CSV ({pattern}: {','.join(names[:_SHOWN])}{more})"
        readings.append(FolderReading(scan.root, "csv", pattern, title, sections))
    return readings


def first_row(scan: FolderScan, file: str) -> list[str]:
    """The fields of the first row of a table, by the mark that most of them are separated by; []
    where it cannot be read.
    """
    try:
        with open(scan.path(file), newline="", encoding="utf-8-sig", errors="replace") as stream:
            first = next((line for line in stream if line.strip()), "")
        mark = max(",;\t", key=first.count)
        return [field.strip() for field in next(csv.reader([first], delimiter=mark), [])]
    except (OSError, csv.Error):
        return []


def _section(scan: FolderScan, file: str, labels: dict[str, Any]) -> dict[str, Any]:
    section = {"name": "CSVBoxDataSet", "dataset_dir": str(scan.root), "anno_path": file, **labels}
    images: list[str] = []
    with contextlib.suppress(DataError):
        images = [row.image for row in read_csv(scan.path(file))[0][:_LOOKED_AT]]

    def found(folder: str) -> int:
        prefix = f"{folder}/" if folder else ""
        return sum(prefix + image in scan.image_set for image in images)

    here = parent(file)
    best = max([here, *scan.image_folders], key=found)  # the first of equals
    if not found(best):  # paths from another machine: where the most files of these names are
        names = {stem(image) for image in images}
        homes = [parent(image) for image in scan.images if stem(image) in names]
        best = max(sorted({*homes}), key=homes.count, default=here)
    return {**section, "image_dir": best or "."} if best != here else section


def _labels(scan: FolderScan, folder: str, files: list[str]) -> dict[str, Any]:
    """`label_list`: classes.csv (`name,number`) beside the tables, or the names in them, sorted."""
    path = scan.path(folder) / "classes.csv"
    with contextlib.suppress(DataError, OSError, ValueError):
        if path.is_file():
            with open(path, newline="", encoding="utf-8-sig") as stream:
                rows = [(int(row[1]), row[0].strip()) for row in csv.reader(stream) if len(row) > 1]
            if rows:
                return {"label_list": [name for _, name in sorted(rows)]}
        rows_of_all = [row for file in files for row in read_csv(scan.path(file))[0]]
        return {"label_list": sorted({row.name for row in rows_of_all if row.name})}
    return {}
