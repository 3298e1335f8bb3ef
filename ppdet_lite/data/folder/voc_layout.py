"""Folders with Pascal VOC xml: lists in ImageSets/Main, lists of pairs, or no lists."""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePosixPath
from typing import Any, Optional

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.reading import SPLITS, FolderReading
from ppdet_lite.data.folder.scan import FolderScan, parent, stem
from ppdet_lite.data.folder.split_words import by_split, split_in, without_trainval
from ppdet_lite.data.sources.class_lists import read_class_list
from ppdet_lite.data.sources.files import read_lines
from ppdet_lite.data.sources.labeling.voc_xml import VocFile

_NAME_FILES = ("labels.txt", "label_list.txt", "classes.txt")


def voc_readings(scan: FolderScan) -> list[FolderReading]:
    """The readings of the XML files of annotations."""
    folders = {parent(path) for path in scan.files(".xml") if _is_annotation(scan, path)}
    if not folders:
        return []
    found = [*_of_image_sets(scan, folders), *_of_pairs(scan)]
    return found or _of_folders(scan, folders)


def _is_annotation(scan: FolderScan, path: str) -> bool:
    try:
        with open(scan.path(path), "rb") as stream:
            head = stream.read(400)
    except OSError:
        return False
    return b"<annotation" in head.replace(b"\0", b"") and b"<annotations" not in head


def _of_image_sets(scan: FolderScan, folders: set[str]) -> list[FolderReading]:
    """VOC's own layout: ids in ImageSets/Main beside Annotations."""
    bases: dict[str, dict[str, str]] = {}
    for file in scan.files(".txt"):
        folder, name = parent(file), stem(file)
        base = parent(parent(folder))
        place = f"{base}/" if base else ""
        has_annotations = any(f"{each}/".startswith(f"{place}Annotations/") for each in folders)
        if folder == f"{place}ImageSets/Main" and has_annotations:
            split, pattern = split_in(name)  # not cat_train.txt: flags of one class
            if pattern == "*" or (not split and "_" not in name):
                bases.setdefault(base, {}).setdefault(split, file)
    readings = []
    for base, lists in bases.items():
        if len(lists) > 1:
            lists.pop("", None)
        lists = without_trainval(lists)
        if "" in lists:
            lists = {"train": lists[""]}
        names = _names(scan, base, {each for each in folders if _is_below(each, base)})
        sections = {}
        for split in (each for each in SPLITS if each in lists):
            sections[split] = _section(scan, base, lists[split], names)
            if not (scan.path(base) / "JPEGImages").is_dir():
                sections[split]["image_dir"] = _images_beside(scan, base)
        place = f"{base}/" if base else ""
        title = f"Pascal VOC (lists in {place}ImageSets/Main)"
        readings.append(FolderReading(scan.root, "voc", f"{place}ImageSets/Main", title, sections))
    return readings


def _section(scan: FolderScan, base: str, file: str, names: Optional[list[str]]) -> dict[str, Any]:
    inside = file[len(base) + 1 if base else 0 :]
    section = {"name": "VOCDataSet", "dataset_dir": str(scan.path(base)), "anno_path": inside}
    return {**section, "label_list": names}


def _images_beside(scan: FolderScan, base: str) -> str:
    """The folder with the most images below `base`, relative to it."""
    inside = [image for image in scan.images if _is_below(image, base)]
    folders = [parent(image) for image in inside]
    most = max(sorted(set(folders)), key=folders.count, default=base)
    return os.path.relpath(most or ".", base or ".").replace(os.sep, "/")


def _of_pairs(scan: FolderScan) -> list[FolderReading]:
    """Lists of `image xml`, as PaddleX and PaddleDetection have them."""
    readings = []
    for pattern, lists in by_split(f for f in scan.files(".txt") if _has_pairs(scan, f)).items():
        base = parent(pattern)
        names = _names(scan, base, {parent(p) for p in scan.files(".xml") if _is_below(p, base)})
        sections = {split: _section(scan, base, file, names) for split, file in lists.items()}
        title = f"Pascal VOC (lists of 'image xml' as in PaddleX, {pattern})"
        readings.append(FolderReading(scan.root, "voc", pattern, title, sections))
    return readings


