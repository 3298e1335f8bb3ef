"""What the writers of all formats share: places of the images, copies and links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple, Sequence

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.folder.writing.labeled_set import LabeledImage, LabeledSet


class PlacedSplit(NamedTuple):
    """A split whose images lie in `image_folder` of the new set, under these names."""

    name: str
    images: Sequence[LabeledImage]
    names: Sequence[str]
    class_names: Sequence[str]


class SetWriter:
    """Writes a set into a new folder. A format is a subclass.

    Args:
        folder: new or empty.
        link: images become symbolic links to the original files instead of copies.

    Raises:
        DataError: the folder is not empty.
    """

    def __init__(self, folder: Path, link: bool = False):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder} is there already, allowed: a new or an empty folder")
        self.folder, self.link = folder, link
        self._taken: set[str] = set()

    def write(self, content: LabeledSet) -> list[str]:
        """Writes everything; returns remarks about what the format cannot hold."""
        remarks = []
        try:
            for split, images in content.splits.items():
                names = [self._place(split, image) for image in images]
                placed = PlacedSplit(split, images, names, content.class_names)
                remarks += self.write_split(placed)
            self.write_classes(content)
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be written: {error.strerror}") from error
        return remarks

    def image_folder(self, split: str) -> str:
        """Folder of a split's images, below the set's."""
        return f"images/{split}"

    def write_split(self, split: PlacedSplit) -> list[str]:
        """Writes the annotations; returns remarks."""
        raise NotImplementedError

    def write_classes(self, content: LabeledSet) -> None:
        """Writes what names splits and classes, where the format has such a file."""

    def write_text(self, place: str, text: str) -> None:
        """Writes a text file below the folder."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _place(self, split: str, image: LabeledImage) -> str:
        """Copies or links an image; returns its name, whose stem no other has."""
        source = Path(os.path.abspath(image.path))
        stem, number = source.stem, 2
        if stem in self._taken:
            stem = f"{source.parent.name}_{source.stem}"
        while stem in self._taken:
            stem = f"{source.stem}_{number}"
            number += 1
        self._taken.add(stem)
        target = self.folder / self.image_folder(split) / f"{stem}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            os.symlink(source, target)
        else:
            shutil.copyfile(source, target)
        return target.name


def without_crowds(images: Sequence[LabeledImage]) -> tuple[list[LabeledImage], list[str]]:
    """The images without their crowds, and a remark about these."""
    crowds = sum(int(image.crowd.sum()) for image in images)
    kept = []
    for image in images:
        rest = ~image.crowd
        columns = (image.boxes_xyxy, image.classes, image.crowd, image.difficult)
        boxes, classes, crowd, difficult = (column[rest] for column in columns)
        kept.append(LabeledImage(*image[:3], boxes, classes, crowd, difficult))
    text = f"{crowds} crowds are left out, which the format has no mark for"
    return kept, [text] if crowds else []
