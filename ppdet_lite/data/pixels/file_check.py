"""Image files that cannot be read, found before the work that needs them begins."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Iterable

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.headers import MAX_PIXELS, read_header
from ppdet_lite.data.pixels.image_ops import check_pixels, decode_image

_THREADS = 8  # most of the time goes into waiting for the disk
_HEAD_BYTES, _TAIL_BYTES = 16384, 4096


def unreadable_images(paths: Iterable[str], check: str = "headers") -> dict[str, str]:
    """Path -> reason of the images that `image_problem` refuses."""
    paths = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(partial(image_problem, check=check), paths)
        return {path: problem for path, problem in zip(paths, problems) if problem}


def image_problem(path: str, check: str = "headers") -> str:
    """The reason why an image file cannot be read, with its path; "" if it can.

    Args:
        check: `none` looks only if there is a file; `headers` judges its first and last bytes, and
            decodes it where these leave a doubt; `contents` decodes it.
    """
    try:
        if check == "none":
            return "" if os.path.isfile(path) else f"{path}: cannot be read (no such file)"
        with open(path, "rb", buffering=0) as stream:
            size, head = os.fstat(stream.fileno()).st_size, stream.read(_HEAD_BYTES)
            stream.seek(max(size - _TAIL_BYTES, 0))
            tail = stream.read()
        size_hw = read_header(head).size_hw
        if check == "contents" or size_hw is None or not _is_whole(head, tail, size):
            decode_image(path)
        else:
            check_pixels(size_hw, MAX_PIXELS, path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    except ImageError as error:
        return str(error)
    return ""


def _is_whole(head: bytes, tail: bytes, size: int) -> bool:
    """True if a JPEG, PNG or WebP file of `size` bytes has its end."""
    if head[:2] == b"\xff\xd8":
        return b"\xff\xd9" in tail
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    return head[:4] == b"\x89PNG" and b"IEND" in tail
