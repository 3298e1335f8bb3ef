"""Latencies of devices from a file: what `ppdet stream-eval` simulates them by."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ppdet_lite.core.errors import DataError


class Latencies(NamedTuple):
    """Measured latencies of a device in milliseconds; a simulation takes them in turn."""

    name: str
    milliseconds: Sequence[float]

    def seconds_of_run(self, image_id: int, number: int) -> float:
        """Seconds of the run with this number, whatever its image."""
        return self.milliseconds[number % len(self.milliseconds)] / 1000


def read_latency_table(path: Path) -> list[Latencies]:
    """The devices of a table in the order of the file.

    A `.csv` has lines `device,milliseconds`, several for a device whose runs differ, a header being
    allowed; a `.json` is a dict of device -> milliseconds, one number or a list.

    Raises:
        DataError: the file cannot be read, holds no device, or a value is no number above 0.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    found: dict[str, list[float]] = {}
    for place, device, value in _json(path, text) if path.suffix == ".json" else _csv(text):
        milliseconds = _number(value)
        if not (0 < milliseconds < math.inf):
            raise DataError(f"{path}: {place}: found {value!r}, allowed: milliseconds above 0")
        found.setdefault(device, []).append(milliseconds)
    if not found:
        raise DataError(f"{path}: found no device, allowed: lines of device and milliseconds")
    return [Latencies(name, values) for name, values in found.items()]


def _csv(text: str) -> list[tuple[str, str, object]]:
    rows: list[tuple[str, str, object]] = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and math.isnan(_number(cells[-1]))):
            continue  # blank, or the header
        rows.append((f"line {number}", cells[0], cells[1] if len(cells) == 2 else ",".join(row)))
    return rows


def _json(path: Path, text: str) -> list[tuple[str, str, object]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({str(error)[:200]})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: found a {type(content).__name__}, allowed: device: milliseconds")
    return [
        (device, device, value)
        for device, values in content.items()
        for value in (values if isinstance(values, list) and values else [values])
    ]


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return math.nan
