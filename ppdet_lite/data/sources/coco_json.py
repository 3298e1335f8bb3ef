"""Reading a COCO annotation file into flat arrays, with little memory and exact complaints.

As Python objects COCO's training annotations take several gigabytes. Here every annotation is moved
into arrays as soon as it is parsed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from array import array
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Mapping, NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import Annotations, ImageTable, PolygonColumn
from ppdet_lite.data.sources.files import error_at, not_allowed
from ppdet_lite.data.sources.json_reader import JsonReader
from ppdet_lite.utils.logger import get_logger, progress_bar

INTEGER, NUMBER, TEXT = "an integer", "a number", "text"
POSITIVE = "a positive integer below 2147483648"
BOX = "four numbers x, y, width, height"
CROWD = "0, 1, true or false"

IMAGE = {"id": INTEGER, "width": POSITIVE, "height": POSITIVE, "file_name": TEXT}
CATEGORY = {"id": INTEGER, "name": TEXT}
ANNOTATION = {"image_id": INTEGER, "category_id": INTEGER, "bbox": BOX}
OPTIONAL = {"id": INTEGER, "area": NUMBER, "iscrowd": CROWD}

_CROWD = {None: 0, 0: 0, 1: 1, "0": 0, "1": 1, "": 0, "false": 0, "true": 1}
"""Value of `iscrowd` -> the flag; tools write it as a number, a truth value or text."""

_LARGE = 50 * 10**6  # bytes of a file that takes seconds to read

_NO_ID = -(2**62)
"""Id of an annotation that has none."""


class CocoFile(NamedTuple):
    """Categories (`id` and `name`) in the order of the file, annotations with the images sorted by
    id, and what records do not need: annotation ids int64 [N], boxes and areas (or width x height)
    float64 as in the file. Run-length masks count as no polygons. `remarks` are for the user.
    """

    categories: list[dict[str, Any]]
    annotations: Annotations
    ids: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    remarks: list[str]


class BadField(Exception):
    """A value that cannot be used: list, index, key, and the problem with it."""

    def __init__(self, section: str, index: int, key: str, problem: str):
        super().__init__(problem)
        self.section, self.index = section, index
        self.text = f"{section}[{index}].{key}: {problem}"


def read_coco(path: Path, use_polygons: bool = True, image_root: Optional[Path] = None) -> CocoFile:
    """Reads and checks an annotation file in COCO detection format.

    Args:
        image_root: folder of the images, which give the sizes that are 0 or missing in the file.

    Raises:
        DataError: not JSON, not COCO, or a field is missing or unusable; with file, line and key.
    """
    collector = _Collector(use_polygons)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(JsonReader(path, _progress(path, stack)))
        try:
            return _content(reader, path, collector, image_root)
        except BadField as field:
            line = reader.line(reader.starts[field.section][field.index])
            raise error_at(path, line, field.text) from None
        except json.JSONDecodeError as error:
            where = f"{path} line {error.lineno}, column {error.colno}"
            raise DataError(f"{where}: not JSON: {error.msg}") from None
        except RecursionError:
            raise DataError(f"{path}: not a COCO annotation file: nested too deeply") from None
        except ValueError:  # of int(): so many digits would take it long
            line = reader.line(reader.at)
            raise error_at(path, line, "a number has too many digits") from None


def _progress(path: Path, stack: contextlib.ExitStack) -> Callable[[int], object]:
    """Says that a large file is being read; what it returns shows how far."""
    size = path.stat().st_size if path.is_file() else 0
    if size < _LARGE:
        return lambda count: None
    get_logger().info("Reading %s (%d MB) ...", path, size // 10**6)
    bar = progress_bar(size, "annotations", "B")
    return stack.enter_context(contextlib.closing(bar)).update


def _content(
    reader: JsonReader, path: Path, collector: _Collector, image_root: Optional[Path]
) -> CocoFile:
    if not reader.peek():
        raise DataError(f"{path}: the file is empty; a COCO annotation file is needed")
    lists = _lists(reader, path, collector)
    images, remarks = lists["images"], []
    if image_root and (filled := sum(_fill_size(image, image_root) for image in images)):
        remarks.append(f"sizes: {filled} are not in {path}, and are those of the image files")
    check_list("images", images, IMAGE, "id")
    check_list("categories", lists["categories"], CATEGORY, "id")
    categories = _without_roots(lists["categories"], {*collector.integers[1::3]}, remarks)
    check_list("categories", categories, CATEGORY, "name")
    images = sorted(images, key=lambda image: image["id"])
    return _assemble(images, categories, collector)._replace(remarks=remarks)


def _fill_size(image: Any, root: Path) -> bool:
    """Gives an image without width or height those of its file, if there is one."""
    if not isinstance(image, dict) or (image.get("width", 0) and image.get("height", 0)):
        return False
    with contextlib.suppress(ImageError):  # the fields are then named as missing
        path = os.path.join(root, str(image.get("file_name")))
        image["height"], image["width"] = displayed_size(path)
        return True
    return False


def _without_roots(categories: list[Any], used: set[int], remarks: list[str]) -> list[Any]:
    """Without categories that have the name of another and no boxes: exports of Roboflow have one
    above the real ones.
    """
    kept = []
    for item in categories:
        same = [other for other in categories if other["name"] == item["name"]]
        with_boxes = [other for other in same if other["id"] in used]
        real = with_boxes or [other for other in same if other.get("supercategory") == item["name"]]
        if len(same) == 1 or not real or item in real:
            kept.append(item)
        else:
            text = f"categories: id {item['id']} has the name of another, '{item['name']}'"
            remarks.append(f"{text}, and no boxes; it is left out")
    return kept


def _lists(reader: JsonReader, path: Path, collector: _Collector) -> dict[str, list[Any]]:
    """The lists of images and categories; `annotations` may be absent, as in COCO's image_info
    files.
    """
    found: dict[str, Any] = {}
    start, problem = reader.peek(), ""
    if start == "{":
        for key in reader.members():
            if reader.peek() == "[" and key == "images":
                found[key] = reader.elements(key, _needed_of_image)
            elif reader.peek() == "[" and key == "categories":
                found[key] = reader.elements(key, lambda item: item)
            elif reader.peek() == "[" and key == "annotations":
                collector.clear()  # the last of two lists of one name counts
                found[key] = reader.elements(key, collector.add)
            else:
                found[key] = reader.value()
    else:
        reader.value()
        problem = f"found {'a list' if start == '[' else 'no mapping'} at the top"
    reader.take("")
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


def _needed_of_image(item: Any) -> Any:
    """Without the addresses, dates and licenses, which would take 100 MB for COCO's images."""
    return {key: item[key] for key in IMAGE if key in item} if isinstance(item, dict) else item


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
            integers, numbers, crowd = _values(item)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            check_fields("annotations", len(self.crowd), item, ANNOTATION, OPTIONAL)
            integers, numbers, crowd = _values(item)
        self._add_polygons(item.get("segmentation"))
        self.integers.extend(integers)
        self.numbers.extend(numbers)
        self.crowd.append(crowd)

    def _add_polygons(self, segmentation: Any) -> None:
        rings = segmentation if self.use_polygons and isinstance(segmentation, list) else []
        rings = [r for r in rings if isinstance(r, list) and len(r) >= 6 and len(r) % 2 == 0]
        for ring in rings:
            try:
                self.coordinates.extend(ring)
                is_finite = math.isfinite(sum(ring))
            except (TypeError, OverflowError):
                is_finite = False
            if not is_finite:
                problem = "found a polygon with something that is no number of pixels"
                raise BadField("annotations", len(self.crowd), "segmentation", problem)
            self.ring_points.append(len(ring) // 2)
        self.box_rings.append(len(rings))


def _values(item: dict[str, Any]) -> tuple[array[int], array[float], int]:
    """Image, category and own id; x, y, width, height, area; and the crowd flag of an annotation.
    Raises one of several errors where a value is not of the right type.
    """
    x, y, width, height = item["bbox"]
    area = item.get("area")
    numbers = x, y, width, height, float(width) * float(height) if area is None else area
    integers = item["image_id"], item["category_id"], item.get("id", _NO_ID)
    if bool in map(type, (*integers, *numbers)):
        raise TypeError
    flag = item.get("iscrowd")
    crowd = _CROWD[flag.strip().lower() if isinstance(flag, str) else flag]
    return array("q", integers), array("d", numbers), crowd


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


def check_fields(
    section: str,
    index: int,
    item: Any,
    needed: dict[str, str],
    optional: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Checks one item; integers written as 640.0 are made integers, optional fields that are null
    are removed.

    Args:
        needed, optional: key -> one of INTEGER, POSITIVE, NUMBER, TEXT, BOX, CROWD.

    Raises:
        BadField: names the first key that is missing or holds something else.
    """
    if not isinstance(item, dict):
        raise BadField(section, index, "id", not_allowed(item, "a mapping with an id"))
    for key, allowed in {**needed, **optional}.items():
        if key in optional and item.get(key) is None:
            item.pop(key, None)
            continue
        if key not in item:
            raise BadField(section, index, key, "missing")
        value = item[key]
        if allowed in (INTEGER, POSITIVE) and isinstance(value, float) and value.is_integer():
            item[key] = value = int(value)
        if not _is(allowed, value):
            raise BadField(section, index, key, not_allowed(value, allowed))


def _is(allowed: str, value: Any) -> bool:
    if allowed == TEXT:
        return isinstance(value, str) and value != "" and "\0" not in value
    if allowed == BOX:
        return isinstance(value, list) and len(value) == 4 and all(_is(NUMBER, v) for v in value)
    if allowed == CROWD:
        text = value.strip().lower() if isinstance(value, str) else value
        return isinstance(text, (str, int, float)) and text in _CROWD
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if allowed == NUMBER:
        return not isinstance(value, int) or abs(value) < 2**1000
    low, high = (1, 2**31) if allowed == POSITIVE else (-(2**62), 2**62)
    return isinstance(value, int) and low <= value < high


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
    return CocoFile(categories, annotations, ids, boxes_xywh, numbers[:, 4].copy(), [])


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
