"""Data sets in the layout of Pascal VOC."""

import os
from array import array
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.core.workspace import register
from ppdet_lite.data.sources.annotation_table import BoxTable, ImageTable
from ppdet_lite.data.sources.box_cleaning import clean_boxes
from ppdet_lite.data.sources.dataset import DetectionDataset
from ppdet_lite.data.sources.label_lists import read_label_list
from ppdet_lite.data.sources.paths import (
    is_image,
    join,
    read_text,
    require_file,
    require_folder,
)
from ppdet_lite.data.sources.voc_xml import VocFile, field_error, object_names, read_voc


class _Entry(NamedTuple):
    """One line of the list: image (relative to the image root) and annotation file."""

    image: str
    annotation: Path


@register
class VOCDataSet(DetectionDataset):
    """Pascal VOC: one XML file per image and a list of those to use.

    The list has one of two forms:

    * `image xml` pairs, both relative to dataset_dir (+ image_dir when given);
    * bare ids, as in `ImageSets/Main/train.txt`: the images are then in `JPEGImages` and the XML
      files in `Annotations`, beside `ImageSets`.

    Without a label list the class names are collected from all XML files of the annotation folder
    (not only the listed ones) and sorted, so that the lists of one data set agree.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: for pairs, a folder between dataset_dir and the paths of the list; for ids, the
            folder of the images instead of `JPEGImages`.
        anno_path: the list, a text file.
        data_fields: kept from PaddleDetection; a record always carries everything.
        sample_num: number of images to use, -1 for all.
        label_list: text file with one class name per line; fixes their order.
        allow_empty: keep images without objects as negatives.
        empty_ratio: largest share of images without objects, 1 for any.
        repeat: passes over the images per epoch.

    Raises:
        DataError: a path does not exist or a file is not usable; names file, line and key.
    """

    has_difficult = True

    def __init__(
        self,
        dataset_dir: Optional[str] = None,
        image_dir: Optional[str] = None,
        anno_path: Optional[str] = None,
        data_fields: Optional[list[str]] = None,
        sample_num: int = -1,
        label_list: Optional[str] = None,
        allow_empty: bool = True,
        empty_ratio: float = 1.0,
        repeat: int = 1,
    ):
        path = require_file(join(dataset_dir, anno_path), "dataset_dir + anno_path")
        image_root, entries = _read_list(path, dataset_dir, image_dir)
        super().__init__(str(path), image_root)
        self.data_fields = data_fields
        if label_list:
            labels = require_file(join(dataset_dir, label_list), "dataset_dir + label_list")
            self.class_names, source = read_label_list(labels), str(labels)
        else:
            self.class_names, source = _collect_names(entries)
        self.category_ids = list(range(1, len(self.class_names) + 1))
        images, boxes, report = self._read_annotations(entries, source)
        self._finish(images, boxes, report, sample_num, allow_empty, empty_ratio, repeat)
        if not label_list:
            self.report_lines.append(f"class names: collected from {source}, sorted")
        repeated = len(entries) - len(set(entries))
        if repeated:
            self.report_lines.append(f"{path}: {repeated} lines repeat an earlier one, and count")

    def _read_annotations(self, entries: list, label_source: str):
        """All annotation files as tables, and the line about repaired and dropped boxes."""
        index_of = {name: index for index, name in enumerate(self.class_names)}
        widths, heights = array("l"), array("l")
        corners, classes, difficult, image_of = array("d"), array("l"), array("b"), array("l")
        for number, entry in enumerate(entries):
            content = read_voc(entry.annotation)
            widths.append(content.width)
            heights.append(content.height)
            for index, item in enumerate(content.objects):
                if item.name not in index_of:
                    raise _unknown_name(content, index, index_of, label_source)
                corners.extend(item.box_xyxy)
                classes.append(index_of[item.name])
                difficult.append(item.difficult)
                image_of.append(number)
        files = [entry.image for entry in entries]
        images = ImageTable(files, np.arange(len(entries)), widths, heights)
        rows = np.array(image_of, np.int64)
        boxes_xyxy = np.array(corners, np.float64).reshape(-1, 4)
        cleaned = clean_boxes(boxes_xyxy, images.widths[rows], images.heights[rows])
        boxes = BoxTable(
            rows,
            len(images),
            cleaned.boxes_xyxy,
            np.array(classes, np.int64),
            np.zeros(len(rows), bool),
            np.array(difficult, bool),
            cleaned.keep,
        )
        return images, boxes, self._box_report(cleaned.rows, rows, images)


