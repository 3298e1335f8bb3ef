"""Tables of results: method, input size, AP and frames per second."""

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ppdet_lite.core.errors import DataError

PUBLISHED = Path(__file__).with_name("published.csv")
"""Table 2 of the PP-YOLOv2 paper: AP on COCO test-dev, FPS of a V100 with batch 1."""

SPEEDS = ("fps", "fps_tensorrt")
COLUMNS = ("method", "size", "ap", *SPEEDS)


class Result(NamedTuple):
    """One row of a table.

    Attributes:
        method: rows of one method are joined to a line.
        size: of the network input, as text; "" where it is not stated.
        ap: in percent.
        fps, fps_tensorrt: images per second; None where it was not measured.
    """

    method: str
    size: str
    ap: float
    fps: Optional[float] = None
    fps_tensorrt: Optional[float] = None

    def speed(self, column: str) -> float:
        """`fps` or `fps_tensorrt`; NaN where it was not measured."""
        value = getattr(self, column)
        return math.nan if value is None else value


def read_results(path: Path) -> list[Result]:
    """Reads a .csv with a header, or a .json with a list of objects; both have COLUMNS, of which
    `method`, `ap` and one of the speeds are needed. Other columns are left alone.

    Raises:
        DataError: the file cannot be read, or a value cannot be used; names row and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if path.suffix.lower() == ".json":
        rows = _rows_of_json(path, text)
    else:
        rows = list(csv.DictReader(text.splitlines()))
    results = [_result(f"{path}: row {number}", row) for number, row in enumerate(rows, start=1)]
    if not results:
        raise DataError(f"{path}: found no row, allowed: a header with {', '.join(COLUMNS)}, rows")
    return results


def _rows_of_json(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: found {type(rows).__name__}, allowed: a list of objects")
    return rows


def _result(where: str, row: dict[str, Any]) -> Result:
    method = str(row.get("method") or "").strip()
    if not method:
        raise DataError(f"{where}: method: found nothing, allowed: a name")
    ap = _number(f"{where}: ap", row.get("ap"), 0, 100)
    if ap is None:
        raise DataError(f"{where}: ap: found nothing, allowed: 0 to 100, in percent")
    speeds = [_number(f"{where}: {key}", row.get(key), 0, math.inf) for key in SPEEDS]
    if speeds == [None, None]:
        raise DataError(f"{where}: fps: found nothing, allowed: images per second")
    return Result(method, str(row.get("size") or "").strip(), ap, *speeds)


def _number(where: str, value: Any, low: float, high: float) -> Optional[float]:
    if value is None or str(value).strip() == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low < number <= high or math.isinf(number) or isinstance(value, bool):
        most = "" if math.isinf(high) else f" and at most {high:g}"
        raise DataError(f"{where}: found {value!r}, allowed: above {low:g}{most}")
    return number


def pareto_front(results: Iterable[Result], speed: str) -> list[Result]:
    """The results that no other one beats, the slowest first: a better one is at least as fast and
    as accurate, and one of both more. Rows without that speed are left out."""
    front: list[Result] = []
    known = [result for result in results if not math.isnan(result.speed(speed))]
    for result in sorted(known, key=lambda result: (-result.speed(speed), -result.ap)):
        last = front[-1] if front else None
        is_equal = last is not None and (last.ap, last.speed(speed)) == (
            result.ap,
            result.speed(speed),
        )
        if last is None or result.ap > last.ap or is_equal:
            front.append(result)
    return front[::-1]
