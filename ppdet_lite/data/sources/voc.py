"""Data sets in the layout of Pascal VOC."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Union

from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.core.registry import register
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import ClassList, given_classes, numbered
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    join,
    raise_all,
    read_lines,
    require_file,
    require_folder,
    with_ending,
)
from ppdet_lite.data.sources.labeling.voc_xml import VocFile
from ppdet_lite.utils.image_files import is_image

_ALLOWED = "'image xml' in every line (a tab where names contain blanks), or an id in every line"


class VocEntry(NamedTuple):
    """One image: its file (relative to the image root) and annotation file."""

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
        label_list: the class names in their order, or a file of them, see `read_class_list`.
    """

    has_difficult = True

    label_list: Union[str, list[str], None] = None

    def read(self) -> Content:
        name, image_root, entries, remarks = self._find_files()
        if self.label_list:
            classes, source = given_classes(self.label_list, self.dataset_dir)
        else:
            classes, source = self._collect_names(entries)
            remarks.append(f"class names: collected from {source}, sorted")
        index_of = {name: index for index, name in enumerate(classes.names)}
        rows, files, problems, resized = AnnotationRows(), [], [], 0
        for entry in entries:
            try:
                content = VocFile(entry.annotation)
                size_hw, is_given = _size(content, os.path.join(image_root, entry.image))
                rows.add_image(entry.image, *size_hw)
                files.append(str(entry.annotation))
                resized += not is_given
                for item in content.objects():
                    if item.name not in index_of:
                        hint = nearest_hint(item.name, index_of)
                        raise item.name_error(f"'{item.name}' is not in {source}{hint}")
                    rows.add_box(index_of[item.name], item.box_xyxy, item.difficult)
            except DataError as error:
                problems.append(error)
        self.refuse(problems, len(entries), "annotation files")
        if resized:
            remarks.append(f"sizes: {resized} are not usable, and are those of the image files")
        return Content(name, image_root, classes, rows.annotations(), remarks, files)

    def _find_files(self) -> tuple[str, Path, list[VocEntry], list[str]]:
        """Name of the data set, image root, images with annotation files that exist, remarks."""
        path = require_file("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        image_root, entries, missing = _read_list(path, self.dataset_dir, self.image_dir)
        self.refuse(missing, len(entries), "lines")
        entries = [entry for entry in entries if os.path.isfile(entry.annotation)]
        return str(path), image_root, entries, []

    def _collect_names(self, entries: list[VocEntry]) -> tuple[ClassList, str]:
        """Sorted names of all objects in the annotation folders, and what to call the source."""
        folders = sorted({entry.annotation.parent for entry in entries})
        paths = [path for folder in folders for path in sorted(folder.glob("*.[xX][mM][lL]"))]
        names, problems = set[str](), []
        for path in paths:
            try:
                names.update(VocFile(path).names())
            except DataError as error:
                problems.append(error)
        self.refuse(problems, len(paths), "annotation files")
        source = ", ".join(map(str, folders))
        if not names and problems:  # which a check of the data set only notes
            raise_all(problems, len(paths), "annotation files")
        if not names:
            raise DataError(
                f"{source}: no object in any annotation file; name classes in label_list"
            )
        return numbered(sorted(names)), source


def _size(content: VocFile, image: str) -> tuple[SizeHW, bool]:
    """(height, width) of the annotation or else of the image file, and True for the former."""
    try:
        return content.size_hw(), True
    except DataError:
        with contextlib.suppress(ImageError):  # then the annotation is to blame
            return displayed_size(image), False
        raise


def _read_list(
    path: Path, dataset_dir: Optional[str], image_dir: Optional[str]
) -> tuple[Path, list[VocEntry], list[DataError]]:
    """Image root and entries of a list file of either form, and errors about annotation files that
    are not there.
    """
    lines = read_lines(path)
    if not lines:
        raise DataError(f"{path}: the list is empty; each line is 'image xml' or an id")
    base, annotations = _base_of_ids(path, join(dataset_dir)), "Annotations"
    are_ids = all(len(line.split()) == 1 for _, line in lines) or (
        any(os.path.isfile(base / annotations / f"{_stem(line)}.xml") for _, line in lines)
    )
    if are_ids:
        root, entries = _entries_of_ids(base, lines, join(dataset_dir), image_dir)
    else:
        root = require_folder("dataset_dir + image_dir", dataset_dir, image_dir)
        entries = [VocEntry(image, root / xml) for image, xml in _pairs(path, lines)]
    missing = [
        error_at(
            path, number, f"annotation {str(entry.annotation)[:300]} does not exist{_hint(line)}"
        )
        for (number, line), entry in zip(lines, entries)
        if not os.path.isfile(entry.annotation)
    ]
    return root, entries, missing


def _pairs(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Image and annotation of every line; tabs separate names that contain blanks."""
    for number, line in lines:
        fields = line.split("\t" if "\t" in line else None)
        if len(fields) != 2:
            raise error_at(path, number, f"found {len(fields)} fields, allowed: {_ALLOWED}")
        yield fields[0], fields[1]


def _hint(line: str) -> str:
    return (
        f"; if '{line[:80]}' is one name with a blank, allowed: {_ALLOWED}" if " " in line else ""
    )


def _base_of_ids(path: Path, dataset_dir: Path) -> Path:
    """The folder of `Annotations` and `JPEGImages` for a list of ids."""
    in_image_sets = path.parent.parent.name == "ImageSets"
    return path.parent.parent.parent if in_image_sets else dataset_dir


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if is_image(name) else name


def _entries_of_ids(
    base: Path, lines: list[tuple[int, str]], dataset_dir: Path, image_dir: Optional[str]
) -> tuple[Path, list[VocEntry]]:
    """Image root and entries of a list of bare ids, which may have a folder."""
    annotations = require_folder("dataset_dir + Annotations", base, "Annotations")
    if image_dir:
        inside = (base / image_dir).is_dir() and not (dataset_dir / image_dir).is_dir()
        root = require_folder("dataset_dir + image_dir", base if inside else dataset_dir, image_dir)
    else:
        root = require_folder("dataset_dir + JPEGImages", base, "JPEGImages")
    stems = [_stem(line) for _, line in lines]
    file_of: dict[str, str] = {}
    for folder in {os.path.dirname(stem) for stem in stems}:
        if os.path.isdir(root / folder):
            for name in sorted(filter(is_image, os.listdir(root / folder)), reverse=True):
                file_of[os.path.join(folder, _stem(name))] = os.path.join(folder, name)
    return root, [
        VocEntry(file_of.get(stem, f"{stem}.jpg"), with_ending(annotations / f"{stem}.xml", ".xml"))
        for stem in stems
    ]
