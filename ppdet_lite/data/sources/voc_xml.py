"""Reading Pascal VOC annotation files, with exact complaints."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import DataError


class VocObject(NamedTuple):
    """One `object` of a file; `element` is kept for messages."""

    name: str
    box_xyxy: tuple
    difficult: bool
    element: ET.Element


class VocFile(NamedTuple):
    """Content of one annotation file; width and height in pixels."""

    path: Path
    root: ET.Element
    width: int
    height: int
    objects: list


def parse_voc(path: Path) -> ET.Element:
    """The root element of an annotation file.

    Raises:
        DataError: it does not exist or is not XML.
    """
    try:
        return ET.parse(path).getroot()
    except ET.ParseError as error:
        line, column = error.position
        reason = str(error).split(":")[0]
        raise DataError(f"{path} line {line}, column {column + 1}: not XML: {reason}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None


def object_names(path: Path) -> set:
    """Names of all objects of a file."""
    root = parse_voc(path)
    return {_text(path, root, item, "name", "object.name") for item in root.findall("object")}


def read_voc(path: Path) -> VocFile:
    """Reads one annotation file.

    Raises:
        DataError: not XML, or a field is missing or no number; with file, line and key.
    """
    root = parse_voc(path)
    size = _child(path, root, root, "size", "size")
    sides = []
    for key in ("width", "height"):
        value = _number(path, root, size, key, f"size.{key}")
        if not (value > 0 and value == int(value)):
            problem = f"found '{size.findtext(key)}', allowed: a positive integer"
            raise field_error(path, root, size.find(key), f"size.{key}", problem)
        sides.append(int(value))
    objects = [
        _read_object(path, root, item, index) for index, item in enumerate(root.findall("object"))
    ]
    return VocFile(path, root, sides[0], sides[1], objects)


def _read_object(path: Path, root: ET.Element, item: ET.Element, index: int) -> VocObject:
    where = f"object[{index}]"
    name = _text(path, root, item, "name", f"{where}.name")
    box = _child(path, root, item, "bndbox", f"{where}.bndbox")
    corners = tuple(
        _number(path, root, box, key, f"{where}.bndbox.{key}")
        for key in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = False
    if item.find("difficult") is not None:
        difficult = _number(path, root, item, "difficult", f"{where}.difficult") != 0
    return VocObject(name, corners, difficult, item)


def _child(path: Path, root: ET.Element, parent: ET.Element, tag: str, key: str) -> ET.Element:
    child = parent.find(tag)
    if child is None:
        raise field_error(path, root, parent, key, "missing")
    return child


def _text(path: Path, root: ET.Element, parent: ET.Element, tag: str, key: str) -> str:
    child = _child(path, root, parent, tag, key)
    text = (child.text or "").strip()
    if not text:
        raise field_error(path, root, child, key, "empty")
    return text


def _number(path: Path, root: ET.Element, parent: ET.Element, tag: str, key: str) -> float:
    child = _child(path, root, parent, tag, key)
    try:
        return float(child.text or "")
    except ValueError:
        problem = f"found '{(child.text or '').strip()}', allowed: a number"
        raise field_error(path, root, child, key, problem) from None


def field_error(
    path: Path, root: ET.Element, element: ET.Element, key: str, problem: str
) -> DataError:
    """The error about a field: file, line, key and what is wrong."""
    line = _line_of(path, root, element)
    where = f" line {line}" if line else ""
    return DataError(f"{path}{where}: {key}: {problem}")


def _line_of(path: Path, root: ET.Element, element: ET.Element) -> Optional[int]:
    """Line in which an element begins. The parsed tree does not know it, so the file is read again
    line by line up to the element that has the same number in document order.
    """
    number = next(i for i, other in enumerate(root.iter()) if other is element)
    parser, started = ET.XMLPullParser(events=("start",)), 0
    with open(path, "rb") as stream:
        for line, content in enumerate(stream, start=1):
            parser.feed(content)
            started += sum(1 for _ in parser.read_events())
            if started > number:
                return line
    return None
