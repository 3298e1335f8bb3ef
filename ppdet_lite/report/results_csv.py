"""`results.csv` of a training run: a row per log interval, with the metrics of evaluations."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import PathLike, free_name, replacing
from ppdet_lite.utils.logger import get_logger

RESULTS_CSV = "results.csv"
_KEYS = ("epoch", "iteration")

Values = Mapping[str, Union[int, float]]


class ResultsCsv:
    """Writes the table row by row. A process that is killed leaves whole rows behind, and a resumed
    run goes on behind the row of its iteration. A file that is no such table is moved aside.

    Columns are `epoch`, `iteration` and whatever comes; a column that comes later is empty in the
    rows before. `iteration` is different in every row.

    Args:
        iteration: position of the run; rows of later iterations, which are trained again, and a
            row that is not whole are removed.

    Attributes:
        iteration: that of the last row; 0 without one.

    Raises:
        DataError: the file cannot be written or moved.
    """

    def __init__(self, path: PathLike, iteration: int = 0):
        self.path = path
        self._columns = [*_KEYS]
        self._last: dict[str, str] = {}
        rows = _rows_or_aside(path) if os.path.exists(path) else []
        kept = [row for row in rows if _iteration(row) <= iteration]
        if kept:
            self._columns = list(kept[0])
            self._last = kept[-1]
        self._write_all(kept)

    @property
    def iteration(self) -> int:
        return int(self._last.get("iteration", 0))

    def write(self, values: Values) -> None:
        """Adds a row; values of the iteration of the last row go into that row.

        Args:
            values: `epoch`, `iteration` and others, which are left empty where not finite.

        Raises:
            DataError: the file cannot be written.
        """
        row = {key: _text(value) for key, value in values.items()}
        replaces = self._last.get("iteration") == row["iteration"]
        if replaces:
            row = {**self._last, **row}
        new = [key for key in row if key not in self._columns]
        if new or replaces:  # a row changed in place could be cut by a kill
            rows = _read_rows(self.path)
            self._columns += new
            self._write_all([*(rows[:-1] if replaces else rows), row])
        else:
            self._append(row)
        self._last = row

    def _append(self, row: Mapping[str, str]) -> None:
        try:
            with open(self.path, "r+b") as stream:
                stream.seek(0, os.SEEK_END)
                stream.write(self._line(row).encode())  # one call of the system
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _write_all(self, rows: Iterable[Mapping[str, str]]) -> None:
        header = self._line({key: key for key in self._columns})
        with replacing(self.path) as stream:
            stream.write("".join([header, *map(self._line, rows)]).encode())

    def _line(self, row: Mapping[str, str]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row.get(key, "") for key in self._columns)
        return text.getvalue()


def read_results_csv(path: PathLike) -> dict[str, np.ndarray]:
    """Column -> float64 [rows], NaN where a row has no value.

    Raises:
        DataError: the file cannot be read, or has other columns or values.
    """
    rows = _read_rows(path)
    columns = rows[0] if rows else dict.fromkeys(_KEYS)
    return {key: np.array([_number(row[key]) for row in rows], np.float64) for key in columns}


def _rows_or_aside(path: PathLike) -> list[dict[str, str]]:
    """The whole rows; [] after moving a file that is no such table aside."""
    try:
        return _read_rows(path)
    except DataError as error:
        if not os.path.isfile(path):
            raise
        aside = free_name(path, "unreadable")
        try:
            os.replace(path, aside)
        except OSError as reason:
            raise DataError(f"{path}: cannot be moved ({reason.strerror})") from reason
        get_logger().warning("%s. It is %s now, and a new table begins.", error, aside)
        return []


def _read_rows(path: PathLike) -> list[dict[str, str]]:
    """The whole rows, all with the same columns; [] of an empty file."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:  # Excel writes a BOM
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not text:
        return []
    whole = text[: text.rfind("\n") + 1]  # the end of a killed process's last line is missing
    reader = csv.reader(io.StringIO(whole))
    header = next(reader, [])
    if tuple(header[:2]) != _KEYS:
        found = ",".join(header)[:200] or "nothing"
        raise DataError(f"{path}: found columns {found}, allowed: {', '.join(_KEYS)}, ...")
    rows = []
    for number, cells in enumerate(reader, start=1):
        row = dict(zip(header, cells))
        if len(cells) != len(header) or not all(map(_is_number, cells)) or not row["iteration"]:
            found = ",".join(cells)[:200]
            raise DataError(f"{path}: row {number}: found {found}, allowed: {len(header)} numbers")
        rows.append(row)
    return rows


def _iteration(row: Mapping[str, str]) -> float:
    return float(row["iteration"])


def _text(value: Optional[Any]) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}" if value is not None and math.isfinite(value) else ""


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(_number(cell)) or not cell
    except ValueError:
        return False


def _number(cell: Optional[str]) -> float:
    return float(cell) if cell else math.nan
