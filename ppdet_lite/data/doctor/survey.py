"""A data set as it stands in its files: splits with all images and boxes, before any repair."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.data.doctor.coco_entries import usable_entries
from ppdet_lite.data.doctor.image_facts import ImageFacts, facts_of
from ppdet_lite.data.sources.annotation_table import Annotations
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import join
from ppdet_lite.utils.files import write_json
from ppdet_lite.utils.image_files import find_images

_NO_LABELS = {"classes.txt", "label_list.txt", "predefined_classes.txt", "_darknet.labels"}
_PLACE = re.compile(r"( line \d+)?: ")


@dataclass
class Split:
    """A part of a data set.

    Attributes:
        name: `train`, `val` or `test`.
        content: the images and boxes in the files.
        problems: errors about label files that cannot be used.
        facts: of the image file of every row of the images.
    """

    name: str
    content: Content
    problems: list[str]
    facts: list[ImageFacts] = field(default_factory=list)

    @property
    def annotations(self) -> Annotations:
        return self.content.annotations

    @property
    def class_names(self) -> list[str]:
        return self.content.classes.names

    def __len__(self) -> int:
        return len(self.annotations.images)

    def file(self, row: int) -> str:
        """Path of an image."""
        return os.path.join(self.content.image_root, self.annotations.images.files[row])

    def label_file(self, row: int) -> str:
        """Path of the labels of an image; "" where there are none, or in no file of their own."""
        files = self.content.label_files
        return files[row] if files else ""

    def boxes_of(self, row: int) -> np.ndarray:
        """Rows of the boxes of an image."""
        if not hasattr(self, "_order"):
            self._order = np.argsort(self.annotations.image_rows, kind="stable")
            ordered = self.annotations.image_rows[self._order]
            self._starts = np.searchsorted(ordered, np.arange(len(self) + 1))
        return self._order[self._starts[row] : self._starts[row + 1]]

    def box_counts(self) -> np.ndarray:
        """Boxes of the file of every row, int64 [I]; rows of one file have the same number."""
        files = [os.path.normpath(self.file(row)) for row in range(len(self))]
        _, groups = np.unique(files, return_inverse=True)
        counts = np.bincount(groups[self.annotations.image_rows], minlength=len(self))
        return np.asarray(counts[groups])

    def unusable_rows(self) -> set[int]:
        """Images with a label file that cannot be used."""
        files = {_PLACE.split(problem)[0] for problem in self.problems}
        return {i for i, file in enumerate(self.content.label_files) if file and file in files}


@dataclass
class Survey:
    """All splits of a data set.

    Attributes:
        name: the folder or the configuration.
        layout: in words, of a folder.
        folder: the original, where it is a folder that was recognized.
        failures: split -> error, of those that cannot be read at all.
        unlabeled: images in the folders of the splits that no split has, and without a label file.
        strays: images that no split has, but with a label file.
        orphans: label files without an image.
    """

    name: str
    splits: list[Split]
    failures: dict[str, str]
    layout: str = ""
    folder: Optional[Path] = None
    unlabeled: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


def survey(
    name: str,
    sources: Mapping[str, tuple[type[DetectionDataset], Mapping[str, Any]]],
    layout: str = "",
    folder: Optional[Path] = None,
) -> Survey:
    """Reads the annotations of all splits and every image file.

    Args:
        name: the data set in messages.
        sources: split -> class of its data set and the arguments of it.
        layout, folder: see Survey.
    """
    splits, failures = [], {}
    for split, (source, arguments) in sources.items():
        try:
            splits.append(read_split(split, source, arguments))
        except DataError as error:
            failures[split] = str(error)
    found = Survey(name, splits, failures, layout, folder)
    facts = facts_of([split.file(row) for split in splits for row in range(len(split))])
    for part in splits:
        part.facts = [facts[part.file(row)] for row in range(len(part))]
    _add_left_over(found)
    return found


def read_split(name: str, source: type[DetectionDataset], arguments: Mapping[str, Any]) -> Split:
    """The content of a data set, and the errors that would end its reading; a DataError where
    nothing of it can be read.
    """
    problems: list[str] = []

    class Lenient(source):  # type: ignore[valid-type, misc]
        def __post_init__(self) -> None:
            """Nothing is repaired, and nothing left out."""

        def refuse(self, errors: Sequence[DataError], count: int, things: str) -> None:
            problems.extend(map(str, errors))

    dataset = Lenient(**arguments)
    try:
        content = dataset.read()
    except DataError:
        if not issubclass(source, COCODataSet):
            raise
        content = _usable_part(dataset, problems)
    return Split(name, content, list(dict.fromkeys(problems)))


def _usable_part(dataset: DetectionDataset, problems: list[str]) -> Content:
    """The content of a COCO file without the entries that cannot be used, which go to `problems`; a
    DataError where that is not what is wrong with it.
    """
    given = dataset.anno_path
    path = join(dataset.dataset_dir, given)
    entries, found = usable_entries(path, join(dataset.dataset_dir, dataset.image_dir))
    problems += found
    with tempfile.TemporaryDirectory() as folder:
        dataset.anno_path = os.path.join(folder, path.name)
        write_json(dataset.anno_path, entries)
        try:
            content = dataset.read()
        except DataError as error:
            raise DataError(str(error).replace(dataset.anno_path, str(path))) from error
    return content._replace(name=str(path))


def _add_left_over(found: Survey) -> None:
    """Adds the images that no split has, and label files without an image, in the folders of the
    splits.
    """
    used, roots = set[str](), set[Path]()
    folders: set[tuple[str, str]] = set()  # and endings of label files
    for split in found.splits:
        roots.add(Path(split.content.image_root))
        for row in range(len(split)):
            used.add(os.path.realpath(split.file(row)))
            if label := split.label_file(row):
                folders.add((os.path.dirname(label), os.path.splitext(label)[1]))
    labels = [
        os.path.join(folder, name)
        for folder, ending in sorted(folders)
        for name in sorted(os.listdir(folder))
        if name.endswith(ending) and name.lower() not in _NO_LABELS
    ]
    labeled = {_stem(path) for path in labels}
    images = [str(path) for root in _outermost(roots) for path in _images_below(root)]
    for path in sorted(path for path in images if os.path.realpath(path) not in used):
        (found.strays if _stem(path) in labeled else found.unlabeled).append(path)
    stems = set(map(_stem, images)) | set(map(_stem, used))
    found.orphans = [path for path in labels if _stem(path) not in stems]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _outermost(roots: set[Path]) -> list[Path]:
    """The folders that lie in no other of them."""
    return sorted(root for root in roots if not any(parent in roots for parent in root.parents))


def _images_below(root: Path) -> list[Path]:
    try:
        return find_images(root)[0]
    except DataError:  # no image: those of the annotations are then missing
        return []
