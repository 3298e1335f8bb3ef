"""Images from whatever a user hands over: paths, arrays, folders, videos, and lists of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.frames.sources import open_source
from ppdet_lite.utils.image_files import list_images
from ppdet_lite.utils.logger import get_logger

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")


class Opened(NamedTuple):
    """An image, its name, and how to get it again."""

    image: np.ndarray
    source: str
    reopen: Callable[[], np.ndarray]


def open_images(source: Any) -> Iterator[Opened]:
    """The images of a path, array, folder or video, or of a list of these, one after the other.
    Files in a folder that cannot be read are left out, with a warning for each.

    Raises:
        DataError: nothing is there, or what was named itself is no image.
    """
    items = list(source) if isinstance(source, (list, tuple)) else [source]
    for number, item in enumerate(items):
        if isinstance(item, (str, Path)):
            yield from _of_path(Path(item).expanduser())
        else:
            image = _checked(item, f"image {number}")
            yield Opened(image, f"image {number}", partial(np.asarray, image))


def _of_path(path: Path) -> Iterator[Opened]:
    if path.is_dir():
        yield from _of_folder(path)
    elif path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        yield from _of_video(path)
    elif path.is_file():
        yield _of_file(path)
    else:
        raise DataError(f"{path}: no such image, folder or video")


def _of_file(path: Path) -> Opened:
    return Opened(decode_image(path), str(path), partial(decode_image, path))


def _of_folder(folder: Path) -> Iterator[Opened]:
    paths, bad = list_images(folder), 0
    for path in paths:
        try:
            opened = _of_file(path)
        except ImageError as error:
            bad += 1
            get_logger().warning("left out: %s", error)
            continue
        yield opened
    if bad == len(paths):
        raise ImageError(f"{folder}: none of its {bad} images can be read")
    if bad:
        get_logger().warning("%s: %d of %d images cannot be read", folder, bad, len(paths))


def _of_video(path: Path) -> Iterator[Opened]:
    for frame in open_source("video_file", str(path)):
        number = frame.number
        reopen = partial(frame_of_video, path, number)
        yield Opened(frame.image, f"{path}#{number}", reopen)


def frame_of_video(path: Path, number: int) -> np.ndarray:
    """One frame, uint8 RGB. The video is read up to it, because many codecs cannot jump exactly."""
    for frame in open_source("video_file", str(path), number + 1):
        if frame.number == number:
            return frame.image
    raise DataError(f"{path}: has no frame {number}")


def _checked(image: Any, name: str) -> np.ndarray:
    """An array or an object that numpy can make one of (PIL), as uint8 [H, W, 3] RGB."""
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        shape = "x".join(map(str, array.shape))
        raise DataError(f"{name}: found {array.dtype} {shape}, allowed: uint8 [H, W, 3], RGB")
    return array
