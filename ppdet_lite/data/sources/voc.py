"""Data sets in the layout of Pascal VOC."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import ClassList, numbered, read_class_list
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import error_at, join, read_lines, require_file, require_folder
from ppdet_lite.data.sources.voc_xml import VocFile
from ppdet_lite.utils.image_files import is_image


class _Entry(NamedTuple):
    """One line of the list: image (relative to the image root) and annotation file."""

    image: str
    annotation: Path


@register
@dataclass(eq=False)
class VOCDataSet(DetectionDataset):
    """Pascal VOC: one XML file per image and a list of those to use.

    The list has pairs `image xml`, both relative to dataset_dir (+ image_dir when given), or bare
    ids, as `ImageSets/Main/train.txt` has: the images are then in `JPEGImages` and the XML files in
    `Annotations`, beside `ImageSets`.

    Without a label list the class names are collected from all XML files of the annotation folder
    (not only the listed ones) and sorted, so that the lists of one data set agree.

    Args:
        image_dir: for pairs, a folder between dataset_dir and the paths of the list; for ids, the
            folder of the images instead of `JPEGImages`.
        anno_path: the list, a text file.
        label_list: the class names and their order, see `read_class_list`.
    """

    has_difficult = True

    label_list: Optional[str] = None

    def read(self) -> Content:
        path = require_file("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        image_root, entries = _read_list(path, self.dataset_dir, self.image_dir)
        remarks = []
        if self.label_list:
            file = require_file("dataset_dir + label_list", self.dataset_dir, self.label_list)
            classes, source = read_class_list(file), str(file)
        else:
            classes, source = _collect_names(entries)
            remarks.append(f"class names: collected from {source}, sorted")
        if repeated := len(entries) - len(set(entries)):
            remarks.append(f"{path}: {repeated} lines repeat an earlier one, and count")
        index_of = {name: index for index, name in enumerate(classes.names)}
        rows = AnnotationRows()
        for entry in entries:
            content = VocFile(entry.annotation)
            rows.add_image(entry.image, *content.size_hw())
            for index, item in enumerate(content.objects()):
                if item.name not in index_of:
                    hint = nearest_hint(item.name, index_of)
                    raise content.name_error(index, f"'{item.name}' is not in {source}{hint}")
                rows.add_box(index_of[item.name], item.box_xyxy, item.difficult)
        return Content(str(path), image_root, classes, rows.annotations(), remarks)


def _read_list(
    path: Path, dataset_dir: Optional[str], image_dir: Optional[str]
) -> tuple[Path, list[_Entry]]:
    """Image root and entries of a list file of either form."""
    # Tabs separate names that contain blanks.
    lines = [(n, line.split("\t" if "\t" in line else None)) for n, line in read_lines(path)]
    if not lines:
        raise DataError(f"{path}: the list is empty; each line is 'image xml' or an id")
    if all(len(parts) == 1 for _, parts in lines):
        root, entries = _entries_of_ids(path, lines, join(dataset_dir), image_dir)
    else:
        root = require_folder("dataset_dir + image_dir", dataset_dir, image_dir)
        entries = []
        for number, parts in lines:
            if len(parts) != 2:
                allowed = "'image xml' or one id in every line (a tab where names contain blanks)"
                raise error_at(path, number, f"found {len(parts)} fields, allowed: {allowed}")
            entries.append(_Entry(parts[0], root / parts[1]))
    for (number, _), entry in zip(lines, entries):
        if not entry.annotation.is_file():
            raise error_at(path, number, f"annotation {entry.annotation} does not exist")
    return root, entries


def _entries_of_ids(
    path: Path, lines: list[tuple[int, list[str]]], dataset_dir: Path, image_dir: Optional[str]
) -> tuple[Path, list[_Entry]]:
    """Image root and entries of a list of bare ids."""
    in_image_sets = path.parent.parent.name == "ImageSets"
    base = path.parent.parent.parent if in_image_sets else dataset_dir
    annotations = require_folder("dataset_dir + Annotations", base, "Annotations")
    if image_dir:
        inside = (base / image_dir).is_dir() and not (dataset_dir / image_dir).is_dir()
        root = require_folder("dataset_dir + image_dir", base if inside else dataset_dir, image_dir)
    else:
        root = require_folder("dataset_dir + JPEGImages", base, "JPEGImages")
    names = sorted(filter(is_image, os.listdir(root)), reverse=True)
    file_of = {os.path.splitext(name)[0]: name for name in names}
    entries = []
    for _, (name,) in lines:
        stem = os.path.splitext(name)[0] if is_image(name) else name
        entries.append(_Entry(file_of.get(stem, f"{stem}.jpg"), annotations / f"{stem}.xml"))
    return root, entries


def _collect_names(entries: list[_Entry]) -> tuple[ClassList, str]:
    """Sorted names of all objects in the annotation folders, and what to call the source."""
    folders = sorted({entry.annotation.parent for entry in entries})
    paths = (path for folder in folders for path in sorted(folder.glob("*.xml")))
    names = {name for path in paths for name in VocFile(path).names()}
    source = ", ".join(map(str, folders))
    if not names:
        raise DataError(f"{source}: no object in any annotation file; name classes in label_list")
    return numbered(sorted(names)), source
