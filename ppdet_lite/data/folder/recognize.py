"""Finds out how the files of a folder are to be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.folder.coco_layout import coco_readings
from ppdet_lite.data.folder.csv_layout import csv_readings, first_row
from ppdet_lite.data.folder.labelme_layout import labelme_readings
from ppdet_lite.data.folder.reading import FolderReading
from ppdet_lite.data.folder.scan import FolderScan
from ppdet_lite.data.folder.voc_layout import voc_readings
from ppdet_lite.data.folder.yolo_layout import yolo_readings
from ppdet_lite.data.sources.files import is_json
from ppdet_lite.data.sources.labeling.csv_boxes import COLUMNS

_LAYOUTS = {
    "coco": coco_readings,
    "voc": voc_readings,
    "yolo": yolo_readings,
    "csv": csv_readings,
    "labelme": labelme_readings,
}
FORMATS = tuple(_LAYOUTS)
"""The formats that are recognized."""

KNOWN = (
    "COCO json (of COCO, Roboflow, CVAT), labelme's json, Pascal VOC xml (with lists or without), "
    "YOLO txt (data.yaml, obj.data, classes.txt), CSV (path,x1,y1,x2,y2,class)"
)


def readings_of(folder: Union[str, os.PathLike[str]]) -> list[FolderReading]:
    """All ways to read a folder that its files allow; the annotations are not yet read.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    scan = FolderScan(Path(folder).expanduser())
    if not scan.images:
        raise DataError(f"{folder}: no images in this folder or below it ({scan.describe()})")
    return [reading for find in _LAYOUTS.values() for reading in find(scan)]


def recognize(
    folder: Union[str, os.PathLike[str]], data_format: Optional[str] = None
) -> FolderReading:
    """The one way to read a folder.

    Args:
        data_format: chooses among several: one of FORMATS, or the whole name of a reading
            (`coco:annotations/instances_*.json`) where a format has several.

    Raises:
        DataError: no layout fits, or several do; then all are listed.
    """
    found = readings_of(folder)
    allowed = [*dict.fromkeys(r.format for r in found), *(r.name for r in found)]
    if not found:
        scan = FolderScan(Path(folder).expanduser())
        damaged = [file for file in scan.files(".json") if not is_json(scan.path(file))]
        text = f"; not JSON: {', '.join(damaged[:5])}" if damaged else ""
        for file in scan.files(".csv")[:3]:
            columns = ",".join(first_row(scan, file))[:200]
            text += f"; {file} has the columns {columns or '(none)'}, not {','.join(COLUMNS)}"
        files = scan.describe()
        raise DataError(f"{folder}: no annotations found ({files}){text}, allowed: {KNOWN}")
    chosen = [r for r in found if data_format in (None, r.format, r.name)]
    if not chosen:
        hint = nearest_hint(str(data_format), allowed)
        choices = ", ".join(allowed)
        raise DataError(f"`data_format`: found {data_format}, allowed here: {choices}{hint}")
    if len(chosen) > 1:
        formats = [reading.format for reading in chosen]
        listed = "".join(
            f"\n  `data_format` {r.format if formats.count(r.format) == 1 else r.name}: {r.title}"
            f", {', '.join(r.sections)}"
            for r in chosen
        )
        raise DataError(f"{folder} can be read in {len(chosen)} ways; choose one:{listed}")
    return chosen[0]
