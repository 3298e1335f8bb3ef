"""Finding the files of a data set; a missing one is named with the config key it comes from."""

import contextlib
import os
from pathlib import Path
from typing import Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.utils.files import PathLike


def join(*parts: Optional[PathLike]) -> Path:
    """The parts that are given, as one path; `~` is the home folder."""
    return Path(*[part for part in parts if part]).expanduser()


def require_file(key: str, *parts: Optional[PathLike]) -> Path:
    """The file at the joined parts.

    Args:
        key: the config keys that the parts come from, for the message.

    Raises:
        DataError: it is not there, or is a folder.
    """
    return _require("file", key, join(*parts))


def require_folder(key: str, *parts: Optional[PathLike]) -> Path:
    """The folder at the joined parts; see `require_file`."""
    return _require("folder", key, join(*parts))


def _require(kind: str, key: str, path: Path) -> Path:
    if path.exists():
        found = "folder" if path.is_dir() else "file"
        if found == kind:
            return path
        raise DataError(f"{path} is a {found}, but {key} must name a {kind}")
    nearest = next(parent for parent in path.absolute().parents if parent.is_dir())
    content = ""
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(nearest) if not name.startswith("."))
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        content = f", which holds {', '.join(names[:6])}{more}" if names else ", which is empty"
    raise DataError(
        f"{kind} {path} does not exist (from {key}); the nearest folder that exists is {nearest}"
        f"{content}"
    )