def _has_pairs(scan: FolderScan, file: str) -> bool:
    try:
        lines = read_lines(scan.path(file))[:1]
    except DataError:
        return False
    for _, line in lines:
        fields = line.split("\t" if "\t" in line else None)
        place = scan.path(parent(file))
        return (
            len(fields) == 2
            and fields[1].lower().endswith(".xml")
            and any(os.path.isfile(place / field) for field in fields)
        )
    return False


def _of_folders(scan: FolderScan, folders: set[str]) -> list[FolderReading]:
    """XML files beside the images, or in a folder of their own; a folder may be a split."""
    parts: dict[str, list[str]] = {}
    for folder in sorted(folders):
        parts.setdefault(split_in(folder)[0], []).append(folder)
    if "" in parts:  # not each of the folders is a split
        parts = {"train": sorted(folders)}
    parts = {key: value for key, value in _joined(parts).items() if key in SPLITS}
    names = _names(scan, "", folders)
    sections = {}
    for split in (each for each in SPLITS if each in parts):
        root = _common(parts[split])
        sections[split] = {
            "name": "VOCFolderDataSet",
            "dataset_dir": str(scan.root),
            "image_dir": _images_of(scan, root, parts[split]),
            "anno_path": root or ".",
            "label_list": names,
        }
    place = _common(sorted(folders)) or "."
    title = "Pascal VOC (xml files without lists, as of labelImg)"
    return [FolderReading(scan.root, "voc", f"{place}/*.xml", title, sections)]


def _joined(parts: dict[str, list[str]]) -> dict[str, list[str]]:
    if "trainval" in parts and "train" not in parts:
        parts["train"] = parts.pop("trainval")
    return parts


def _images_of(scan: FolderScan, root: str, folders: list[str]) -> str:
    """The folder that holds most of the images with the names of the XML files, and little else."""
    own = {*folders}
    names = [stem(path) for path in scan.files(".xml") if parent(path) in own]
    counts: dict[str, int] = {}
    for name in names:
        for image in scan.image_stems.get(name, []):
            folder = parent(image)
            counts[folder] = counts.get(folder, 0) + 1
    if not counts:
        return "."
    if counts.keys() <= own:
        return root or "."
    split = split_in(root)[0]
    matching = {f: c for f, c in counts.items() if split and split_in(f)[0] == split}
    if sum(matching.values()) >= len(names) // 2 + 1:
        counts = matching
    if max(counts.values()) >= len(names):  # all in one folder, and drawn on in another maybe
        usual = ("images", "jpegimages", "imgs", "img")
        return max(sorted(counts), key=lambda f: (counts[f], stem(f).lower() in usual)) or "."
    return _common(sorted(counts)) or "."


def _names(scan: FolderScan, base: str, folders: set[str]) -> Optional[list[str]]:
    """Class names in their order: those of a list in `base`, or of all XML files, sorted. Reading
    the data set names the files that cannot be read.
    """
    for path in (scan.path(base) / name for name in _NAME_FILES):
        with contextlib.suppress(DataError):
            if path.is_file():
                return read_class_list(path).names
    names = set[str]()
    for file in (path for path in scan.files(".xml") if parent(path) in folders):
        with contextlib.suppress(DataError):
            names.update(VocFile(scan.path(file)).names())
    return sorted(names) or None


def _is_below(path: str, base: str) -> bool:
    return not base or path == base or path.startswith(f"{base}/")


def _common(folders: list[str]) -> str:
    """The folder that holds them all."""
    parts = [PurePosixPath(folder).parts for folder in folders]
    shared = []
    for names in zip(*parts):
        if len({*names}) > 1:
            break
        shared.append(names[0])
    return "/".join(shared)
