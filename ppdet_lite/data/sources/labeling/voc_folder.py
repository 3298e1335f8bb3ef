"""Pascal VOC files without a list of them, as labelImg writes them."""

import os
from dataclasses import dataclass
from pathlib import Path

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.data.sources.files import require_folder
from ppdet_lite.data.sources.voc import VOCDataSet, VocEntry
from ppdet_lite.utils.image_files import find_images


@register
@dataclass(eq=False)
class VOCFolderDataSet(VOCDataSet):
    """All XML files below a folder, each for the image of the same name.

    An image without an XML file is left out, since it may be one that nobody has labeled yet.

    Args:
        image_dir: folder of the images.
        anno_path: folder of the XML files; by default that of the images.
    """

    def _find_files(self) -> tuple[str, Path, list[VocEntry], list[str]]:
        root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        folder = root
        if self.anno_path:
            folder = require_folder("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        entries, remarks = _entries(root, folder)
        return str(folder), root, entries, remarks


def _entries(root: Path, folder: Path) -> tuple[list[VocEntry], list[str]]:
    """The XML files with their images, and remarks about those without the other."""
    images, remark = find_images(root)
    files = sorted(os.path.relpath(path, root) for path in images)
    by_place = {os.path.splitext(file)[0]: file for file in reversed(files)}
    by_name = {os.path.basename(place): file for place, file in by_place.items()}
    entries, alone = [], []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".xml"):
        place = os.path.splitext(os.path.relpath(path, folder))[0]
        file = by_place.get(place) or by_name.get(os.path.basename(place))
        if file:
            entries.append(VocEntry(file, path))
        else:
            alone.append(path)
    if not entries:
        raise DataError(f"{folder}: no XML file with the name of an image in {root}")
    remarks = [remark] if remark else []
    if alone:
        remarks.append(f"XML files without an image: {len(alone)} (first: {alone[0]}), left out")
    if rest := sorted({*files} - {entry.image for entry in entries}):
        text = f"images without an XML file: {len(rest)} (first: {rest[0]})"
        remarks.append(f"{text}, left out; they may not be labeled yet")
    return entries, remarks
