"""Reading Pascal VOC annotation files, with exact complaints."""

import re
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, NamedTuple
from xml.parsers import expat

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.files import error_at, not_allowed

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]{1,40})["']""")


class VocObject(NamedTuple):
    """One `object` of a file; corners in pixels. `name_error` makes the error about its name."""

    name: str
    box_xyxy: tuple[float, ...]
    difficult: bool
    name_error: Callable[[str], DataError]


class VocFile:
    """An annotation file. All methods raise DataError, with file, line and key, about a field that
    is missing or unusable.

    Raises:
        DataError: it does not exist or is not XML.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lines: dict[ET.Element, int] = {}
        builder, parser = ET.TreeBuilder(), expat.ParserCreate("utf-8")

        def start(tag: str, attributes: dict[str, str]) -> None:
            self._lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        def refuse_entity(name: str, *_: object) -> None:
            line = parser.CurrentLineNumber
            raise error_at(path, line, f"found the entity {name}, allowed: plain text")

        parser.StartElementHandler, parser.EndElementHandler = start, builder.end
        parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse_entity
        try:
            parser.Parse(_in_utf8(path), True)
        except expat.ExpatError as error:
            where = f"{path} line {error.lineno}, column {error.offset + 1}"
            raise DataError(f"{where}: not XML: {expat.ErrorString(error.code)}") from None
        self._root = builder.close()

    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._side("height"), self._side("width")

    def names(self) -> list[str]:
        """Name of every object."""
        return [name for _, name, _ in self._named()]

    def objects(self) -> list[VocObject]:
        """All objects."""
        objects = []
        for where, name, item in self._named():
            corners = tuple(self._number(item, where, "bndbox", key) for key in _CORNERS)
            has_flag = item.find("difficult") is not None
            difficult = has_flag and self._number(item, where, "difficult") != 0
            error = partial(self._error, *self._find(item, where, "name"))
            objects.append(VocObject(name, corners, difficult, error))
        return objects

    def _named(self) -> Iterator[tuple[str, str, ET.Element]]:
        """Key, name and element of every object."""
        for index, item in enumerate(self._root.iterfind("object")):
            element, key = self._find(item, f"object[{index}]", "name")
            name = (element.text or "").strip()
            if not name:
                raise self._error(element, key, "empty")
            yield f"object[{index}]", name, item

    def _side(self, tag: str) -> int:
        value = self._number(self._root, "", "size", tag)
        if 0 < value < 2**31 and value.is_integer():
            return int(value)
        element, key = self._find(self._root, "", "size", tag)
        allowed = "a positive integer below 2147483648"
        raise self._error(element, key, not_allowed(element.text, allowed))

    def _number(self, parent: ET.Element, where: str, *tags: str) -> float:
        element, key = self._find(parent, where, *tags)
        text = (element.text or "").strip()
        try:
            return float(text)
        except ValueError:
            raise self._error(element, key, not_allowed(text, "a number")) from None

    def _find(self, parent: ET.Element, where: str, *tags: str) -> tuple[ET.Element, str]:
        """The element below `parent`, which is at the key `where`, and the key that it is at."""
        for tag in tags:
            where = f"{where}.{tag}" if where else tag
            child = parent.find(tag)
            if child is None:
                raise self._error(parent, where, "missing")
            parent = child
        return parent, where

    def _error(self, element: ET.Element, key: str, problem: str) -> DataError:
        return error_at(self.path, self._lines[element], key, problem)


def _in_utf8(path: Path) -> bytes:
    """The content of an XML file, from whatever encoding it declares; Python knows more of them
    than its XML parser.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from None
    declared = _ENCODING.match(data)
    encoding = declared[1].decode("latin-1").lower() if declared else "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    known = {"utf-8": "utf-8-sig", "utf8": "utf-8-sig", "gb2312": "gb18030", "gbk": "gb18030"}
    try:
        return data.decode(known.get(encoding, encoding)).encode()
    except LookupError:
        problem = not_allowed(encoding, "one that Python can read, best UTF-8")
        raise error_at(path, 1, "encoding", problem) from None
    except ValueError as error:
        line = data[: getattr(error, "start", 0)].count(b"\n") + 1
        name = "utf-8" if encoding == "utf-8-sig" else encoding
        problem = f"this line is no text in {name}; save the file as UTF-8"
        raise error_at(path, line, "encoding", problem) from None
