"""Keeping images where they are read faster: the reader's key `cache`.

`encoded` keeps the bytes of the files in memory: it saves the disk, every pixel stays as it is.
`decoded` keeps the pixels in memory: it saves the decoding too and takes five to ten times as much.
`disk` keeps the pixels in files of a folder, which later runs find again.

The last two keep images larger than `max_side` at 1/2, 1/3, ... of their size. Boxes are not
touched, because geometry is computed with the size of the file. An image for which the budget has
no room is reduced in the same way, so that a batch does not depend on what happens to be kept.
"""

import os
import shutil
import struct
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Callable, NamedTuple, Optional

import cv2
import numpy as np

from ppdet_lite.core.annotations import Count, Rule, annotations_of, describe, matches
from ppdet_lite.core.errors import ConfigError, ImageError
from ppdet_lite.data.cache.shared_memory import available_bytes
from ppdet_lite.data.cache.stores import FolderStore, MemoryStore, Store
from ppdet_lite.data.pixels.headers import SizeHW, read_header
from ppdet_lite.data.pixels.image_ops import read_file
from ppdet_lite.data.pixels.pixel_source import ArrayPixels, PixelSource
from ppdet_lite.data.sources.dataset import Dataset

KINDS = {
    "encoded": "encoded files in memory",
    "decoded": "decoded pixels in memory",
    "disk": "decoded pixels in {folder}",
}

_MEGABYTE = 2**20
_SAMPLED_FILES = 200
_SHARE_OF_FREE = 0.8  # of free memory or disk that the cache may take
_HEADER = struct.Struct("<III")  # height and width of the whole image, reduction


