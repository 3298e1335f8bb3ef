"""Data sets in the layout of Pascal VOC."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import ClassList, numbered, read_class_list
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    join,
    raise_all,
    read_lines,
    require_file,
    require_folder,
)
from ppdet_lite.data.sources.voc_xml import VocFile
from ppdet_lite.utils.image_files import is_image

_ALLOWED = "'image xml' or one id in every line (a tab where names contain blanks)"


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
        rows, bad, unsized = AnnotationRows(), [], []
        for entry in entries:
            try:
                content = VocFile(entry.annotation)
                image = image_root / entry.image
                if content.has_size() or not os.path.isfile(image):
                    size_hw = content.size_hw()
                else:
                    size_hw = displayed_size(str(image))
                    unsized.append(entry.annotation.name)
                objects = content.objects()
                for index, item in enumerate(objects):
                    if item.name not in index_of:
                        hint = nearest_hint(item.name, index_of)
                        raise content.name_error(index, f"'{item.name}' is not in {source}{hint}")
            except DataError as error:
                bad.append(error)
                continue
            rows.add_image(entry.image, *size_hw)
            for item in objects:
                rows.add_box(index_of[item.name], item.box_xyxy, item.difficult)
        raise_all(bad, len(entries), "annotation files")
        if unsized:
            text = f"{len(unsized)} annotation files without a size: that of the image is used"
            remarks.append(f"{text} (first: {unsized[0]})")
        return Content(str(path), image_root, classes, rows.annotations(), remarks)


def _read_list(
    path: Path, dataset_dir: Optional[str], image_dir: Optional[str]
) -> tuple[Path, list[_Entry]]:
    """Image root and entries of a list file of either form."""
    lines = read_lines(path)
    if not lines:
        raise DataError(f"{path}: the list is empty; each line is 'image xml' or an id")
    base = _base_folder(path, join(dataset_dir))
    if all(len(line.split()) == 1 or _is_id(line, base) for _, line in lines):
        root, entries = _entries_of_ids(base, lines, join(dataset_dir), image_dir)
    else:
        root = require_folder("dataset_dir + image_dir", dataset_dir, image_dir)
        entries = []
        for number, line in lines:
            parts = line.split("\t" if "\t" in line else None)
            if len(parts) != 2:
                raise error_at(path, number, f"found {len(parts)} fields, allowed: {_ALLOWED}")
            entries.append(_Entry(parts[0], root / parts[1]))
    missing = [
        error_at(
            path, number, f"annotation {str(entry.annotation)[:300]} does not exist{_hint(line)}"
        )
        for (number, line), entry in zip(lines, entries)
        if not os.path.isfile(entry.annotation)
    ]
    raise_all(missing, len(entries), "lines")
    return root, entries


def _hint(line: str) -> str:
    return (
        f"; if '{line[:80]}' is one name with a blank, allowed: {_ALLOWED}" if " " in line else ""
    )


def _base_folder(path: Path, dataset_dir: Path) -> Path:
    """The folder that holds `Annotations` and `JPEGImages` of a list of ids."""
    in_image_sets = path.parent.parent.name == "ImageSets"
    return path.parent.parent.parent if in_image_sets else dataset_dir


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if is_image(name) else name


def _is_id(line: str, base: Path) -> bool:
    """True for a line that is one id with blanks in it."""
    return "\t" not in line and os.path.isfile(base / "Annotations" / f"{_stem(line)}.xml")


def _entries_of_ids(
    base: Path, lines: list[tuple[int, str]], dataset_dir: Path, image_dir: Optional[str]
) -> tuple[Path, list[_Entry]]:
    """Image root and entries of a list of ids, which may name subfolders."""
    annotations = require_folder("dataset_dir + Annotations", base, "Annotations")
    if image_dir:
        inside = (base / image_dir).is_dir() and not (dataset_dir / image_dir).is_dir()
        root = require_folder("dataset_dir + image_dir", base if inside else dataset_dir, image_dir)
    else:
        root = require_folder("dataset_dir + JPEGImages", base, "JPEGImages")
    files: dict[str, dict[str, str]] = {}
    entries = []
    for stem in (_stem(line) for _, line in lines):
        folder, name = os.path.split(stem)
        if folder not in files:
            inside_folder = os.path.join(root, folder)
            names = os.listdir(inside_folder) if os.path.isdir(inside_folder) else []
            images = sorted(filter(is_image, names), reverse=True)
            files[folder] = {os.path.splitext(image)[0]: image for image in images}
        image = os.path.join(folder, files[folder].get(name, f"{name}.jpg"))
        entries.append(_Entry(image, annotations / f"{stem}.xml"))
    return root, entries


def _collect_names(entries: list[_Entry]) -> tuple[ClassList, str]:
    """Sorted names of all objects in the annotation folders, and what to call the source."""
    folders = sorted({entry.annotation.parent for entry in entries})
    paths = [path for folder in folders for path in sorted(folder.glob("*.xml"))]
    names: set[str] = set()
    bad = []
    for path in paths:
        try:
            names.update(VocFile(path).names())
        except DataError as error:
            bad.append(error)
    raise_all(bad, len(paths), "annotation files")
    source = ", ".join(map(str, folders))
    if not names:
        raise DataError(f"{source}: no object in any annotation file; name classes in label_list")
    return numbered(sorted(names)), source
