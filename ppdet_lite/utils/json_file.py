"""The JSON file that a tool writes its measurements to."""

import os
from pathlib import Path
from typing import Any

from ppdet_lite.core.errors import UserError
from ppdet_lite.utils import files


def check_json(path: files.PathLike) -> None:
    """Finds out, before minutes of measuring, that `write_json` can write there; makes nothing.

    Raises:
        UserError: it cannot.
    """
    file = _resolved(path)
    folder = next(parent for parent in file.parents if parent.exists())
    is_special = file.exists() and not file.is_file()
    reason = ""
    if file.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"{folder} is not a folder"
    elif not os.access(file if is_special else folder, os.W_OK):
        reason = "no permission"
    if reason:
        raise UserError(f"{path}: cannot be written ({reason})")


def write_json(path: files.PathLike, content: Any) -> None:
    """Writes the file and the folders it needs; an earlier file stays whole until the new one is.

    Raises:
        UserError: it cannot be written.
    """
    files.write_json(_resolved(path), content)


def _resolved(path: files.PathLike) -> Path:
    """The file itself, so that a link to it stays a link."""
    return Path(os.path.realpath(os.path.expanduser(path)))
