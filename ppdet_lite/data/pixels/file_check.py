"""Image files that cannot be read, found before the work that needs them begins."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Iterable

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.headers import ImageHeader, SizeHW, check_header, read_header
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.utils.logger import progress_bar

ALL_CHECKED, SAMPLE = 10_000, 1_000
"""Images of the largest data set of which `auto` checks all, and how many it checks of others."""

_THREADS = 8  # most of the time goes into waiting for the disk
_WHOLE = ("JPEG", "PNG", "WebP", "AVIF")  # their headers tell if a file is whole


def unreadable_images(paths: Iterable[str], check: str = "headers") -> dict[str, str]:
    """Path -> reason of the images that `image_problem` refuses, among `files_to_check`."""
    paths = files_to_check(paths, check)
    kind = "headers" if check == "auto" else check
    found = {}
    with ThreadPoolExecutor(_THREADS) as pool, progress_bar(len(paths), "checking files") as bar:
        for path, problem in zip(paths, pool.map(partial(image_problem, check=kind), paths)):
            bar.update(1)
            if problem:
                found[path] = problem
    return found


def files_to_check(paths: Iterable[str], check: str) -> list[str]:
    """Each of the paths once. For the check `auto` those of a large data set are `SAMPLE`, spread
    evenly over it: on the disk of a network one look at every file may take many minutes.
    """
    distinct = list(dict.fromkeys(paths))
    if check != "auto" or len(distinct) <= ALL_CHECKED:
        return distinct
    return [distinct[number * len(distinct) // SAMPLE] for number in range(SAMPLE)]


def image_problem(path: str, check: str = "headers") -> str:
    """The reason why an image file cannot be read, with its path; "" if it can.

    Args:
        check: `none` looks only if there is a file; `headers` reads the header, and decodes where
            it does not tell if the file is whole; `contents` decodes every image.
    """
    if check == "none":
        return "" if os.path.isfile(path) else f"{path}: cannot be read (no such file)"
    try:
        header = image_header(path)
        if header.is_cut or header.kind not in _WHOLE or check == "contents":
            decode_image(path)
    except ImageError as error:
        return str(error)
    return ""


def image_header(path: str) -> ImageHeader:
    """The header of an image file, of which little is read; an ImageError with its path where it
    forbids to decode the image.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            if not os.fstat(stream.fileno()).st_size:
                raise ImageError(f"{path}: the file is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = read_header(data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot be read ({reason})") from error
    check_header(header, path)
    return header


def displayed_size(path: str) -> SizeHW:
    """(height, width) of an image as it is shown, that is after its EXIF rotation; raises as
    `image_header`.
    """
    header = image_header(path)
    if header.orientation:
        return header.upright_hw
    height, width = decode_image(path).shape[:2]
    return height, width
