"""Reading a COCO annotation file into flat arrays, with little memory and exact complaints.

As Python objects COCO's training annotations take several gigabytes. Here every annotation is moved
into arrays as soon as the parser has finished it: the text and the arrays are all that stays.
"""

from __future__ import annotations

import gc
import json
import re
from array import array
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.annotation_table import Annotations, ImageTable, PolygonColumn
from ppdet_lite.data.sources.files import error_at, not_allowed, read_text

INTEGER, POSITIVE, NUMBER, TEXT = "an integer", "a positive integer", "a number", "text"
BOX = "four numbers x, y, width, height"

IMAGE = {"id": INTEGER, "width": POSITIVE, "height": POSITIVE, "file_name": TEXT}
CATEGORY = {"id": INTEGER, "name": TEXT}
ANNOTATION = {"image_id": INTEGER, "category_id": INTEGER, "bbox": BOX}
OPTIONAL = {"id": INTEGER, "area": NUMBER}

_TAKEN = "an annotation"
"""Stands in the parsed list for an annotation whose values have been moved into the arrays."""

_NO_ID = -(2**62)
"""Id of an annotation that has none."""

_NEEDED = "a COCO annotation file has the lists images, annotations and categories"


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


def read_coco(path: Path, use_polygons: bool = True) -> CocoFile:
    """Reads and checks an annotation file in COCO detection format.

    Raises:
        DataError: not JSON, not COCO, or a field is missing or unusable; with file, line and key.
    """
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: the file is empty; a COCO annotation file is needed")
    collector = _Collector(use_polygons)
    try:
        document = _parse(text, path, collector)
        del text
        images, categories = _check_lists(document, path, len(collector.crowd))
        check_list("images", images, IMAGE, "id")
        check_list("categories", categories, CATEGORY, "id", "name")
        return _assemble(sorted(images, key=lambda image: image["id"]), categories, collector)
    except BadField as field:
        line = _line_of(read_text(path), field.section, field.index)
        raise error_at(path, line, field.text) from None


class _Collector:
    """Takes annotations from the JSON parser, one after the other in the order of the file."""

    def __init__(self, use_polygons: bool):
        self.use_polygons = use_polygons
        self.integers, self.numbers, self.crowd = array("q"), array("d"), array("b")
        self.coordinates, self.ring_points, self.box_rings = array("f"), array("q"), array("q")

    def __call__(self, item: dict[str, Any]) -> Any:
        """The parser's hook for every JSON object: keeps annotations, passes others on."""
        if "image_id" not in item and "bbox" not in item:
            return item
        try:
            integers, numbers = _values(item)
        except (KeyError, TypeError, ValueError, OverflowError):
            optional = {key: OPTIONAL[key] for key in OPTIONAL if key in item}
            check_fields("annotations", len(self.crowd), item, {**ANNOTATION, **optional})
            integers, numbers = _values(item)
        self._add_polygons(item.get("segmentation"))
        self.integers.extend(integers)
        self.numbers.extend(numbers)
        self.crowd.append(1 if item.get("iscrowd") else 0)
        return _TAKEN

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


def _parse(text: str, path: Path, collector: _Collector) -> Any:
    was_enabled = gc.isenabled()  # it would look at every object again and again
    gc.disable()
    try:
        return json.loads(text, object_hook=collector)
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: not JSON: {error.msg}") from None
    except RecursionError:
        raise DataError(f"{path}: not a COCO annotation file: nested too deeply") from None
    finally:
        if was_enabled:
            gc.enable()


def _check_lists(document: Any, path: Path, annotation_count: int) -> list[list[Any]]:
    """The lists of images and categories; `annotations` may be absent, as in COCO's image_info
    files.
    """
    found = ""
    if not isinstance(document, dict):
        found = f"found {'a list' if isinstance(document, list) else 'no mapping'} at the top"
    elif missing := [key for key in ("images", "categories") if key not in document]:
        keys = ", ".join(map(str, list(document)[:8])) or "nothing"
        found = f"'{missing[0]}' is missing, found {keys}"
    if found:
        raise DataError(f"{path}: not a COCO annotation file: {found}; {_NEEDED}")
    lists = {key: document.get(key, []) for key in ("images", "categories", "annotations")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise DataError(f"{path}: {key}: found {type(value).__name__}, allowed: a list")
        if not value and key != "annotations":
            raise DataError(f"{path}: the list '{key}' is empty")
    *others, annotations = lists.values()
    for index, item in enumerate(annotations):
        if item is not _TAKEN:
            raise BadField("annotations", index, "image_id", "missing")
    if outside := annotation_count - len(annotations):
        raise DataError(
            f"{path}: {outside} objects with 'image_id' or 'bbox' stand outside the list "
            f"'annotations'; {_NEEDED}"
        )
    return others


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


def _line_of(text: str, section: str, index: int) -> Optional[int]:
    """The line in which an element of a top-level list begins; None when it cannot be found."""
    start = re.search(rf'"{section}"\s*:\s*\[', text)
    if start is None:
        return None
    decoder, position = json.JSONDecoder(), start.end()
    for number in range(index + 1):
        while text[position : position + 1] in (" ", "\t", "\r", "\n", ","):
            position += 1
        if number < index:
            try:
                _, position = decoder.raw_decode(text, position)
            except json.JSONDecodeError:  # it was another list of the same name
                return None
    return text.count("\n", 0, position) + 1


class BadField(Exception):
    """A value that cannot be used: list, index, key, and the problem with it."""

    def __init__(self, section: str, index: int, key: str, problem: str):
        super().__init__(problem)
        self.section, self.index = section, index
        self.text = f"{section}[{index}].{key}: {problem}"


def check_list(section: str, items: list[Any], needed: dict[str, str], *unique: str) -> None:
    """Checks the fields of all items, and that the `unique` ones differ; raises BadField."""
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            problem = not_allowed(item, "a mapping with an id")
            raise BadField(section, index, "id", problem)
        check_fields(section, index, item, needed)
    for key in unique:
        seen: dict[Any, int] = {}
        for index, item in enumerate(items):
            first = seen.setdefault(item[key], index)
            if first != index:
                problem = f"{item[key]!r} is already the {key} of {section}[{first}]"
                raise BadField(section, index, key, problem)


def check_fields(section: str, index: int, item: dict[str, Any], needed: dict[str, str]) -> None:
    """Checks one item; integers written as 640.0 are made integers.

    Args:
        needed: key -> one of INTEGER, POSITIVE, NUMBER, TEXT, BOX.

    Raises:
        BadField: names the first key that is missing or holds something else.
    """
    for key, allowed in needed.items():
        if key not in item:
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
