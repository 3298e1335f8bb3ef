"""Text files of annotations: reading them, and naming the place of what is wrong in them."""

from pathlib import Path
from typing import Optional

from ppdet_lite.core.errors import DataError


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8.

    Raises:
        DataError: it cannot be read or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number (from 1) and stripped text of every line that is not blank; raises as `read_text`."""
    lines = enumerate(map(str.strip, read_text(path).splitlines()), start=1)
    return [(number, line) for number, line in lines if line]


def error_at(path: Path, line: Optional[int], *parts: str) -> DataError:
    """The error about a place in a file: "a.xml line 7: size.width: missing"."""
    return DataError(": ".join([f"{path} line {line}" if line else str(path), *parts]))


def not_allowed(found: object, allowed: str) -> str:
    """The words about a value that cannot be used."""
    return f"found {found!r}, allowed: {allowed}"
