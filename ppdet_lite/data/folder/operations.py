"""Converting, splitting and merging data sets: a new folder, the originals stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Mapping, NamedTuple, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.reading import SPLITS, FolderReading
from ppdet_lite.data.folder.recognize import recognize
from ppdet_lite.data.folder.stratified import stratified_split
from ppdet_lite.data.folder.writing.coco_writer import CocoWriter
from ppdet_lite.data.folder.writing.labeled_set import LabeledSet, join_sets, read_set
from ppdet_lite.data.folder.writing.set_writer import SetWriter
from ppdet_lite.data.folder.writing.voc_writer import VocWriter
from ppdet_lite.data.folder.writing.yolo_writer import YoloWriter
from ppdet_lite.utils.files import is_within

WRITERS: dict[str, type[SetWriter]] = {"coco": CocoWriter, "voc": VocWriter, "yolo": YoloWriter}
"""Formats that can be written."""


class Written(NamedTuple):
    """A written data set; `lines` tell the user what it holds and what was left out."""

    folder: Path
    lines: list[str]


def convert(reading: FolderReading, folder: Path, to: str, link: bool = False) -> Written:
    """Writes a data set in another format, with its splits.

    Raises:
        DataError: `folder` is not empty or lies in the data set, or this cannot be read.
    """
    check_apart(folder, reading)
    return _write(read_set(reading), folder, to, link)


def split(
    reading: FolderReading,
    folder: Path,
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    to: Optional[str] = None,
    link: bool = False,
) -> Written:
    """Divides all images of a data set anew, by `stratified_split`.

    Args:
        shares: split -> share of the images. The rest is `train`.
        to: format, by default that of the data set, or COCO where that cannot be written.

    Raises:
        DataError: the shares leave nothing for training; see `convert`.
    """
    rest = 1 - sum(shares.values())
    if rest <= 1e-6 or min(shares.values(), default=0) < 0:
        found = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise DataError(f"shares: found {found}, allowed: 0 or more, below 1 together")
    check_apart(folder, reading)
    content = read_set(reading)
    images = [image for part in content.splits.values() for image in part]
    counts = np.zeros((len(images), len(content.class_names)), np.int64)
    for row, image in enumerate(images):
        counts[row] = np.bincount(image.classes[~image.crowd], minlength=counts.shape[1])
    wanted = {"train": rest, **{name: share for name, share in shares.items() if share}}
    if len(images) < len(wanted):
        text = f"{len(images)} image{'' if len(images) == 1 else 's'} cannot be divided"
        raise DataError(f"{reading.folder}: {text} into {', '.join(wanted)}")
    parts = stratified_split(counts, wanted, seed)
    splits = {name: [images[row] for row in rows] for name, rows in parts.items()}
    if to is None:
        to = reading.format if reading.format in WRITERS else "coco"
    lines = [f"seed {seed}, by image, each class by its share"]
    written = _write(content._replace(splits=splits), folder, to, link)
    return written._replace(lines=[*written.lines, *lines])


def merge(
    readings: Sequence[FolderReading], folder: Path, *, to: str = "coco", link: bool = False
) -> Written:
    """Joins data sets: images of equal splits, classes of equal names.

    Raises:
        DataError: see `convert`.
    """
    check_apart(folder, *readings)
    sets = {f"{reading.folder.name}": read_set(reading) for reading in readings}
    if len(sets) < len(readings):
        sets = {str(reading.folder): read_set(reading) for reading in readings}
    joined = join_sets(sets)
    lines = [
        f"{title}: {len(each.class_names)} classes ({', '.join(each.class_names[:8])}"
        f"{', ...' if len(each.class_names) > 8 else ''})"
        for title, each in sets.items()
    ]
    written = _write(joined, folder, to, link)
    return written._replace(lines=[*lines, *written.lines])


def check_apart(folder: Path, *readings: FolderReading) -> None:
    """A DataError where a new data set would lie in one of those that it is made of, whose files
    it would be mixed up with.
    """
    for original in (reading.folder for reading in readings):
        if is_within(folder, original):
            raise DataError(f"{folder} lies in {original}, allowed: a folder elsewhere")


def _write(content: LabeledSet, folder: Path, to: str, link: bool) -> Written:
    if to not in WRITERS:
        raise DataError(f"`format`: found {to}, allowed: {', '.join(WRITERS)}")
    order = [name for name in SPLITS if name in content.splits]
    content = content._replace(splits={name: content.splits[name] for name in order})
    writer, was_there = WRITERS[to](folder, link), folder.exists()
    try:
        more = writer.write(content)
        shown = recognize(folder).lines()  # proves that it can be read
    except BaseException:  # nothing half-written stays
        shutil.rmtree(folder, ignore_errors=True)
        if was_there:
            folder.mkdir(exist_ok=True)
        raise
    images = {name: len(part) for name, part in content.splits.items()}
    how = "linked to the originals" if link else "copied"
    lines = [*shown, f"{sum(images.values())} images {how}"]
    return Written(folder, [*lines, *content.remarks, *more])
