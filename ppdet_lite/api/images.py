"""Images from whatever a user hands over: paths, arrays, folders, videos, and lists of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.runtime.frames.sources import open_source
from ppdet_lite.utils.image_files import list_images

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")


class Opened(NamedTuple):
    """An image, its name, and how to get it again."""

    image: np.ndarray
    source: str
    reopen: Callable[[], np.ndarray]


def open_images(source: Any) -> Iterator[Opened]:
    """The images of a path, array, folder or video, or of a list of these, one after the other.

    Raises:
        DataError: nothing is there, or it is no image.
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
        paths = list_images(path)
    elif path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        yield from _of_video(path)
        return
    elif path.is_file():
        paths = [path]
    else:
        raise DataError(f"{path}: no such image, folder or video")
    for each in paths:
        yield Opened(decode_image(each), str(each), partial(decode_image, each))


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
