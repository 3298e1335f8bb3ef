"""Reading a COCO annotation file into flat arrays, with little memory and exact complaints.

Parsed as ordinary Python objects, COCO's training annotations take several gigabytes, most of it
the numbers of boxes and polygons. Here every annotation is moved into arrays at the moment the
parser has finished it, so what stays in memory is the text of the file and the arrays.
"""

import gc
import json
import re
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.annotation_table import PolygonColumn
from ppdet_lite.data.sources.paths import read_text

_TAKEN = object()
"""Stands in the parsed list for an annotation whose values have been moved into the arrays."""


_NO_ID = -(2**62)
"""Id of an annotation that has none."""


class CocoFile(NamedTuple):
    """Content of an annotation file.

    Attributes:
        images: dicts with checked `id`, `file_name`, `width`, `height`; sorted by id.
        categories: dicts with checked `id` and `name`, in the order of the file.
        ids, image_rows, classes: int64 [N]: own id, row in `images`, row in `categories`.
        boxes_xywh: float64 [N, 4]. areas: float64 [N], as in the file or width x height.
        crowd: bool [N].
        polygons: of every annotation; run-length masks count as none.
    """

    images: list
    categories: list
    ids: np.ndarray
    image_rows: np.ndarray
    classes: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    polygons: PolygonColumn


class _BadField(Exception):
    """A value that cannot be used: list, index, key and what is wrong with it."""

    def __init__(self, section: str, index: int, key: str, problem: str):
        super().__init__(problem)
        self.section, self.index, self.key, self.problem = section, index, key, problem


