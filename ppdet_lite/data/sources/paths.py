"""Finding the files of a data set; a missing one is named with the config key it comes from."""

import os
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError

PathLike = Union[str, "os.PathLike[str]"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""What counts as an image when a folder is searched; upper and lower case are the same."""


def join(*parts: Optional[PathLike]) -> Path:
    """The parts that are given, as one path; `~` is the home folder."""
    return Path(*[part for part in parts if part]).expanduser()


def is_image(name: PathLike) -> bool:
    """Whether the name ends like an image."""
    return os.path.splitext(os.fspath(name))[1].lower() in IMAGE_SUFFIXES


def require_file(path: Path, key: str) -> Path:
    """The path, when it is a file.

    Args:
        path: a file.
        key: the config keys it was made of, for the message.

    Raises:
        DataError: it is not there, or is a folder.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, but {key} must name a file")
    if not path.is_file():
        raise _missing("file", path, key)
    return path


def require_folder(path: Path, key: str) -> Path:
    """The path, when it is a folder; see `require_file`."""
    if path.is_file():
        raise DataError(f"{path} is a file, but {key} must name a folder")
    if not path.is_dir():
        raise _missing("folder", path, key)
    return path


def _missing(kind: str, path: Path, key: str) -> DataError:
    parent = nearest_existing_parent(path)
    return DataError(
        f"{kind} {path} does not exist (from {key}); the nearest folder that exists is {parent}"
        f"{_content_hint(parent)}"
    )


def nearest_existing_parent(path: Path) -> Path:
    """The closest folder above `path` that exists, absolute."""
    for parent in path.absolute().parents:
        if parent.is_dir():
            return parent
    return Path(path.absolute().anchor)


def _content_hint(folder: Path, limit: int = 6) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return ""
    if not names:
        return ", which is empty"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f", which holds {', '.join(names[:limit])}{more}"


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
