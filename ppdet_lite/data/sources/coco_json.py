"""Reading a COCO annotation file into flat arrays, with little memory and exact complaints.

As Python objects COCO's training annotations take several gigabytes. Here every annotation is moved
into arrays as soon as it is parsed: the text and the arrays are all that stays.
"""

from __future__ import annotations

import json
import re
from array import array
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.annotation_table import Annotations, ImageTable, PolygonColumn
from ppdet_lite.data.sources.files import error_at, not_allowed, read_text

INTEGER, POSITIVE, NUMBER, TEXT = "an integer", "a positive integer", "a number", "text"
BOX = "four numbers x, y, width, height"

IMAGE = {"id": INTEGER, "width": POSITIVE, "height": POSITIVE, "file_name": TEXT}
CATEGORY = {"id": INTEGER, "name": TEXT}
ANNOTATION = {
    "image_id": INTEGER,
    "category_id": INTEGER,
    "bbox": BOX,
    "id": INTEGER,
    "area": NUMBER,
}

_NO_ID = -(2**62)
"""Id of an annotation that has none."""

_SPACE = re.compile(r"[ \t\r\n]*")


class CocoFile(NamedTuple):
    """Categories (`id` and `name`) in the order of the file, annotations with the images sorted by
    id, and what records do not need: annotation ids int64 [N], boxes and areas (or width x height)
    float64 as in the file. Run-length masks count as no polygons.
    """

    categories: list[dict[str, Any]]
    annotations: Annotations
    ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray


class BadField(Exception):
    """A value that cannot be used: list, index, key, and the problem with it."""

    def __init__(self, section: str, index: int, key: str, problem: str):
        super().__init__(problem)
        self.section, self.index = section, index
        self.text = f"{section}[{index}].{key}: {problem}"


def read_coco(path: Path, use_polygons: bool = True) -> CocoFile:
    """Reads and checks an annotation file in COCO detection format.

    Raises:
        DataError: not JSON, not COCO, or a field is missing or unusable; with file, line and key.
    """
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty; a COCO annotation file is needed")
    scanner, collector = _Scanner(text), _Collector(use_polygons)
    try:
        lists = _lists(scanner, path, collector)
        images, categories = lists["images"], lists["categories"]
        check_list("images", images, IMAGE, "id")
        check_list("categories", categories, CATEGORY, "id", "name")
        return _assemble(sorted(images, key=lambda image: image["id"]), categories, collector)
    except BadField as field:
        line = text.count("\n", 0, scanner.starts[field.section][field.index]) + 1
        raise error_at(path, line, field.text) from None
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: not JSON: {error.msg}") from None
    except RecursionError:
        raise DataError(f"{path}: not a COCO annotation file: nested too deeply") from None


class _Scanner:
    """Reads a JSON text piece by piece.

    Attributes:
        at: position of the next character.
        starts: position of every element of the lists that `elements` has read, by name.
    """

    def __init__(self, text: str):
        self.text, self.at, self.starts = text, 0, dict[str, "array[int]"]()
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def take(self, *allowed: str) -> str:
        """The next character, which must be one of these."""
        mark = self.peek()
        if mark not in allowed:
            raise json.JSONDecodeError(f"Expecting {' or '.join(allowed)}", self.text, self.at)
        self.at += len(mark)
        return mark

    def value(self) -> Any:
        """The next value."""
        self.peek()
        value, self.at = self._decode(self.text, self.at)
        return value

    def items(self, opened: str, closed: str) -> Iterator[int]:
        """Stops at every item of the list or mapping that comes next."""
        self.take(opened)
        if self.peek() == closed:
            self.take(closed)
            return
        while True:
            self.peek()
            yield self.at
            if self.take(",", closed) == closed:
                return

    def members(self) -> Iterator[str]:
        """The keys of the mapping that comes next, stopping before every value."""
        for _ in self.items("{", "}"):
            if self.peek() != '"':
                raise json.JSONDecodeError("Expecting a key in quotes", self.text, self.at)
            key = self.value()
            self.take(":")
            yield key

    def elements(self, name: str, use: Callable[[Any], Any]) -> list[Any]:
        """What `use` makes of every element of the list that comes next."""
        starts = self.starts[name] = array("q")
        found = []
        for start in self.items("[", "]"):
            starts.append(start)
            found.append(use(self.value()))
        return found


def _lists(scanner: _Scanner, path: Path, collector: _Collector) -> dict[str, list[Any]]:
    """The lists of images and categories; `annotations` may be absent, as in COCO's image_info
    files.
    """
    found: dict[str, Any] = {}
    start, problem = scanner.peek(), ""
    if start == "{":
        for key in scanner.members():
            if scanner.peek() == "[" and key in ("images", "categories"):
                found[key] = scanner.elements(key, lambda item: item)
            elif scanner.peek() == "[" and key == "annotations":
                collector.clear()  # the last of two lists of one name counts
                found[key] = scanner.elements(key, collector.add)
            else:
                found[key] = scanner.value()
    else:
        scanner.value()
        problem = f"found {'a list' if start == '[' else 'no mapping'} at the top"
    scanner.take("")
    if start == "{" and (missing := [key for key in ("images", "categories") if key not in found]):
        keys = ", ".join([*found][:8]) or "nothing"
        problem = f"'{missing[0]}' is missing, found {keys}"
    if problem:
        needed = "a COCO annotation file has the lists images, annotations and categories"
        raise DataError(f"{path}: not a COCO annotation file: {problem}; {needed}")
    for key in ("images", "categories", "annotations"):
        if not isinstance(found.get(key, []), list):
            raise DataError(f"{path}: {key}: found {type(found[key]).__name__}, allowed: a list")
    for key in ("images", "categories"):
        if not found[key]:
            raise DataError(f"{path}: the list '{key}' is empty")
    return found


