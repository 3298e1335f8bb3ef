"""Data sets with YOLO text labels: a line `class cx cy w h` per object, in shares of the image."""

import os
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.annotations import matches
from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.core.registry import register
from ppdet_lite.core.yaml import read_yaml
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import (
    ClassList,
    count_problems,
    given_classes,
    read_class_list,
)
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    join,
    not_allowed,
    require_file,
    require_folder,
    with_ending,
)
from ppdet_lite.data.sources.labeling.yolo_lines import LabelLines
from ppdet_lite.utils.image_files import find_images

_NAME_FILES = ("data.yaml", "classes.txt", "label_list.txt", "obj.names")


class LabeledFiles(NamedTuple):
    """Images, relative to `root`, and the text files that would hold their labels.

    Attributes:
        name: of the data set, for messages.
        searched: the place of the text files, for messages.
        remarks: lines for the report.
    """

    name: str
    root: Path
    images: Sequence[str]
    labels: Sequence[Path]
    searched: str
    remarks: Sequence[str] = ()


@register
@dataclass(eq=False)
class YOLODataSet(DetectionDataset):
    """A folder of images and a folder of text files of the same names.

    An image without a text file has no objects. For other lines than boxes see `LabelLines`.

    Args:
        anno_path: folder of the text files. By default the last `images` in the images' path
            becomes `labels`; without such a folder the text files stand beside the images.
        label_list: the class names, or a file of them, see `read_class_list`. By default the first
            of data.yaml, classes.txt, label_list.txt, obj.names in dataset_dir.
    """

    image_dir: Optional[str] = "images"
    label_list: Union[str, list[str], None] = None

    def read(self) -> Content:
        found = self._find_files()
        classes, name_file = self._classes()
        lines = LabelLines(len(classes.names), _keypoints(name_file, join(self.dataset_dir)))
        rows, poses, unlabeled = AnnotationRows(), dict[int, Sequence[float]](), 0
        unreadable, bad, label_files = [], [], []
        for file, path in zip(found.images, found.labels):
            try:
                height, width = displayed_size(str(found.root / file))
            except ImageError as error:  # left out or refused by its reader, as in other formats
                height = width = 0
                unreadable.append(error)
            rows.add_image(file, height, width)
            label_files.append(str(path) if os.path.isfile(path) else "")
            if not label_files[-1]:
                unlabeled += 1
                continue
            try:
                boxes = lines.read(path)
            except DataError as error:
                bad.append(error)
                continue
            scale = (width, height, width, height)
            for box in boxes if width else ():
                index = rows.add_box(box.class_index, [*map(mul, box.shares, scale)])
                if box.pose:
                    poses[index] = [*map(mul, box.pose, scale)]
        self.refuse(bad, len(found.images), "text files")
        for index, corners in poses.items() if lines.are_keypoints() else ():
            rows.move_box(index, corners)
        remarks = [*found.remarks]
        if unlabeled:
            text = f"labels: {unlabeled} of {len(found.images)} images have no text file in "
            remarks.append(f"{text}{found.searched}, and count as images without objects")
        if unreadable:
            remarks.append(
                f"images that cannot be read: {len(unreadable)} (first: {unreadable[0]})"
            )
        annotations = rows.annotations()
        return Content(found.name, found.root, classes, annotations, remarks, label_files)

    def _classes(self) -> tuple[ClassList, Path]:
        """The classes and their file, a name without ending where there is none."""
        if isinstance(self.label_list, list) and self.label_list:
            classes, source = given_classes(self.label_list, self.dataset_dir)
            return classes, Path(source)
        if isinstance(self.label_list, str) and self.label_list:
            file = require_file("dataset_dir + label_list", self.dataset_dir, self.label_list)
        else:
            file = _name_file(join(self.dataset_dir))
        self.refuse(count_problems(file), 1, "class lists")
        return read_class_list(file, check_count=False), file

    def _find_files(self) -> LabeledFiles:
        root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        folder, searched = _label_folder(root, self.dataset_dir, self.anno_path)
        images, remark = find_images(root)
        files = sorted(os.path.relpath(path, root) for path in images)
        labels = [with_ending(folder / file, ".txt") for file in files]
        return LabeledFiles(str(root), root, files, labels, searched, [remark] if remark else [])


def _label_folder(
    root: Path, dataset_dir: Optional[str], anno_path: Optional[str]
) -> tuple[Path, str]:
    """The folder of the text files, and what was searched for them."""
    if anno_path:
        folder = require_folder("dataset_dir + anno_path", dataset_dir, anno_path)
        return folder, str(folder)
    for parent in (root, *root.parents):
        if parent.name == "images":
            folder = parent.with_name("labels") / root.relative_to(parent)
            if folder.is_dir():
                return folder, str(folder)
            return root, f"{folder} (no such folder) and {root}"
    return root, str(root)


def _name_file(dataset_dir: Path) -> Path:
    for path in (dataset_dir / name for name in _NAME_FILES):
        if path.is_file():
            return path
    raise DataError(
        f"{dataset_dir}: YOLO labels hold class numbers only; name the classes, one a line, in "
        f"{dataset_dir / 'classes.txt'} (in a configuration also by label_list; also read: "
        f"{', '.join(name for name in _NAME_FILES if name != 'classes.txt')})"
    )


def _keypoints(name_file: Path, dataset_dir: Path) -> Optional[tuple[int, int]]:
    """Number of keypoints and of values of each, where data.yaml gives them in `kpt_shape`."""
    if name_file.suffix.lower() not in (".yaml", ".yml"):
        name_file = dataset_dir / "data.yaml"
        if not os.path.isfile(name_file):
            return None
    content = read_yaml(name_file, DataError).value
    if not isinstance(content, dict) or (shape := content.get("kpt_shape")) is None:
        return None
    if not matches(shape, list[int]) or len(shape) != 2 or shape[0] < 1 or shape[1] not in (2, 3):
        problem = not_allowed(shape, "[number of keypoints, 2 or 3]")
        raise error_at(name_file, None, "kpt_shape", problem)
    return shape[0], shape[1]
