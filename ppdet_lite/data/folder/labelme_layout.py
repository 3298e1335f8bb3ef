"""Folders with labelme's json files."""

from __future__ import annotations

import contextlib
from typing import Any

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.reading import SPLITS, FolderReading
from ppdet_lite.data.folder.scan import FolderScan, parent, stem
from ppdet_lite.data.folder.split_words import split_in
from ppdet_lite.data.sources.labeling.labelme import collect_labels, labelme_among, read_labelme


def labelme_readings(scan: FolderScan) -> list[FolderReading]:
    """The reading of labelme's files; a folder at the top may be a split."""
    files = {str(path) for path in labelme_among([*map(scan.path, scan.files(".json"))])}
    own = [path for path in scan.files(".json") if str(scan.path(path)) in files]
    if not own:
        return []
    folders = sorted({*map(parent, own)})
    tops = {folder: folder.partition("/")[0] for folder in folders}
    split_of = {top: split_in(top)[0] for top in tops.values()}
    names = collect_labels(scan.root)
    labels: dict[str, Any] = {"label_list": names} if names else {}
    places = {"train": "."}
    if len({*split_of.values()}) == len(split_of) and "" not in split_of.values():
        places = {split: top for top, split in split_of.items()}
        if "trainval" in places:
            places.setdefault("train", places.pop("trainval"))
    sections = {
        split: {
            "name": "LabelMeDataSet",
            "dataset_dir": str(scan.root),
            "anno_path": places[split],
            **_images(scan, own, places[split]),
            **labels,
        }
        for split in SPLITS
        if split in places
    }
    return [FolderReading(scan.root, "labelme", "*.json", "json files of labelme", sections)]


def _images(scan: FolderScan, own: list[str], place: str) -> dict[str, str]:
    """`image_dir`, where the images are neither as the files say nor beside them."""
    homes = []
    for path in (file for file in own if place == "." or file.startswith(f"{place}/")):
        found = scan.image_stems.get(stem(path), [])
        if parent(path) in map(parent, found):
            return {}
        with contextlib.suppress(DataError):
            if (scan.path(path).parent / read_labelme(scan.path(path)).image).is_file():
                return {}
        homes += [parent(image) for image in found]
    return {"image_dir": max(sorted({*homes}), key=homes.count) or "."} if homes else {}
