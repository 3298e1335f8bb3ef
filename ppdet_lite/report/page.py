"""A page as data, and its HTML: one file that needs no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.errors import require
from ppdet_lite.report.charts import Chart
from ppdet_lite.utils.files import replacing

PAGE_FILE = "index.html"
IMAGE_FOLDER = "report"
"""Name of the folder with the charts and images of a page, beside it."""


_FILES = "files_of_page.txt"


class Number(NamedTuple):
    """A number at the head of the page."""

    name: str
    value: str


class Cell(NamedTuple):
    """A cell of a table: its text, the value that it is sorted by, and a bar of that share."""

    text: str
    order: Any
    share: Optional[float] = None


class Table(NamedTuple):
    """Columns and rows of cells; a click on a column's name sorts by it. The texts of a column in
    `names` are cut where they are long, and whole as a tooltip.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: Sequence[str] = ()

    def is_text(self, column: int) -> bool:
        """True for a column of texts, which stand to the left."""
        return bool(self.rows) and isinstance(self.rows[0][column].order, str)

    def is_wrapped(self, column: int) -> bool:
        """True for a column of sentences."""
        is_name = self.columns[column] in self.names
        return (
            not is_name
            and self.is_text(column)
            and any(len(row[column].text) > 40 for row in self.rows)
        )


class Tile(NamedTuple):
    """An image, JPEG, with its caption; `name` is that of its file without ending."""

    name: str
    jpeg: bytes
    title: str = ""
    text: str = ""


class Key(NamedTuple):
    """The meaning of a line in the images."""

    color: str
    text: str
    dashed: bool = False


class Group(NamedTuple):
    """Images of one kind; `layout` is small, large or pairs."""

    title: str
    text: str
    tiles: Sequence[Tile]
    layout: str = "small"
    keys: Sequence[Key] = ()


class Attachment(NamedTuple):
    """A file beside the page."""

    name: str
    content: bytes


@dataclass
class Section:
    """A part of the page; `short` is its name in the line of links. A table stands beside a single
    chart, unless `is_wide`.
    """

    anchor: str
    title: str
    text: str = ""
    short: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    groups: Sequence[Group] = ()
    attachments: Sequence[Attachment] = ()
    is_wide: bool = False

    @property
    def is_split(self) -> bool:
        """True where the table stands beside the chart."""
        return len(self.charts) == 1 and bool(self.tables) and not self.is_wide


@dataclass
class Page:
    """All of it; `command` makes it again."""

    title: str
    subtitle: str
    numbers: Sequence[Number]
    sections: Sequence[Section]
    footer: str
    command: str
    folder: str = IMAGE_FOLDER


def number_cell(value: float, digits: int = 3) -> Cell:
    """A cell with a number, a dash where it is not defined (NaN or negative)."""
    if not math.isfinite(value) or value < 0:
        return Cell("–", -1.0)
    return Cell(f"{value:.{digits}f}", float(value))


def percent_cell(share: float, bar: bool = False) -> Cell:
    """The same for a share, in percent."""
    cell = number_cell(100 * share, 1)
    return cell._replace(share=min(share, 1.0)) if bar and cell.order >= 0 else cell


def count_cell(value: int) -> Cell:
    """A cell with a whole number."""
    return Cell(f"{value:,}", int(value))


def write_page(page: Page, folder: Path) -> Path:
    """Writes `index.html` and, into `report/`, its charts and images as files.

    Raises:
        UserError: the package jinja2 is not installed.
        DataError: a file cannot be written.
    """
    jinja2 = require("jinja2", "a report", "report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["data_uri"] = _data_uri
    template = environment.from_string(
        Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    )
    _write_files(page, folder / page.folder)
    path = folder / PAGE_FILE
    _write(path, template.render(page=page).encode("utf-8", "backslashreplace"))
    return path


def _write_files(page: Page, folder: Path) -> None:
    """The charts and images; those of an earlier page that this one has not go."""
    files = {}
    for section in page.sections:
        files.update({f"{chart.name}.png": chart.png for chart in section.charts})
        for group in section.groups:
            files.update({f"{tile.name}.jpg": tile.jpeg for tile in group.tiles})
        files.update({each.name: each.content for each in section.attachments})
    written = folder / _FILES
    earlier = written.read_text(encoding="utf-8").splitlines() if written.is_file() else []
    for name, content in files.items():
        _write(folder / name, content)
    _write(written, "".join(f"{name}\n" for name in files).encode())
    for name in {*earlier} - {*files}:
        if ".." not in name and not name.startswith("/"):
            (folder / name).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as stream:
        stream.write(content)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
