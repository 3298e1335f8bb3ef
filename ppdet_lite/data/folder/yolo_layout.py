"""Folders with YOLO text labels: data.yaml, darknet's obj.data, or a list of class names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional, Union

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.data.folder.reading import SPLITS, FolderReading
from ppdet_lite.data.folder.scan import FolderScan, parent, stem
from ppdet_lite.data.folder.split_words import split_in
from ppdet_lite.data.sources.class_lists import read_class_list
from ppdet_lite.data.sources.files import find_listed, read_lines

_NAME_FILES = ("classes.txt", "obj.names", "label_list.txt", "labels.txt", "classes.names")
_NO_NAMES = "; no class names found, put them into classes.txt, one per line"
_LOOKED_AT = 20  # text files, until one holds a line


def yolo_readings(scan: FolderScan) -> list[FolderReading]:
    """The readings of the YOLO text files; a description of the set beats their mere places."""
    described = [_of_yaml(scan, file) for file in scan.files(".yaml", ".yml")]
    described += [_of_darknet(scan, file) for file in scan.files(".data")]
    found = [reading for reading in described if reading]
    if found:
        return found
    placed = _of_places(scan) or _of_other_folder(scan)
    return [placed] if placed else []


def _of_yaml(scan: FolderScan, file: str) -> Optional[FolderReading]:
    """Ultralytics' and Roboflow's: `names`, `train`, `val`, and a `path` that they start from."""
    try:
        content = read_yaml(scan.path(file), DataError, text_keys=("names",)).value
    except DataError:
        return None
    if not isinstance(content, dict) or "names" not in content:
        return None
    found: dict[str, list[str]] = {}
    for split, keys in {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}.items():
        value: Any = next((content[key] for key in keys if content.get(key)), [])
        values = value if isinstance(value, list) else [value]
        here = scan.path(parent(file))
        places = [_find(scan, here, str(content.get("path") or ""), str(v)) for v in values]
        if here_are := [place for place in places if place is not None]:
            found[split] = here_are
    if not found:
        return None
    names: Any = file
    if content.get("kpt_shape") is None:  # else that file says how to read a line
        names = _names_in(scan.path(file)) or file
    sections = {split: _section(scan, places, names) for split, places in found.items()}
    tool = "of Roboflow" if "roboflow" in content else "as of ultralytics"
    return FolderReading(scan.root, "yolo", file, f"YOLO txt ({file} {tool})", sections)


def _find(scan: FolderScan, here: Path, base: str, value: str) -> Optional[str]:
    """The folder or list that a value of data.yaml means, relative to the root."""
    for start in (here / base, here):
        path = Path(os.path.normpath(start / value))
        if path.exists():
            break
    else:  # `../train/images` in Roboflow's, or a `path` on another machine
        found = find_listed(value, here, scan.root)
        if found is None:
            return None
        path = found
    return os.path.relpath(path, scan.root).replace(os.sep, "/")


def _names_in(path: Path) -> Optional[list[str]]:
    """The class names of a file; None where they cannot be read, which reading the data will tell
    in full.
    """
    try:
        return read_class_list(path).names
    except DataError:
        return None


def _section(
    scan: FolderScan, places: list[str], names: Union[list[str], str, None]
) -> dict[str, Any]:
    """The section for folders and lists of images; `names` is a list or its file."""
    section: dict[str, Any] = {"name": "YOLOListDataSet", "dataset_dir": str(scan.root)}
    if len(places) == 1 and os.path.isdir(scan.path(places[0])):
        section.update(name="YOLODataSet", image_dir=places[0])
    else:
        section["anno_path"] = places[0] if len(places) == 1 else places
    return {**section, "label_list": names} if names else section


def _of_darknet(scan: FolderScan, file: str) -> Optional[FolderReading]:
    """Darknet's obj.data: `train = LIST`, `valid = LIST`, `names = FILE`; CVAT writes it, too."""
    try:
        lines = [line.partition("=") for _, line in read_lines(scan.path(file))]
    except DataError:
        return None
    values = {key.strip(): value.strip() for key, equals, value in lines if equals}
    here = scan.path(parent(file))
    lists = {split: values.get(key) for split, key in zip(SPLITS, ("train", "valid", "test"))}
    found = {
        split: [place]
        for split, value in lists.items()
        if value and (place := _find(scan, here, "", value))
    }
    place = _find(scan, here, "", values.get("names") or "obj.names")
    if not found or place is None:
        return None
    if found.get("val") == found.get("train"):
        found.pop("val", None)
    names = _darknet_names(scan.path(place))
    sections = {split: _section(scan, places, names) for split, places in found.items()}
    return FolderReading(scan.root, "yolo", file, f"YOLO txt ({file} of darknet)", sections)


