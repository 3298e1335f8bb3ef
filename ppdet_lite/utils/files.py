"""Files that are written whole, so that a reader never sees half of one; locks on files."""

import contextlib
import hashlib
import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Union

import cv2
import numpy as np

from ppdet_lite.core.errors import DataError, ImageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PathLike = Union[str, "os.PathLike[str]"]


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path`, and of an earlier file, at the end; after
    an error or Ctrl-C nothing of it stays. A link stays a link, `~` is the home folder; a pipe or a
    device as /dev/stdout is written into.

    Raises:
        DataError: the file cannot be written.
    """
    file, is_special = _target(path)
    # Other processes and threads may write the same file: each has a part of its own.
    own = f"{file.name}.{os.getpid()}-{threading.get_ident()}.part"
    part = file if is_special else file.with_name(own)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as stream:
            yield stream
        if part != file:
            os.replace(part, file)
    except BaseException as error:
        if part != file:
            with contextlib.suppress(OSError):
                part.unlink()
        if isinstance(error, OSError) and str(part).startswith(str(error.filename or "")):
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
        raise  # the caller's own


def free_name(path: PathLike, ending: str) -> str:
    """`path.ending`, or with a number behind it the first name that is not taken."""
    name = f"{os.fspath(path)}.{ending}"
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if not os.path.lexists(each))


def _target(path: PathLike) -> tuple[Path, bool]:
    """The file that `path` leads to; True if it is a folder, a pipe or a device."""
    file = Path(os.path.expanduser(path))
    is_special = os.path.exists(file) and not os.path.isfile(file)
    if is_special or str(file.parent) in ("/dev", "/dev/fd"):  # /dev/stdout may lead to a file
        return file, True
    return Path(os.path.realpath(file)), False


def is_within(path: PathLike, folder: PathLike) -> bool:
    """True if `path`, which need not exist, is the folder or lies in it; links are followed."""
    real, outer = (Path(os.path.realpath(os.path.expanduser(each))) for each in (path, folder))
    return real == outer or outer in real.parents


def check_writable(path: PathLike) -> None:
    """Finds out, before minutes of work, that `path` can be written; makes nothing.

    Raises:
        DataError: it cannot.
    """
    file, is_special = _target(path)
    folder = next(parent for parent in file.parents if parent.exists())
    reason = ""
    if file.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"{folder} is not a folder"
    elif not os.access(file if is_special else folder, os.W_OK):
        reason = "no permission"
    if reason:
        raise DataError(f"{path}: cannot be written ({reason})")


def lock_file(file: Any, wait: bool = True, inherited: bool = True) -> bool:
    """Locks an open file against other processes until it is closed.

    Args:
        inherited: forked processes hold the lock too; otherwise it ends with this process.

    Returns:
        False if another process has it and `wait` is off; True also where the system or the file
        system has no locks.
    """
    if fcntl is None:
        return True
    lock = fcntl.flock if inherited else fcntl.lockf
    try:
        lock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        pass
    return True


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
