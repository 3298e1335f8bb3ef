"""The facts of image files that a check of a data set needs, each file read and decoded once."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable, Iterator, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.image_ops import checked_header, decode_bytes, read_file
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import progress_bar

HASH_SIDE = 16
"""A perceptual hash has HASH_SIDE x HASH_SIDE bits."""

_HASHED_SIDE = 64
_FLAT = 2.0  # gray levels: an image of less contrast looks like any other of its kind
_AT_ONCE = 512  # files in the queue of the threads, which bounds the memory


class ImageFacts(NamedTuple):
    """An image file.

    Attributes:
        problem: the reason why it cannot be read; "" for none, and all others are not set then.
        is_missing: there is no such file.
        size_hw: height and width as shown, that is after its EXIF rotation.
        stored_hw: the same as stored.
        orientation: of EXIF, 2 to 8 for an image that is turned; 1 for the others.
        digest: of the file's content.
        lacks_end: a JPEG without its end marker, with all pixels.
        look: the perceptual hash, uint8 [HASH_SIDE^2 / 8]; None for an image of one color.
    """

    problem: str = ""
    is_missing: bool = False
    size_hw: SizeHW = (0, 0)
    stored_hw: SizeHW = (0, 0)
    orientation: int = 1
    digest: bytes = b""
    lacks_end: bool = False
    look: Optional[np.ndarray] = None


def image_facts(path: str) -> ImageFacts:
    """Reads and decodes an image file."""
    try:
        data = read_file(path)
        header = checked_header(data, path)
        known = header.kind in ("JPEG", "WebP")
        image = decode_bytes(data, path, header.orientation if known else None)
    except (ImageError, ValueError) as error:  # ValueError: a NUL in the name
        is_missing = isinstance(error.__cause__, FileNotFoundError)
        return ImageFacts(str(error), is_missing)
    height, width = image.shape[:2]
    digest = hashlib.blake2b(data, digest_size=16).digest()
    # Orientation 0: only the decoder knows, and has turned the image.
    turn = header.orientation or (1 if (height, width) == header.size_hw else 6)
    sizes = ((height, width), header.size_hw)
    return ImageFacts("", False, *sizes, turn, digest, header.is_cut, look_of(image))


def look_of(image_rgb: np.ndarray) -> Optional[np.ndarray]:
    """The perceptual hash of an image: the signs, against their median, of the lowest frequencies
    of its gray levels (a 2D cosine transform). A smaller, recompressed or brighter copy differs in
    few of the bits, another image in about half. None for an image of one color.
    """
    size = (_HASHED_SIDE, _HASHED_SIDE)
    small = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if gray.std() < _FLAT:
        return None
    lowest = cv2.dct(gray)[:HASH_SIDE, :HASH_SIDE].ravel()
    lowest[0] = 0.0  # the brightness
    return np.packbits(lowest > np.median(lowest))


def facts_of(paths: Sequence[str], threads: Optional[int] = None) -> dict[str, ImageFacts]:
    """Path -> facts of every file, with a progress bar."""
    paths = list(dict.fromkeys(paths))
    found: dict[str, ImageFacts] = {}
    with (
        ThreadPoolExecutor(threads or core_count()) as pool,
        progress_bar(len(paths), desc="images", unit="image") as bar,
    ):
        for part in _parts(paths):
            for path, facts in zip(part, pool.map(image_facts, part)):
                found[path] = facts
                bar.update(1)
    return found


def _parts(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), _AT_ONCE):
        yield paths[start : start + _AT_ONCE]


def looks_of(facts: Iterable[ImageFacts]) -> tuple[np.ndarray, np.ndarray]:
    """The perceptual hashes uint8 [K, B] of the images that have one, and their places [K]."""
    looks = [fact.look for fact in facts]
    places = np.array([i for i, look in enumerate(looks) if look is not None], np.int64)
    chosen = [look for look in looks if look is not None]
    return np.array(chosen, np.uint8).reshape(-1, HASH_SIDE**2 // 8), places
