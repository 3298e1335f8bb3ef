"""Folders with COCO json files: COCO's own, Roboflow's, CVAT's and others."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
from pathlib import Path
from typing import Any

from ppdet_lite.data.folder.reading import FolderReading
from ppdet_lite.data.folder.scan import FolderScan, parent, stem
from ppdet_lite.data.folder.split_words import by_split, split_in
from ppdet_lite.data.sources.files import is_json

_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_NEEDED, _OTHER = (b'"images"', b'"annotations"', b'"categories"'), b'"segments_info"'
_LOOKED_AT = 200  # names of images, to find their folder
_START = 2**16  # bytes of a damaged file


def coco_readings(scan: FolderScan) -> list[FolderReading]:
    """The readings of the COCO json files; one for all files whose names differ by a split only."""
    whole = {file for file in scan.files(".json") if is_coco(scan.path(file))}
    patterns = {split_in(file)[1] for file in whole}
    damaged = [f for f in scan.files(".json") if f not in whole and _was_coco(scan, f, patterns)]
    groups = by_split(sorted([*whole, *damaged]))
    detection = {p: g for p, g in groups.items() if Path(p).name.startswith("instances_")}
    if detection:  # COCO has keypoints beside them, which are the boxes of persons only
        groups = {
            pattern: group
            for pattern, group in groups.items()
            if pattern in detection
            or (not Path(pattern).name.startswith("person_key") and whole & {*group.values()})
        }
    return [_reading(scan, pattern, group) for pattern, group in groups.items()]


def is_coco(path: Path) -> bool:
    """True for a JSON file with COCO's lists of images, boxes and categories."""
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size < 20:
                return False
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return all(data.find(key) >= 0 for key in _NEEDED) and data.find(_OTHER) < 0
    except OSError:
        return False


def _was_coco(scan: FolderScan, file: str, patterns: set[str]) -> bool:
    """True for a damaged file, which is no JSON any more, that was COCO's by what is left of it, by
    its name, or as another split of files that are; reading it names the damage.
    """
    path, name = scan.path(file), Path(file).name.lower()
    if split_in(file)[1] in patterns or "coco" in name or name.startswith("instances_"):
        return not is_json(path)
    try:
        with open(path, "rb") as stream:
            start = stream.read(_START)
    except OSError:
        return False
    looks_like_it = any(key in start for key in (*_NEEDED, b'"licenses"')) and _OTHER not in start
    return looks_like_it and not is_json(path)  # which reads all of it


def _reading(scan: FolderScan, pattern: str, group: dict[str, str]) -> FolderReading:
    name = Path(pattern).name
    tool = "COCO json"
    if name == "_annotations.coco.json":
        tool = "COCO json of Roboflow"
    elif name == "instances_default.json":
        tool = "COCO json of CVAT"
    elif name.startswith("instances_*"):
        tool = "COCO json as COCO has it"
    sections: dict[str, dict[str, Any]] = {}
    for split, file in group.items():
        sections[split] = {
            "name": "COCODataSet",
            "dataset_dir": str(scan.root),
            "image_dir": _image_folder(scan, file, split),
            "anno_path": file,
        }
    return FolderReading(scan.root, "coco", pattern, f"{tool} ({pattern})", sections)


def _image_folder(scan: FolderScan, file: str, split: str) -> str:
    """The folder that the images of an annotation file are relative to, itself relative.

    That with the most of the images that the file names; of equals that with the name of the split,
    then the one nearest to the file.
    """
    names = _image_names(scan.path(file))
    here = parent(file)

    def fitness(folder: str) -> tuple[int, bool, int, int]:
        prefix = f"{folder}/" if folder else ""
        found = sum(os.path.normpath(prefix + name) in scan.image_set for name in names)
        common = sum(a == b for a, b in zip(folder.split("/"), here.split("/")))
        return found, split_in(folder)[0] == split, common, -folder.count("/")

    folders = scan.image_folders
    if len(folders) > 2000:  # a folder per image: those near the top
        folders = sorted(folders, key=lambda folder: folder.count("/"))[:2000]
    best = max(folders, key=fitness)
    if fitness(best)[0] == 0:  # paths of another machine: where the most files of these names are
        stems = {stem(name) for name in names}
        homes = [parent(image) for image in scan.images if stem(image) in stems]
        return max(sorted({*homes}), key=homes.count, default=best)
    return best


def _image_names(path: Path) -> list[str]:
    """The first names of images in a COCO file, which need not be read whole for this."""
    names: list[str] = []
    if not path.stat().st_size:
        return names
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _NAME.finditer(data):
            with contextlib.suppress(ValueError):  # reading the file will name the place
                name = json.loads(match[1].decode("utf-8", "replace"), strict=False)
                names.append(name.replace("\\", "/"))
            if len(names) == _LOOKED_AT:
                break
    return names
