"""A repaired copy of a data set, in COCO's format; the original stays as it is."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.data.doctor.box_checks import are_shares, true_sizes
from ppdet_lite.data.doctor.catalog import KINDS
from ppdet_lite.data.doctor.check import Check
from ppdet_lite.data.doctor.class_checks import spellings
from ppdet_lite.data.doctor.image_checks import is_turned_label
from ppdet_lite.data.doctor.survey import Split, Survey
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.box_cleaning import clean_boxes, repeated_rows
from ppdet_lite.utils.files import is_within, write_image, write_json
from ppdet_lite.utils.logger import progress_bar

DROPPED_IMAGES = ("unusable_label", "missing_image", "unreadable_image", "leak", "duplicate")
"""Kinds whose images are left out."""

_SAME_SHAPE = 0.01  # proportions that differ by less are the same


class Repaired(NamedTuple):
    """A repaired copy.

    Attributes:
        files: split -> its annotation file.
        images: written, of all splits.
        counts: kind -> number of findings that were repaired.
        empty: splits that are left out since no image of them is left.
    """

    files: dict[str, Path]
    images: int
    counts: dict[str, int]
    empty: list[str]


def check_target(folder: Path, survey: Survey) -> None:
    """A ConfigError where the copy would touch the original or other files."""
    roots = [split.content.image_root for split in survey.splits]
    for root in [*roots, *([survey.folder] if survey.folder else [])]:
        if is_within(folder, root):
            text = f"{folder} lies in the original ({root})"
            raise ConfigError(f"`fix`: {text}, allowed: a folder elsewhere")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"`fix`: {folder} is there already, allowed: a new or an empty folder")


def repair(done: Check, folder: Path) -> Repaired:
    """Writes `images/SPLIT/...` and `annotations/SPLIT.json` into a new folder, and a list of the
    images that were left out in `repair.json`.

    Raises:
        ConfigError: `folder` is not empty, or lies in the original.
        DataError: no split can be read, no image would be left, or a file cannot be written.
    """
    check_target(folder, done.survey)
    if not done.survey.splits:
        raise DataError(f"{done.survey.name}: no split can be read, so there is nothing to repair")
    names, same = _class_list(done.survey)
    dropped = _dropped_images(done)
    kept = [s for s in done.survey.splits if len(dropped.get(s.name, {})) < len(s)]
    if not kept:
        counts = Counter(kind for rows in dropped.values() for kind in rows.values())
        reasons = ", ".join(f"{KINDS[kind].title} {count}" for kind, count in counts.items())
        raise DataError(f"{done.survey.name}: a repaired copy would have no image: {reasons}")
    files, images = {}, 0
    for split in kept:
        writer = _SplitWriter(split, folder, names, same, dropped.get(split.name, {}))
        content = writer.write()
        files[split.name] = folder / "annotations" / f"{split.name}.json"
        write_json(files[split.name], content)
        images += len(content["images"])
    left_out = [
        {"split": split, "file": done.survey_split(split).file(row), "reason": KINDS[kind].title}
        for split, rows in dropped.items()
        for row, kind in sorted(rows.items())
    ]
    counts = Counter(finding.kind for finding in done.findings if KINDS[finding.kind].repair)
    write_json(folder / "repair.json", {"repaired": dict(counts), "images_left_out": left_out})
    empty = [split.name for split in done.survey.splits if split.name not in files]
    return Repaired(files, images, dict(counts), empty)


def _class_list(survey: Survey) -> tuple[list[str], dict[str, str]]:
    """One list of classes for all splits, and name -> the spelling that stays."""
    same = {name: group[0] for group in spellings(survey) for name in group}
    names = [same.get(name, name) for split in survey.splits for name in split.class_names]
    return list(dict.fromkeys(names)), same


def _dropped_images(done: Check) -> dict[str, dict[int, str]]:
    """Split -> row -> kind of the finding for which an image is left out."""
    dropped: dict[str, dict[int, str]] = {split.name: {} for split in done.survey.splits}
    for finding in done.findings:
        if finding.kind in DROPPED_IMAGES and finding.row is not None:
            dropped[finding.split].setdefault(finding.row, finding.kind)
    for split in done.survey.splits:
        for group in _equal_rows(split):
            best = max(group, key=lambda row: len(split.boxes_of(row)))
            if dropped[split.name].get(best) == "duplicate":
                del dropped[split.name][best]
                others = (row for row in group if row not in dropped[split.name])
                dropped[split.name][next(row for row in others if row != best)] = "duplicate"
    return dropped


def _equal_rows(split: Split) -> list[list[int]]:
    """Rows of equal files of a split."""
    groups: dict[bytes, list[int]] = {}
    for row, fact in enumerate(split.facts):
        if fact.digest:
            groups.setdefault(fact.digest, []).append(row)
    return [group for group in groups.values() if len(group) > 1]


class _SplitWriter:
    """Writes the images of a split, and makes its COCO annotations."""

    def __init__(
        self,
        split: Split,
        folder: Path,
        names: list[str],
        same: dict[str, str],
        dropped: dict[int, str],
    ):
        self.split, self.dropped, self.names = split, dropped, names
        self.images = folder / "images" / split.name
        index = {name: place for place, name in enumerate(names)}
        self.classes = [index[same.get(name, name)] for name in split.class_names]

    def write(self) -> dict[str, Any]:
        """The COCO annotations."""
        boxes, keep, scales = self._boxes()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        image_of: dict[str, int] = {}
        with progress_bar(len(self.split), desc=f"copying {self.split.name}", unit="image") as bar:
            for row in range(len(self.split)):
                bar.update(1)
                source = self.split.file(row)
                if row in self.dropped:
                    continue
                name = os.path.normpath(source)
                if name not in image_of:
                    image_of[name] = len(images) + 1
                    images.append(self._image(row, source, len(images) + 1))
                annotations += self._annotations(row, image_of[name], boxes, keep, scales[row])
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        categories = [{"id": i, "name": name} for i, name in enumerate(self.names, start=1)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _image(self, row: int, source: str, number: int) -> dict[str, Any]:
        """Copies an image; its entry in the annotations."""
        name = self.split.annotations.images.files[row]
        if os.path.isabs(name) or ".." in Path(name).parts:
            name = f"{number:06d}_{os.path.basename(name)}"
        target = self.images / name
        target.parent.mkdir(parents=True, exist_ok=True)
        height, width = self._size(row)
        if self.split.facts[row].orientation > 1:
            write_image(target, decode_image(source, apply_exif=not self._is_turned(row)))
        else:
            shutil.copyfile(source, target)
            if self.split.facts[row].lacks_end:
                with open(target, "ab") as stream:
                    stream.write(b"\xff\xd9")
        return {"id": number, "file_name": name, "width": width, "height": height}

    def _is_turned(self, row: int) -> bool:
        given = self.split.annotations.images
        return is_turned_label((int(given.heights[row]), int(given.widths[row])), self.split, row)

    def _size(self, row: int) -> tuple[int, int]:
        """(height, width) of an image in the copy."""
        fact = self.split.facts[row]
        return fact.stored_hw if self._is_turned(row) else fact.size_hw

    def _boxes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Repaired boxes [N, 4], those that stay bool [N], and the factors of images [I, 2]."""
        notes = self.split.annotations
        given = np.stack(true_sizes(self.split), axis=1).astype(np.float64)
        sizes = np.array([self._size(row)[::-1] for row in range(len(self.split))], np.float64)
        factors = sizes / np.maximum(given, 1)
        even = np.abs(factors[:, 0] / np.maximum(factors[:, 1], 1e-9) - 1) < _SAME_SHAPE
        factors = np.where(even[:, None], factors, 1.0)
        corners = notes.boxes_xyxy
        if are_shares(self.split):
            factors = sizes
        scaled = corners * np.tile(factors[notes.image_rows], 2)
        width, height = sizes[notes.image_rows].T
        boxes, keep, _ = clean_boxes(scaled, width, height)
        classes = np.array(self.classes, np.int64)[notes.classes]
        distinct = keep & ~notes.crowd
        keep[repeated_rows(notes.image_rows, classes, boxes, distinct)] = False
        return boxes, keep, factors

    def _annotations(
        self, row: int, image_id: int, boxes: np.ndarray, keep: np.ndarray, scale: np.ndarray
    ) -> list[dict[str, Any]]:
        notes, found = self.split.annotations, []
        for place in self.split.boxes_of(row):
            if not keep[place]:
                continue
            x1, y1, x2, y2 = (round(float(value), 3) for value in boxes[place])
            sides = [round(x2 - x1, 3), round(y2 - y1, 3)]
            annotation = {
                "id": 0,
                "image_id": image_id,
                "category_id": self.classes[notes.classes[place]] + 1,
                "bbox": [x1, y1, *sides],
                "area": round(sides[0] * sides[1], 3),
                "iscrowd": int(notes.crowd[place]),
            }
            if notes.difficult[place]:
                annotation.update(difficult=1, ignore=1)
            if notes.polygons and (rings := notes.polygons.of(int(place))):
                annotation["segmentation"] = [
                    (ring * scale).round(2).ravel().tolist() for ring in rings
                ]
            found.append(annotation)
        return found