class _Collector:
    """The values of annotations, one after the other in the order of the file."""

    def __init__(self, use_polygons: bool):
        self.use_polygons = use_polygons
        self.clear()

    def clear(self) -> None:
        self.integers, self.numbers, self.crowd = array("q"), array("d"), array("b")
        self.coordinates, self.ring_points, self.box_rings = array("f"), array("q"), array("q")

    def add(self, item: Any) -> None:
        """Takes an annotation; raises BadField."""
        try:
            integers, numbers = _values(item)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            check_fields("annotations", len(self.crowd), item, ANNOTATION)
            integers, numbers = _values(item)
        self._add_polygons(item.get("segmentation"))
        self.integers.extend(integers)
        self.numbers.extend(numbers)
        self.crowd.append(1 if item.get("iscrowd") else 0)

    def _add_polygons(self, segmentation: Any) -> None:
        rings = segmentation if self.use_polygons and isinstance(segmentation, list) else []
        rings = [r for r in rings if isinstance(r, list) and len(r) >= 6 and len(r) % 2 == 0]
        for ring in rings:
            try:
                self.coordinates.extend(ring)
            except TypeError:
                problem = "found a polygon with something that is no number"
                raise BadField("annotations", len(self.crowd), "segmentation", problem) from None
            self.ring_points.append(len(ring) // 2)
        self.box_rings.append(len(rings))


def _values(item: dict[str, Any]) -> tuple[array[int], array[float]]:
    """Image, category and own id, and x, y, width, height, area of an annotation."""
    x, y, width, height = item["bbox"]
    area = item.get("area")
    area = width * height if area is None else area
    integers = array("q", (item["image_id"], item["category_id"], item.get("id", _NO_ID)))
    return integers, array("d", (x, y, width, height, area))


def check_list(section: str, items: list[Any], needed: dict[str, str], *unique: str) -> None:
    """Checks the fields of all items, and that the `unique` ones differ; raises BadField."""
    for index, item in enumerate(items):
        check_fields(section, index, item, needed)
    for key in unique:
        seen: dict[Any, int] = {}
        for index, item in enumerate(items):
            first = seen.setdefault(item[key], index)
            if first != index:
                problem = f"{item[key]!r} is already the {key} of {section}[{first}]"
                raise BadField(section, index, key, problem)


def check_fields(section: str, index: int, item: Any, needed: dict[str, str]) -> None:
    """Checks one item; integers written as 640.0 are made integers.

    Args:
        needed: key -> one of INTEGER, POSITIVE, NUMBER, TEXT, BOX.

    Raises:
        BadField: names the first key that is missing or holds something else.
    """
    if not isinstance(item, dict):
        raise BadField(section, index, "id", not_allowed(item, "a mapping with an id"))
    for key, allowed in needed.items():
        if key not in item:
            if section == "annotations" and key in ("id", "area"):
                continue
            raise BadField(section, index, key, "missing")
        value = item[key]
        if allowed in (INTEGER, POSITIVE) and isinstance(value, float) and value.is_integer():
            item[key] = value = int(value)
        if not _is(allowed, value):
            raise BadField(section, index, key, not_allowed(value, allowed))


def _is(allowed: str, value: Any) -> bool:
    if allowed == TEXT:
        return isinstance(value, str) and value != ""
    if allowed == BOX:
        return isinstance(value, list) and len(value) == 4 and all(_is(NUMBER, v) for v in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if allowed == NUMBER:
        return not isinstance(value, int) or abs(value) < 2**1000
    return isinstance(value, int) and (1 if allowed == POSITIVE else -(2**62)) <= value < 2**62


def _assemble(
    images: list[dict[str, Any]], categories: list[dict[str, Any]], collector: _Collector
) -> CocoFile:
    image_ids, category_ids, ids = np.array(collector.integers, np.int64).reshape(-1, 3).T
    numbers = np.array(collector.numbers, np.float64).reshape(-1, 5)
    boxes_xywh = numbers[:, :4].copy()
    columns = ([image[key] for image in images] for key in ("file_name", "id", "width", "height"))
    annotations = Annotations(
        ImageTable(*columns),
        _rows_of(image_ids, images, "image_id", "image in 'images'"),
        _rows_of(category_ids, categories, "category_id", "category in 'categories'"),
        np.hstack([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]]),
        np.array(collector.crowd, bool),
        np.zeros(len(ids), bool),
        PolygonColumn(collector.coordinates, collector.ring_points, collector.box_rings),
    )
    ids = np.arange(1, len(ids) + 1) if (ids == _NO_ID).any() else ids.copy()
    return CocoFile(categories, annotations, ids, boxes_xywh, numbers[:, 4].copy())


def _rows_of(ids: np.ndarray, items: list[dict[str, Any]], key: str, of_what: str) -> np.ndarray:
    """The row in `items` that each id means."""
    known = np.array([item["id"] for item in items], np.int64)
    order = np.argsort(known)
    rows = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    unknown = np.flatnonzero(known[rows] != ids)
    if len(unknown):
        more = f" ({len(unknown)} such annotations)" if len(unknown) > 1 else ""
        problem = f"{ids[unknown[0]]} is the id of no {of_what}{more}"
        raise BadField("annotations", int(unknown[0]), key, problem)
    return rows
