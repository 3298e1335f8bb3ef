"""A data set as it is to be written, whatever it was read from."""

from __future__ import annotations

import os
from typing import Mapping, NamedTuple, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.reading import FolderReading
from ppdet_lite.data.sources.dataset import Dataset


class LabeledImage(NamedTuple):
    """An image with its objects.

    Attributes:
        path: of its file.
        height, width: in pixels.
        boxes_xyxy: float32 [N, 4] in pixels.
        classes: int [N], class indices.
        crowd, difficult: bool [N].
    """

    path: str
    height: int
    width: int
    boxes_xyxy: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray


class LabeledSet(NamedTuple):
    """Images by split, and their classes. `remarks` tell what is not taken along."""

    class_names: list[str]
    splits: dict[str, list[LabeledImage]]
    remarks: list[str]


def read_set(reading: FolderReading) -> LabeledSet:
    """All splits of a folder; crowds are kept, images without a file are left out.

    Raises:
        DataError: a file cannot be used, or a split has no image.
    """
    for section in reading.sections.values():
        if section["name"] == "COCODataSet":
            section["load_crowd"] = True
    names = list(dict.fromkeys(n for d in reading.datasets().values() for n in d.class_names))
    splits, remarks = {}, []
    for split, dataset in reading.datasets().items():
        splits[split], missing, polygons = _images(dataset, names)
        if missing and not splits[split]:
            text = f"{split}: not one image of {len(missing)} that the labels name is there"
            raise DataError(f"{reading.folder}: {text} (first: {missing[0]})")
        if missing:
            text = f"{split}: {len(missing)} images have no file and are left out"
            remarks.append(f"{text} (first: {missing[0]})")
        if polygons:
            remarks.append(f"{split}: the polygons of {polygons} objects are not written")
        remarks += [f"{split}: {line}" for line in dataset.report_lines if _is_loss(line)]
    return LabeledSet(names, splits, remarks)


def _is_loss(line: str) -> bool:
    return line.startswith("boxes: ") or "left out" in line


def _images(dataset: Dataset, names: Sequence[str]) -> tuple[list[LabeledImage], list[str], int]:
    """The images, the files that are not there, and the number of objects with polygons."""
    index_of = np.array([names.index(name) for name in dataset.class_names], np.int64)
    images, missing, polygons = [], [], 0
    for index in range(len(dataset)):
        record = dataset.record(index)
        if not os.path.isfile(record["im_file"]):
            missing.append(record["im_file"])
            continue
        crowd = record["is_crowd"][:, 0].astype(bool)
        difficult = record["difficult"][:, 0].astype(bool) if "difficult" in record else ~crowd & 0
        polygons += sum(bool(rings) for rings in record.get("gt_poly", ()))
        classes = index_of[record["gt_class"][:, 0]]
        size, boxes = (int(record["h"]), int(record["w"])), record["gt_bbox"]
        images.append(
            LabeledImage(record["im_file"], *size, boxes, classes, crowd, difficult.astype(bool))
        )
    return images, missing, polygons


def join_sets(sets: Mapping[str, LabeledSet]) -> LabeledSet:
    """One set of several, splits and classes joined by name; `remarks` name classes that differ by
    case or blanks only, which stay apart.
    """
    names = list(dict.fromkeys(name for each in sets.values() for name in each.class_names))
    splits: dict[str, list[LabeledImage]] = {}
    remarks = [f"{title}: {line}" for title, each in sets.items() for line in each.remarks]
    for each in sets.values():
        index_of = np.array([names.index(name) for name in each.class_names], np.int64)
        for split, images in each.splits.items():
            joined = splits.setdefault(split, [])
            joined += [image._replace(classes=index_of[image.classes]) for image in images]
    by_letters: dict[str, list[str]] = {}
    for name in names:
        by_letters.setdefault("".join(name.lower().split()), []).append(name)
    for same in by_letters.values():
        if len(same) > 1:
            text = "differ by case or blanks only, and stay apart"
            remarks.append(f"classes {', '.join(map(repr, same))} {text}")
    return LabeledSet(names, splits, remarks)