def _unknown_name(content: VocFile, index: int, known: dict, source: str) -> DataError:
    item = content.objects[index]
    problem = f"'{item.name}' is not in {source}{nearest_hint(item.name, known)}"
    element = item.element.find("name")
    return field_error(content.path, content.root, element, f"object[{index}].name", problem)


def _read_list(path: Path, dataset_dir: Optional[str], image_dir: Optional[str]):
    """Image root and entries of a list file of either form."""
    lines = [
        (number, line.strip())
        for number, line in enumerate(read_text(path).splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise DataError(f"{path}: the list is empty; each line is 'image xml' or an id")
    fields = [(number, _split(line)) for number, line in lines]
    if all(len(parts) == 1 for _, parts in fields):
        ids = [(number, parts[0]) for number, parts in fields]
        root, entries = _entries_of_ids(path, ids, join(dataset_dir), image_dir)
    else:
        root = require_folder(join(dataset_dir, image_dir), "dataset_dir + image_dir")
        entries = _entries_of_pairs(path, fields, root)
    return root, entries


def _split(line: str) -> list:
    """Fields of a line; tabs separate names that contain blanks."""
    return line.split("\t") if "\t" in line else line.split()


def _entries_of_pairs(path: Path, fields: list, root: Path) -> list:
    entries = []
    for number, parts in fields:
        if len(parts) != 2:
            raise DataError(
                f"{path} line {number}: found {len(parts)} fields, allowed: 'image xml' in every "
                "line or one id in every line (put a tab between names that contain blanks)"
            )
        annotation = root / parts[1]
        if not annotation.is_file():
            raise DataError(f"{path} line {number}: annotation {annotation} does not exist")
        entries.append(_Entry(parts[0], annotation))
    return entries


def _entries_of_ids(path: Path, ids: list, dataset_dir: Path, image_dir: Optional[str]):
    """Image root and entries of a list of bare ids."""
    in_image_sets = path.parent.parent.name == "ImageSets"
    base = path.parent.parent.parent if in_image_sets else dataset_dir
    annotations = require_folder(base / "Annotations", "dataset_dir + Annotations")
    candidates = [dataset_dir / image_dir, base / image_dir] if image_dir else []
    candidates = candidates or [base / "JPEGImages"]
    root = next((folder for folder in candidates if folder.is_dir()), candidates[0])
    require_folder(root, f"dataset_dir + {'image_dir' if image_dir else 'JPEGImages'}")
    names = sorted(filter(is_image, os.listdir(root)), reverse=True)
    file_of = {os.path.splitext(name)[0]: name for name in names}
    entries = []
    for number, name in ids:
        stem = os.path.splitext(name)[0] if is_image(name) else name
        annotation = annotations / f"{stem}.xml"
        if not annotation.is_file():
            raise DataError(f"{path} line {number}: annotation {annotation} does not exist")
        entries.append(_Entry(file_of.get(stem, f"{stem}.jpg"), annotation))
    return root, entries


def _collect_names(entries: list):
    """Sorted names of all objects in the annotation folders, and what to call the source."""
    folders = sorted({entry.annotation.parent for entry in entries})
    names = set()
    for folder in folders:
        for path in sorted(folder.glob("*.xml")):
            names |= object_names(path)
    source = ", ".join(str(folder) for folder in folders)
    if not names:
        raise DataError(
            f"{source}: no object in any annotation file; give the classes in label_list"
        )
    return sorted(names), source
