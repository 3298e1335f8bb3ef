"""Reading Pascal VOC annotation files, with exact complaints."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple, NoReturn, Optional
from xml.parsers import expat

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.sources.files import error_at, not_allowed

_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)[\"']")
_OF_EXPAT = ("utf-8", "utf-16", "iso-8859-1", "us-ascii")
_LARGER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
"""Encodings that files declare with characters that only the larger one has."""
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """One `object` of a file; corners in pixels."""

    name: str
    box_xyxy: tuple[float, ...]
    difficult: bool


class VocFile:
    """An annotation file. All methods raise DataError, with file, line and key, about a field that
    is missing or unusable.

    Raises:
        DataError: it does not exist or is not XML.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lines: dict[ET.Element, int] = {}
        data, encoding = _readable(path)
        builder, parser = ET.TreeBuilder(), expat.ParserCreate(encoding)

        def start(tag: str, attributes: dict[str, str]) -> None:
            self._lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        def entity(name: str, *_: object) -> NoReturn:  # could expand to gigabytes
            raise error_at(
                path, parser.CurrentLineNumber, f"found the entity {name}, allowed: none"
            )

        parser.StartElementHandler, parser.EndElementHandler = start, builder.end
        parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, entity
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            where = f"{path} line {error.lineno}, column {error.offset + 1}"
            raise DataError(f"{where}: not XML: {expat.ErrorString(error.code)}") from None
        self._root = builder.close()

    def has_size(self) -> bool:
        """False where width or height is missing, or 0 as some tools write for unknown endings."""
        sides = [self._root.findtext(f"size/{tag}", "0").strip() for tag in ("width", "height")]
        return not {"0", ""} & set(sides)

    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._side("height"), self._side("width")

    def names(self) -> list[str]:
        """Name of every object."""
        names = []
        for index, item in enumerate(self._root.iterfind("object")):
            element, key = self._find(item, f"object[{index}]", "name")
            names.append((element.text or "").strip())
            if not names[-1]:
                raise self._error(element, key, "empty")
        return names

    def objects(self) -> list[VocObject]:
        """All objects."""
        objects = []
        for index, (item, name) in enumerate(zip(self._root.iterfind("object"), self.names())):
            where = f"object[{index}]"
            corners = tuple(self._number(item, where, "bndbox", key) for key in _CORNERS)
            has_flag = item.find("difficult") is not None
            difficult = has_flag and self._number(item, where, "difficult") != 0
            objects.append(VocObject(name, corners, difficult))
        return objects

    def name_error(self, index: int, problem: str) -> DataError:
        """The error about the name of an object."""
        item = self._root.findall("object")[index]
        return self._error(*self._find(item, f"object[{index}]", "name"), problem)

    def _side(self, tag: str) -> int:
        value = self._number(self._root, "", "size", tag)
        if value.is_integer() and 0 < value < 2**31:
            return int(value)
        element, key = self._find(self._root, "", "size", tag)
        raise self._error(element, key, not_allowed(element.text, "a positive integer"))

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


def _readable(path: Path) -> tuple[bytes, Optional[str]]:
    """The content of a file in an encoding that expat reads, and its name where the file declares
    another; a DataError where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    declared = _DECLARED.match(data.removeprefix(b"\xef\xbb\xbf"))
    encoding = declared[1].decode().lower() if declared else "utf-8"
    if encoding in _OF_EXPAT:
        return data, None
    try:
        return data.decode(_LARGER.get(encoding, encoding)).encode("utf-8"), "utf-8"
    except (LookupError, UnicodeError) as error:
        reason = f"found the encoding {encoding}: {error}; save the file as UTF-8"
        raise error_at(path, 1, reason) from None