class _Collector:
    """Takes annotations from the JSON parser, one after the other in the order of the file."""

    def __init__(self, use_polygons: bool):
        self.use_polygons = use_polygons
        self.ids, self.image_ids, self.category_ids = array("q"), array("q"), array("q")
        self.boxes, self.areas, self.crowd = array("d"), array("d"), array("b")
        self.coordinates, self.ring_points, self.box_rings = array("f"), array("q"), array("q")

    def __call__(self, item: dict):
        """The parser's hook for every JSON object: keeps annotations, passes others on."""
        if "image_id" not in item and "bbox" not in item:
            return item
        try:
            self.image_ids.append(item["image_id"])
            self.category_ids.append(item["category_id"])
            x, y, width, height = item["bbox"]
            self.boxes.extend((x, y, width, height))
            area = item.get("area")
            self.areas.append(width * height if area is None else area)
            self.crowd.append(1 if item.get("iscrowd") else 0)
            self.ids.append(item.get("id", _NO_ID))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise _diagnose(item, len(self.box_rings)) from None
        self._add_polygons(item.get("segmentation"))
        return _TAKEN

    def _add_polygons(self, segmentation) -> None:
        rings = 0
        if self.use_polygons and isinstance(segmentation, list):
            for ring in segmentation:
                if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                    continue
                try:
                    self.coordinates.extend(ring)
                except TypeError:
                    problem = "found a polygon with something that is no number"
                    index = len(self.box_rings)
                    raise _BadField("annotations", index, "segmentation", problem) from None
                self.ring_points.append(len(ring) // 2)
                rings += 1
        self.box_rings.append(rings)


def _diagnose(item: dict, index: int) -> _BadField:
    """Finds the field of an annotation that could not be used."""
    for key in ("image_id", "category_id", "id"):
        if key not in item and key != "id":
            return _BadField("annotations", index, key, "missing")
        if not isinstance(item.get(key, 0), int) or abs(item.get(key, 0)) >= 2**63:
            return _BadField("annotations", index, key, f"found {item[key]!r}, allowed: an integer")
    if "bbox" not in item:
        return _BadField("annotations", index, "bbox", "missing")
    box = item["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        problem = f"found {box!r}, allowed: four numbers x, y, width, height"
        return _BadField("annotations", index, "bbox", problem)
    return _BadField("annotations", index, "area", f"found {item.get('area')!r}, allowed: a number")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_coco(path: Path, use_polygons: bool = True) -> CocoFile:
    """Reads and checks an annotation file in COCO detection format.

    Args:
        path: the JSON file.
        use_polygons: keep the polygons of `segmentation`.

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
        lists = _check_lists(document, path, len(collector.box_rings))
        images, categories = _check_images(lists["images"]), _check_categories(lists["categories"])
        return _assemble(images, categories, collector)
    except _BadField as field:
        line = _line_of(read_text(path), field.section, field.index)
        raise DataError(
            f"{path}{line}: {field.section}[{field.index}].{field.key}: {field.problem}"
        ) from None


def _parse(text: str, path: Path, collector: _Collector):
    """The parsed document. The garbage collector rests meanwhile: it would look at every object
    again and again, and none of them is garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text, object_hook=collector)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: not a COCO annotation file: nested too deeply") from None
    finally:
        if was_enabled:
            gc.enable()


def _check_lists(document, path: Path, annotation_count: int) -> dict:
    """The lists of the document; `annotations` may be absent, as in COCO's image_info files."""
    needed = "a COCO annotation file has the lists images, annotations and categories"
    if not isinstance(document, dict):
        kind = "a list" if isinstance(document, list) else "no mapping"
        raise DataError(f"{path}: not a COCO annotation file: found {kind} at the top; {needed}")
    for key in ("images", "categories"):
        if key not in document:
            found = ", ".join(list(map(str, document))[:8]) or "nothing"
            raise DataError(
                f"{path}: not a COCO annotation file: '{key}' is missing, found {found}; {needed}"
            )
    lists = {key: document.get(key, []) for key in ("images", "annotations", "categories")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise DataError(f"{path}: {key}: found {type(value).__name__}, allowed: a list")
    for key in ("images", "categories"):
        if not lists[key]:
            raise DataError(f"{path}: the list '{key}' is empty")
    for index, item in enumerate(lists["annotations"]):
        if item is not _TAKEN:
            raise _BadField("annotations", index, "image_id", "missing")
    if len(lists["annotations"]) != annotation_count:
        raise DataError(
            f"{path}: {annotation_count - len(lists['annotations'])} objects with 'image_id' or "
            f"'bbox' stand outside the list 'annotations'; {needed}"
        )
    return lists


def _check_images(images: list) -> list:
    seen = {}
    for index, image in enumerate(images):
        image = _mapping("images", index, image)
        for key in ("id", "width", "height"):
            _integer("images", index, key, image, minimum=None if key == "id" else 1)
        _text("images", index, "file_name", image)
        first = seen.setdefault(image["id"], index)
        if first != index:
            problem = f"{image['id']} is already the id of images[{first}]"
            raise _BadField("images", index, "id", f"{problem} ({images[first]['file_name']})")
    return sorted(images, key=lambda image: image["id"])


def _check_categories(categories: list) -> list:
    seen_ids, seen_names = {}, {}
    for index, category in enumerate(categories):
        category = _mapping("categories", index, category)
        _integer("categories", index, "id", category, minimum=None)
        _text("categories", index, "name", category)
        for key, seen in (("id", seen_ids), ("name", seen_names)):
            first = seen.setdefault(category[key], index)
            if first != index:
                problem = f"{category[key]!r} is already the {key} of categories[{first}]"
                raise _BadField("categories", index, key, problem)
    return categories


def _mapping(section: str, index: int, item) -> dict:
    if item is _TAKEN:
        raise _BadField(section, index, "bbox", "an annotation stands in the wrong list")
    if not isinstance(item, dict):
        raise _BadField(section, index, "id", f"found {item!r}, allowed: a mapping with an id")
    return item


def _text(section: str, index: int, key: str, item: dict) -> None:
    if key not in item:
        raise _BadField(section, index, key, "missing")
    if not isinstance(item[key], str) or not item[key]:
        raise _BadField(section, index, key, f"found {item[key]!r}, allowed: text")


def _integer(section: str, index: int, key: str, item: dict, minimum) -> None:
    """Checks an integer; one written as 640.0 is taken."""
    if key not in item:
        raise _BadField(section, index, key, "missing")
    value = item[key]
    if isinstance(value, float) and value.is_integer():
        item[key] = value = int(value)
    allowed = "an integer" if minimum is None else "a positive integer"
    usable = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if not usable or (minimum is not None and value < minimum):
        raise _BadField(section, index, key, f"found {value!r}, allowed: {allowed}")


def _assemble(images: list, categories: list, collector: _Collector) -> CocoFile:
    known = np.array([image["id"] for image in images], np.int64)
    image_ids = np.array(collector.image_ids, np.int64)
    image_rows = np.minimum(np.searchsorted(known, image_ids), len(known) - 1)
    _all_known(known[image_rows] == image_ids, image_ids, "image_id", "image in 'images'")
    category_ids = np.array(collector.category_ids, np.int64)
    classes = np.full(len(category_ids), -1, np.int64)
    for index, category in enumerate(categories):
        classes[category_ids == category["id"]] = index
    _all_known(classes >= 0, category_ids, "category_id", "category in 'categories'")
    ids = np.array(collector.ids, np.int64)
    return CocoFile(
        images,
        categories,
        np.arange(1, len(ids) + 1) if (ids == _NO_ID).any() else ids,
        image_rows.astype(np.int64),
        classes,
        np.array(collector.boxes, np.float64).reshape(-1, 4),
        np.array(collector.areas, np.float64),
        np.array(collector.crowd, bool),
        PolygonColumn(collector.coordinates, collector.ring_points, collector.box_rings),
    )


def _all_known(known: np.ndarray, values: np.ndarray, key: str, of_what: str) -> None:
    unknown = np.flatnonzero(~known)
    if len(unknown):
        more = f" ({len(unknown)} such annotations)" if len(unknown) > 1 else ""
        problem = f"{values[unknown[0]]} is the id of no {of_what}{more}"
        raise _BadField("annotations", int(unknown[0]), key, problem)


def _line_of(text: str, section: str, index: int) -> str:
    """Where an element of a top-level list begins, as text " line N" to follow the file's name;
    empty when it cannot be found. Only for messages, so it may take its time.
    """
    start = re.search(rf'"{section}"\s*:\s*\[', text)
    if start is None:
        return ""
    decoder, position = json.JSONDecoder(), start.end()
    try:
        for number in range(index + 1):
            position = re.compile(r"[\s,]*").match(text, position).end()
            if number == index:
                return f" line {text.count(chr(10), 0, position) + 1}"
            _, position = decoder.raw_decode(text, position)
    except json.JSONDecodeError:
        return ""
    return ""
