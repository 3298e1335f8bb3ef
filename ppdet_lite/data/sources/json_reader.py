"""Reads a large JSON file value by value, with a few megabytes of its text in memory at a time."""

from __future__ import annotations

import json
import re
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Iterator, Optional

from ppdet_lite.data.sources.files import open_text, read_text

_PIECE = 1 << 22  # characters
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonReader:
    """A position in a JSON file that moves from value to value; a context that closes the file.

    Positions are counted in characters from the start of the file.

    Args:
        on_read: is told how many characters more have been read.

    Attributes:
        starts: position of every element of the lists that `elements` has read, by name.

    Raises:
        DataError: the file cannot be read, or is no text.
        json.JSONDecodeError: what comes next is no JSON; with its place in the file.
    """

    def __init__(self, path: Path, on_read: Callable[[int], object] = lambda count: None):
        self.starts = dict[str, "array[int]"]()
        self._path, self._stream, self._on_read = path, open_text(path), on_read
        self._decode = json.JSONDecoder().raw_decode
        self._piece, self._next = "", 0  # the text from position `_before` on, and the place in it
        self._before = 0

    def __enter__(self) -> JsonReader:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._stream.close()

    @property
    def at(self) -> int:
        """Position of the next character."""
        return self._before + self._next

    def line(self, position: int) -> int:
        """Number of the line, from 1, that has this position."""
        return read_text(self._path).count("\n", 0, position) + 1

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            match = _SPACE.match(self._piece, self._next)
            self._next = match.end() if match else self._next
            if self._next < len(self._piece) or not self._read_on():
                return self._piece[self._next : self._next + 1]

    def take(self, *allowed: str) -> str:
        """The next character, which must be one of these."""
        mark = self.peek()
        if mark not in allowed:
            raise self._error(f"Expecting {' or '.join(allowed)}", self._next)
        self._next += len(mark)
        return mark

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._decode(self._piece, self._next)
            except json.JSONDecodeError as error:
                if not self._read_on():  # it is not for want of the rest
                    raise self._error(error.msg, error.pos) from None
            else:
                if end < len(self._piece) or not self._read_on():  # a number may go on
                    self._next = end
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
                raise self._error("Expecting a key in quotes", self._next)
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

    def _read_on(self) -> bool:
        """Puts more text behind what is left of the piece; False at the end of the file."""
        left = self._piece[self._next :]
        try:  # twice as much for a value that is larger than a piece
            more = self._stream.read(max(_PIECE, len(left)))
        except (UnicodeDecodeError, OSError):
            read_text(self._path)  # raises a DataError that says where
            raise
        self._on_read(len(more))
        if more:
            self._piece, self._before, self._next = left + more, self.at, 0
        return bool(more)

    def _error(self, problem: str, place: int) -> json.JSONDecodeError:
        return json.JSONDecodeError(problem, read_text(self._path), self._before + place)