def _darknet_names(path: Path) -> Union[list[str], str]:
    """The names in a file; the file itself where they are not usable."""
    try:
        names = [line for _, line in read_lines(path)]
    except DataError:
        return str(path)
    return names if names and len({*names}) == len(names) else str(path)


def _of_places(scan: FolderScan) -> Optional[FolderReading]:
    """Text files beside the images, or in `labels` in the place of `images`, as labelImg and Label
    Studio write them; a folder may be a split.
    """
    texts = {path for path in scan.files(".txt") if stem(path) in scan.image_stems}
    labeled = [image for image in scan.images if _label_of(image, texts)]
    if not labeled or not _are_boxes(scan, [str(_label_of(image, texts)) for image in labeled]):
        return None
    folders = sorted({parent(image) for image in labeled})
    splits: dict[str, list[str]] = {}
    for folder in folders:
        splits.setdefault(split_in(folder)[0], []).append(folder)
    if "" in splits:
        splits = {"train": folders}
    if "trainval" in splits:
        splits.setdefault("train", splits.pop("trainval"))
    names = _listed_names(scan)
    order = [split for split in SPLITS if split in splits]
    sections = {split: _section(scan, splits[split], names) for split in order}
    for section in sections.values():
        section["image_dir"] = section.get("image_dir") or None
        if section["name"] == "YOLOListDataSet":
            section.pop("image_dir")
        elif not section["image_dir"]:
            section["image_dir"] = "."
    label = str(_label_of(labeled[0], texts))
    place = f"{parent(label) or '.'}/*.txt"
    beside = "beside the images" if parent(label) == parent(labeled[0]) else "in labels"
    title = f"YOLO txt ({beside}, as of labelImg{'' if names else _NO_NAMES})"
    return FolderReading(scan.root, "yolo", place, title, sections)


def _listed_names(scan: FolderScan) -> Optional[list[str]]:
    """The class names in the first file of them that can be read."""
    for file in scan.files(".txt", ".names", ".yaml", ".yml"):
        if Path(file).name in (*_NAME_FILES, "data.yaml") and (found := _names_in(scan.path(file))):
            return found
    return None


def _of_other_folder(scan: FolderScan) -> Optional[FolderReading]:
    """Text files with the names of images in a folder of any name, of which there is one."""
    texts = [path for path in scan.files(".txt") if stem(path) in scan.image_stems]
    folders = {parent(path) for path in texts}
    images = {parent(image) for path in texts for image in scan.image_stems[stem(path)]}
    if len(folders) != 1 or len(images) != 1 or not _are_boxes(scan, texts):
        return None
    (folder,), (image_folder,), names = folders, images, _listed_names(scan)
    section = _section(scan, [image_folder or "."], names)
    title = f"YOLO txt (in {folder or '.'}{'' if names else _NO_NAMES})"
    sections = {"train": {**section, "anno_path": folder or "."}}
    return FolderReading(scan.root, "yolo", f"{folder or '.'}/*.txt", title, sections)


def _label_of(image: str, texts: set[str]) -> Optional[str]:
    """The text file of an image."""
    place = os.path.splitext(image)[0]
    return _of_ending(f"{place}.txt", texts) or _of_ending(f"{place}.TXT", texts)


def _of_ending(beside: str, texts: set[str]) -> Optional[str]:
    parts = beside.split("/")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            other = "/".join([*parts[:index], "labels", *parts[index + 1 :]])
            if other in texts:
                return other
            break
    return beside if beside in texts else None


def _are_boxes(scan: FolderScan, files: list[str]) -> bool:
    """True if the first line that is found is `class` and shares of the image."""
    for file in files[:_LOOKED_AT]:
        try:
            lines = read_lines(scan.path(file))
        except DataError:  # reading the data set will name it
            continue
        for _, line in lines[:1]:
            fields = line.split()
            try:
                numbers = [float(field) for field in fields]
            except ValueError:
                return False
            return len(numbers) >= 5 and numbers[0].is_integer() and max(numbers[1:]) < 3
    return True
