"""Files that are written whole: a reader never sees half of one."""

import contextlib
import json
import os
from pathlib import Path
from typing import Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, ImageError


def write_image(path: Union[str, Path], image_rgb: np.ndarray) -> None:
    """Write uint8 RGB in the format of the file name's ending, replacing a file that is there at
    once.

    Raises:
        ImageError: the format is not known or the file cannot be written.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(path.suffix, image_rgb[:, :, ::-1], options)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be encoded ({' '.join(str(error).split())})") from error
    if not done:
        raise ImageError(f"{path}: cannot be encoded as {path.suffix}")
    _replace_file(path, data.tobytes())


def write_json(path: Union[str, Path], content) -> None:
    """Write `content` as JSON; a reader never sees half a file.

    Bytes of a file name that are not UTF-8 are written as JSON's escapes ("\\udcfc" for 0xfc), from
    which Python's json module makes the same name again.
    """
    text = json.dumps(content, ensure_ascii=False, indent=1)
    _replace_file(Path(path), (text + "\n").encode("utf-8", "backslashreplace"))


def check_utf8(name: Union[str, Path], user: str) -> None:
    """Refuses a file name with bytes that are not UTF-8, with which some libraries crash.

    Args:
        user: which library cannot take it, for the message.

    Raises:
        DataError: names the file; what is no UTF-8 stands as `\\xfc`.
    """
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise DataError(
            f"{shown}: the name is not UTF-8 and {user} cannot take it; rename it"
        ) from error


def _replace_file(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another run may write it as well
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException as error:  # Ctrl-C too leaves nothing behind
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        raise ImageError(f"{path}: cannot be written ({error.strerror})") from error