class CacheSettings(NamedTuple):
    """The reader's key `cache`.

    Attributes:
        budget_mb: megabytes of content (of each process of a distributed run).
        max_side: longest side of kept pixels, null for any; not for encoded.
        folder: of kind disk.
    """

    kind: Annotated[str, Rule(KINDS.__contains__, ", ".join(KINDS))]
    budget_mb: Count = 2048
    max_side: Optional[Count] = 1024
    folder: str = ""

    def kept_hw(self, size_hw: SizeHW) -> SizeHW:
        """(height, width) of the kept pixels of an image."""
        reduction = self.reduction(size_hw)
        height, width = (-(-side // reduction) for side in size_hw)
        return height, width

    def reduction(self, size_hw: SizeHW) -> int:
        """Pixels are kept at 1/this of the size."""
        return 1 if self.max_side is None else max(-(-max(size_hw) // self.max_side), 1)


def cache_settings(value: Any) -> Optional[CacheSettings]:
    """The settings of `cache: {kind: ..., ...}`; a ConfigError names every wrong key."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ConfigError(f"cache: found {value!r}, allowed: {{kind: encoded, budget_mb: 2048}}")
    known, given = annotations_of(CacheSettings), {"kind": None, **value}
    problems = [f"{key}: unknown, allowed: {', '.join(known)}" for key in value if key not in known]
    for key in known:
        if key in given and not matches(given[key], known[key]):
            problems.append(f"{key}: found {given[key]!r}, allowed: {describe(known[key])}")
    kind = given["kind"]
    if kind == "disk" and not given.get("folder"):
        problems.append("folder: needed with kind disk, a folder on a fast disk")
    for key, kinds in (("max_side", ["encoded"]), ("folder", ["encoded", "decoded"])):
        if kind in kinds and key in value:
            problems.append(f"{key}: has no effect with kind {kind}; leave it out")
    if problems:
        raise ConfigError([f"cache.{problem}" for problem in problems])
    return CacheSettings(**value)


class ImageCache:
    """The images of one data set; opened in the reader's process, used in its workers too.

    Args:
        say: called with lines for the log, the expected size among them.
        where: the key in messages.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(
        self, settings: CacheSettings, dataset: Dataset, say: Callable[[str], None], where: str
    ):
        self.settings = settings
        paths = sorted({dataset.image_path(index) for index in range(len(dataset))})
        need, sampled = expected_bytes(settings, paths)
        budget = settings.budget_mb * _MEGABYTE
        free, place = available_bytes(), Path(settings.folder).expanduser().absolute()
        if settings.kind == "disk":
            existing = next(path for path in (place, *place.parents) if path.exists())
            free = shutil.disk_usage(existing).free
        if free is not None and min(budget, need) > free * _SHARE_OF_FREE:
            budget = int(free * _SHARE_OF_FREE)
            say(
                f"{where}: only {free // _MEGABYTE} MB are free; the budget of "
                f"{settings.budget_mb} MB becomes {budget // _MEGABYTE} MB"
            )
        some = (
            f"about {100 * budget / max(need, 1):.0f}% of them fit, the others are read as without"
        )
        fits = "all of them fit" if need <= budget else some
        say(
            f"{where}: {KINDS[settings.kind].format(folder=settings.folder)}, at most "
            f"{budget // _MEGABYTE} MB; all {len(paths)} images need about "
            f"{-(-need // _MEGABYTE)} MB (from {sampled} of them): {fits}"
        )
        self.store: Store
        self._broken = False
        try:
            if settings.kind == "disk":
                self.store = FolderStore(budget, place)
            else:  # an image may be kept upright and as stored
                self.store = MemoryStore(budget, 2 * len(paths))
        except OSError as error:
            if settings.kind == "disk":
                raise ConfigError(
                    f"{where}.folder: {settings.folder} cannot be used ({error.strerror})"
                ) from error
            say(f"{where}: {budget // _MEGABYTE} MB of memory cannot be had ({error}); no cache")
            self.store = MemoryStore(0, 0)

    def read(self, path: str) -> bytes:
        """The content of an image file: from memory with kind encoded, else from the file."""
        if self.settings.kind != "encoded":
            return read_file(path)
        if (kept := self.store.get(path)) is not None:
            return kept.tobytes()
        content = read_file(path)
        self.store.put(path, [content])
        return content

    def source(
        self, path: str, variant: str, make: Callable[[], PixelSource], notes: Counter[str]
    ) -> PixelSource:
        """The source of an image: kept pixels, or what make() returns, which is then kept. The
        pixels depend on the file and the `variant`; `notes` count things to tell once.
        """
        if self.settings.kind == "encoded":
            return make()
        key = f"{path}|{variant}"
        if self.settings.kind == "disk":
            try:
                stat = os.stat(path)
            except OSError:
                return make()  # whose error names the reason
            # A later run must not find the pixels of a file that has changed since.
            key = f"{os.path.abspath(path)}|{variant}|{stat.st_size}|{stat.st_mtime_ns}"
            key += f"|{self.settings.max_side}"
        if (content := self.store.get(key)) is not None:
            height, width, reduction = _HEADER.unpack(content[: _HEADER.size].data)
            pixels = content[_HEADER.size :].reshape(-(-height // reduction), -1, 3)
            return ArrayPixels(pixels, (height, width), reduction)
        kept = self._reduced(make())
        if not self._broken:
            try:
                self.store.put(key, [_HEADER.pack(*kept.size_hw, kept.reduction), kept.array])
            except OSError as error:
                self._broken = True
                notes[f"cache: {self.settings.folder} takes no more images ({error})"] += 1
        return kept

    def _reduced(self, source: PixelSource) -> ArrayPixels:
        """The pixels as they are kept, made of the whole image whichever reader comes first."""
        size_hw, pixels = source.size_hw, source.pixels(1)
        height, width = self.settings.kept_hw(size_hw)
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        reduction = self.settings.reduction(size_hw)
        return ArrayPixels(np.ascontiguousarray(pixels), size_hw, reduction)


def expected_bytes(settings: CacheSettings, paths: list[str]) -> tuple[int, int]:
    """Bytes that keeping all images would take, from a sample of the files; and its size."""
    step = max(len(paths) // _SAMPLED_FILES, 1)
    sizes = []
    for path in paths[::step]:
        try:
            if settings.kind == "encoded":
                sizes.append(os.path.getsize(path))
            elif not (header := read_header(read_file(path))).problem:
                height, width = settings.kept_hw(header.size_hw)
                sizes.append(height * width * 3 + _HEADER.size)
        except (OSError, ImageError):  # unreadable images are the reader's business
            continue
    return int(np.mean(sizes) * len(paths)) if sizes else 0, len(sizes)
