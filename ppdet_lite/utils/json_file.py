"""The file behind the option --json of the tools that measure."""

import json
import os
from pathlib import Path
from typing import Union

from ppdet_lite.core.errors import ImageError, UserError
from ppdet_lite.utils import files


def check_json(path: Union[str, Path]) -> None:
    """Looks whether `write_json` could write there, before minutes of measuring; makes nothing.

    Raises:
        UserError: it could not.
    """
    file = _expanded(path)
    if file.is_dir():
        raise _cannot_be_written(path, "it is a folder")
    folder = Path(os.path.realpath(file)).parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise _cannot_be_written(path, f"{folder} is not a folder")
    if not os.access(file if _is_special(file) else folder, os.W_OK):
        raise _cannot_be_written(path, "no permission")


def write_json(path: Union[str, Path], content) -> None:
    """Writes the file and the folders it needs; an earlier file stays whole until the new one is.

    Raises:
        UserError: it cannot be written.
    """
    file = _expanded(path)
    if _is_special(file):
        try:
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise _cannot_be_written(path, error.strerror) from error
        return
    try:
        files.write_json(os.path.realpath(file), content)  # a link stays a link
    except ImageError as error:
        raise UserError(f"--json {error}") from error


def _expanded(path: Union[str, Path]) -> Path:
    return Path(os.path.expanduser(path))


def _is_special(file: Path) -> bool:
    """Whether it is a pipe or a device, as /dev/stdout, whose place a new file must not take."""
    return file.exists() and not file.is_file()


def _cannot_be_written(path: Union[str, Path], reason: str) -> UserError:
    return UserError(f"--json {path}: cannot be written ({reason})")
