"""Reading Pascal VOC annotation files, with exact complaints."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.text_files import error_at

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """One `object` of a file; corners in pixels."""

    name: str
    box_xyxy: tuple[float, ...]
    difficult: bool


class VocFile:
    """An annotation file.

    Raises:
        DataError: it does not exist or is not XML.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._root = ET.parse(path).getroot()
        except ET.ParseError as error:
            line, column = error.position
            reason = str(error).split(":")[0]
            where = f"{path} line {line}, column {column + 1}"
            raise DataError(f"{where}: not XML: {reason}") from None
        except (OSError, ValueError) as error:  # ValueError: an encoding that is not known
            raise DataError(f"{path}: cannot be read: {error}") from None

    def names(self) -> list[str]:
        """Name of every object; raises as `objects`."""
        items = enumerate(self._root.findall("object"))
        return [self._text(item, "name", f"object[{index}].") for index, item in items]

    def objects(self) -> list[VocObject]:
        """All objects.

        Raises:
            DataError: a field is missing or no number; with file, line and key.
        """
        objects = []
        for index, (item, name) in enumerate(zip(self._root.findall("object"), self.names())):
            where = f"object[{index}]."
            box = self._child(item, "bndbox", where)
            corners = [
                self._number(box, key, f"{where}bndbox.")
                for key in ("xmin", "ymin", "xmax", "ymax")
            ]
            has_flag = item.find("difficult") is not None
            difficult = has_flag and self._number(item, "difficult", where) != 0
            objects.append(VocObject(name, tuple(corners), difficult))
        return objects

    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels; raises as `objects`."""
        size = self._child(self._root, "size", "")
        sides = []
        for key in ("height", "width"):
            value = self._number(size, key, "size.")
            if not (value > 0 and value == int(value)):
                problem = f"found '{size.findtext(key)}', allowed: a positive integer"
                raise self._error(size.find(key), f"size.{key}", problem)
            sides.append(int(value))
        return sides[0], sides[1]

    def name_error(self, index: int, problem: str) -> DataError:
        """The error about the name of an object."""
        element = self._root.findall("object")[index].find("name")
        return self._error(element, f"object[{index}].name", problem)

    def _child(self, parent: ET.Element, tag: str, where: str) -> ET.Element:
        child = parent.find(tag)
        if child is None:
            raise self._error(parent, f"{where}{tag}", "missing")
        return child

    def _text(self, parent: ET.Element, tag: str, where: str) -> str:
        child = self._child(parent, tag, where)
        if text := (child.text or "").strip():
            return text
        raise self._error(child, f"{where}{tag}", "empty")

    def _number(self, parent: ET.Element, tag: str, where: str) -> float:
        child = self._child(parent, tag, where)
        text = (child.text or "").strip()
        try:
            return float(text)
        except ValueError:
            problem = f"found '{text}', allowed: a number"
            raise self._error(child, f"{where}{tag}", problem) from None

    def _error(self, element: Optional[ET.Element], key: str, problem: str) -> DataError:
        """The error about a field: file, line, key and what is wrong."""
        return error_at(self.path, self._line_of(element), key, problem)

    def _line_of(self, element: Optional[ET.Element]) -> Optional[int]:
        """The line in which an element begins. The parsed tree does not know it, so the file is
        read again line by line up to the element that has the same number in document order.
        """
        number = next(i for i, other in enumerate(self._root.iter()) if other is element)
        parser, started = ET.XMLPullParser(events=("start",)), 0
        with open(self.path, "rb") as stream:
            for line, content in enumerate(stream, start=1):
                parser.feed(content)
                started += sum(1 for _ in parser.read_events())
                if started > number:
                    return line
        return None
