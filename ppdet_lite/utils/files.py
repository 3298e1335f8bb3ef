"""Files that are written whole: a reader never sees half of one."""

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, ImageError

PathLike = Union[str, "os.PathLike[str]"]


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path`, and of an earlier file, at the end; after
    an error or Ctrl-C nothing of it stays. A pipe or a device as /dev/stdout is written into.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    is_special = path.exists() and not path.is_file()
    # Other processes and threads may write the same file: each has a part of its own.
    own = f"{path.name}.{os.getpid()}-{threading.get_ident()}.part"
    part = path if is_special else path.with_name(own)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as stream:
            yield stream
        if part != path:
            os.replace(part, path)
    except BaseException as error:
        if part != path:
            with contextlib.suppress(OSError):
                part.unlink()
        if isinstance(error, OSError) and str(part).startswith(str(error.filename or "")):
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
        raise  # the caller's own


def sha256_of(path: PathLike) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_image(path: PathLike, image_rgb: np.ndarray) -> None:
    """Writes uint8 RGB [H, W, 3] in the format of the file name's ending.

    Raises:
        ImageError: the format is not known.
        DataError: the file cannot be written.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(path.suffix, image_rgb[:, :, ::-1], options)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be encoded ({' '.join(str(error).split())})") from error
    if not done:
        raise ImageError(f"{path}: cannot be encoded (an image of {image_rgb.shape})")
    with replacing(path) as stream:
        stream.write(data.tobytes())


def write_json(path: PathLike, content: Any) -> None:
    """Writes JSON; bytes of a file name that are not UTF-8 stand as escapes, "\\udcfc" for 0xfc.

    Raises:
        DataError: the file cannot be written.
    """
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    with replacing(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def check_utf8(name: PathLike, user: str) -> None:
    """Refuses a file name with bytes that are not UTF-8, with which the library `user` crashes.

    Raises:
        DataError: names the file and the library.
    """
    try:
        str(name).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        text = f"{shown}: the name is not UTF-8 and {user} cannot take it; rename it"
        raise DataError(text) from error
