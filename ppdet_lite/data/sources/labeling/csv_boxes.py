"""CSV tables with a box in every row."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.core.registry import register
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import given_classes, numbered
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    find_listed,
    not_allowed,
    read_text,
    require_file,
    require_folder,
)
from ppdet_lite.utils.image_files import is_image

COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
"""The columns of a table without a header."""

_KNOWN_AS = {
    "path": ("path", "filename", "file", "file_name", "image", "image_path", "img", "image_name"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "class_name", "label", "name", "category"),
}


class CSVRow(NamedTuple):
    """A row: line of the file, image, and its box with the class; no box for an image alone."""

    line: int
    image: str
    box_xyxy: Optional[tuple[float, float, float, float]]
    name: str


def read_csv(path: Path) -> tuple[list[CSVRow], list[DataError]]:
    """The rows of a table: with the columns COLUMNS, or with a header that names them, as in
    `filename,width,height,class,xmin,ymin,xmax,ymax`; and errors about other rows, with line and
    column.

    Raises:
        DataError: it is no such table.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    mark = max(",;\t", key=first.count)
    lines = csv.reader(text.splitlines(), delimiter=mark)
    rows, problems, place = list[CSVRow](), list[DataError](), list[int]()
    try:
        for fields in lines:
            fields = [field.strip() for field in fields]
            if not any(fields):
                continue
            if not place:
                place = columns_of(fields)
                if not place:
                    allowed = f"{','.join(COLUMNS)}, or a header with these columns"
                    raise error_at(path, lines.line_num, not_allowed(first[:200], allowed))
                if not is_data(fields):
                    continue
            try:
                rows.append(_row(path, lines.line_num, fields, place))
            except DataError as error:
                problems.append(error)
    except csv.Error as error:
        raise error_at(path, lines.line_num, f"not CSV: {error}") from None
    if not rows and not problems:
        raise DataError(f"{path}: no row with an image in it")
    return rows, problems


def columns_of(fields: Sequence[str]) -> list[int]:
    """Number of the column of each of COLUMNS, of the first row of a table; [] if it is none."""
    if is_data(fields):
        return [*range(len(COLUMNS))]
    lower = [field.strip().lower() for field in fields]
    found = [[lower.index(name) for name in _KNOWN_AS[key] if name in lower] for key in COLUMNS]
    return [places[0] for places in found] if all(found) else []


def is_data(fields: Sequence[str]) -> bool:
    """True for `path,x1,y1,x2,y2,class`, with the last five all empty for an image alone."""
    if len(fields) < len(COLUMNS) or not is_image(fields[0]):
        return False
    numbers = fields[1:5]
    return not any(numbers) or all(_is_number(field) for field in numbers)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(path: Path, line: int, fields: list[str], place: list[int]) -> CSVRow:
    if len(fields) <= max(place):
        found = f"found {len(fields)} columns"
        raise error_at(path, line, f"{found}, allowed: {max(place) + 1} or more")
    image, *corners, name = (fields[index] for index in place)
    if not image:
        raise error_at(path, line, "path: empty, allowed: an image")
    if not any(corners) and not name:
        return CSVRow(line, image, None, "")
    for key, text in zip(COLUMNS[1:], corners):
        if not _is_number(text):
            raise error_at(path, line, key, not_allowed(text, "a number of pixels"))
    if not name:
        raise error_at(path, line, "class: empty, allowed: the name of a class")
    x1, y1, x2, y2 = map(float, corners)
    return CSVRow(line, image.replace("\\", "/"), (x1, y1, x2, y2), name)


@register
@dataclass(eq=False)
class CSVBoxDataSet(DetectionDataset):
    """A table with a row `path,x1,y1,x2,y2,class` for every box, corners in pixels; empty columns
    after the path make an image without objects. A header may name the columns in another order.

    Args:
        anno_path: the table.
        image_dir: folder that the paths are relative to; by default that of the table. Of a path
            from another machine the last parts count.
        label_list: the class names in their order, or a file of them, see `read_class_list`. By
            default those in the table, sorted.
    """

    label_list: Union[str, list[str], None] = None

    def read(self) -> Content:
        path = require_file("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        root = path.parent
        if self.image_dir is not None:
            root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        rows, bad = read_csv(path)
        self.refuse(bad, len(rows) + len(bad), "rows")
        if self.label_list:
            classes, source = given_classes(self.label_list, self.dataset_dir)
        else:
            classes, source = numbered(sorted({row.name for row in rows if row.name})), str(path)
        if not classes.names:
            raise DataError(f"{path}: no box in any row; name classes in label_list")
        index_of = {name: index for index, name in enumerate(classes.names)}
        by_image: dict[str, list[CSVRow]] = {}
        for row in rows:
            image = os.path.normpath(row.image)
            if image not in by_image and (found := find_listed(row.image, root, root)):
                image = os.path.relpath(found, root)
            by_image.setdefault(image, []).append(row)
        table, problems, unreadable = AnnotationRows(), list[DataError](), list[ImageError]()
        for image, boxes in by_image.items():
            try:
                height, width = displayed_size(str(root / image))
            except ImageError as error:  # left out or refused by the reader
                height = width = 0
                unreadable.append(error)
            table.add_image(image, height, width)
            for row in boxes if width else ():
                if row.box_xyxy is None:
                    continue
                if row.name in index_of:
                    table.add_box(index_of[row.name], row.box_xyxy)
                    continue
                hint = nearest_hint(row.name, index_of)
                text = f"'{row.name}' is not in {source}{hint}"
                problems.append(error_at(path, row.line, "class", text))
        self.refuse(problems, len(rows), "rows")
        remarks = []
        if unreadable:
            text = f"images that cannot be read: {len(unreadable)} (first: {unreadable[0]})"
            remarks.append(text)
        return Content(str(path), root, classes, table.annotations(), remarks)
