"""Files of a data set: finding and reading them, and naming the place of what is wrong in them."""

import contextlib
import json
import os
from pathlib import Path
from typing import Optional, Sequence, TextIO

from ppdet_lite.core.annotations import shown
from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import PathLike

_PARSED = 2**24  # bytes


def join(*parts: Optional[PathLike]) -> Path:
    """The parts that are given, as one path; `~` is the home folder."""
    return Path(*[part for part in parts if part]).expanduser()


def require_file(key: str, *parts: Optional[PathLike]) -> Path:
    """The file at the joined parts; a DataError with the config keys `key` that they come from
    where it is not there, or is a folder.
    """
    return _require("file", key, join(*parts))


def require_folder(key: str, *parts: Optional[PathLike]) -> Path:
    """The folder at the joined parts; see `require_file`."""
    return _require("folder", key, join(*parts))


def _require(kind: str, key: str, path: Path) -> Path:
    if os.path.exists(path):
        found = "folder" if path.is_dir() else "file"
        if found == kind:
            return path
        raise DataError(f"{path} is a {found}, but {key} must name a {kind}")
    nearest = next(parent for parent in path.absolute().parents if os.path.isdir(parent))
    content = ""
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(nearest) if not name.startswith("."))
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        content = f", which holds {', '.join(names[:6])}{more}" if names else ", which is empty"
    raise DataError(
        f"{kind} {path} does not exist (from {key}); the nearest folder that exists is {nearest}"
        f"{content}"
    )


def find_listed(name: str, folder: Path, root: Path) -> Optional[Path]:
    """The file or folder that a path in a data set means: relative to `folder`, to `root`, or to a
    folder of another machine, so that its last parts below `root` count; None without one. `\\`
    separates as well.
    """
    name = name.replace("\\", "/")
    for start in (folder, root):
        if os.path.exists(start / name):
            return Path(os.path.normpath(start / name))
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    for first in range(len(parts)):
        path = root.joinpath(*parts[first:])
        if os.path.exists(path):
            return path
    return None


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8, or in UTF-16 with its mark; a DataError where it cannot
    be read.
    """
    try:
        with open_text(path) as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def open_text(path: Path) -> TextIO:
    """Opens such a file, whose line ends stay as they are; a DataError where that cannot be."""
    try:
        with open(path, "rb") as stream:
            is_wide = stream.read(2) in (b"\xff\xfe", b"\xfe\xff")
        encoding = "utf-16" if is_wide else "utf-8-sig"
        return open(path, encoding=encoding, newline="")  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number (from 1) and stripped text of every line that is not blank; raises as `read_text`."""
    lines = enumerate(map(str.strip, read_text(path).splitlines()), start=1)
    return [(number, line) for number, line in lines if line]


def with_ending(path: Path, ending: str) -> Path:
    """The path with this ending, in upper case where the file has it."""
    usual, other = path.with_suffix(ending), path.with_suffix(ending.upper())
    return other if not os.path.isfile(usual) and os.path.isfile(other) else usual


def is_json(path: Path) -> bool:
    """True if a file is JSON; of a large one only the first and last bytes are looked at."""
    try:
        if path.stat().st_size <= _PARSED:
            json.loads(read_text(path))
            return True
        with open(path, "rb") as stream:
            start = stream.read(64).lstrip(b"\xef\xbb\xbf").lstrip()
            stream.seek(-64, os.SEEK_END)
            return start[:1] in b"{[" and stream.read().rstrip()[-1:] in (b"}", b"]")
    except (DataError, OSError, ValueError, RecursionError):
        return False


def error_at(path: Path, line: Optional[int], *parts: str) -> DataError:
    """The error about a place in a file: "a.xml line 7: size.width: missing"."""
    return DataError(": ".join([f"{path} line {line}" if line else str(path), *parts]))


def not_allowed(found: object, allowed: str) -> str:
    """The words about a value that cannot be used."""
    return f"found {shown(found)}, allowed: {allowed}"


def raise_all(errors: Sequence[DataError], count: int, things: str) -> None:
    """Raises the errors about some of `count` things as one, with the first ten."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        texts = [*map(str, errors)]
        folder = os.path.commonprefix(texts).rpartition(os.sep)[0] + os.sep
        shown = "; ".join(text[len(folder) :][:160] for text in texts[:10])
        more = f"; and {len(errors) - 10} more" if len(errors) > 10 else ""
        found = (
            f"{len(errors)} of {count} {things} cannot be used, in {folder[:300]}: {shown}{more}"
        )
        raise DataError(found)
