"""Data sets with YOLO text labels: a line `class cx cy w h` per object, in shares of the image."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Sequence

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import read_class_list
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    join,
    not_allowed,
    read_lines,
    require_file,
    require_folder,
)
from ppdet_lite.utils.image_files import find_images

_NAME_FILES = ("data.yaml", "classes.txt", "label_list.txt", "obj.names")


@register
@dataclass(eq=False)
class YOLODataSet(DetectionDataset):
    """A folder of images and a folder of text files of the same names.

    An image without a text file has no objects. A line may also hold a polygon (`class x1 y1 x2 y2
    x3 y3 ...`), which counts as its bounds.

    Args:
        anno_path: folder of the text files. By default the last `images` in the images' path
            becomes `labels`; without such a folder the text files stand beside the images.
        label_list: file of the class names, see `read_class_list`. By default the first of
            data.yaml, classes.txt, label_list.txt, obj.names in dataset_dir.
    """

    image_dir: Optional[str] = "images"
    label_list: Optional[str] = None

    def read(self) -> Content:
        root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        labels = _label_folder(root, self.dataset_dir, self.anno_path)
        classes = read_class_list(_name_file(join(self.dataset_dir), self.label_list))
        rows = AnnotationRows()
        images, remark = find_images(root)
        for file in sorted(os.path.relpath(path, root) for path in images):
            height, width = displayed_size(str(root / file))
            rows.add_image(file, height, width)
            path = (labels / file).with_suffix(".txt")
            if path.is_file():
                for class_index, (x1, y1, x2, y2) in _read_labels(path, len(classes.names)):
                    rows.add_box(class_index, (x1 * width, y1 * height, x2 * width, y2 * height))
        return Content(str(root), root, classes, rows.annotations(), [remark] if remark else [])


def _label_folder(root: Path, dataset_dir: Optional[str], anno_path: Optional[str]) -> Path:
    if anno_path:
        return require_folder("dataset_dir + anno_path", dataset_dir, anno_path)
    for parent in (root, *root.parents):
        if parent.name == "images":
            folder = parent.with_name("labels") / root.relative_to(parent)
            return folder if folder.is_dir() else root
    return root


def _name_file(dataset_dir: Path, label_list: Optional[str]) -> Path:
    if label_list:
        return require_file("dataset_dir + label_list", dataset_dir, label_list)
    for path in (dataset_dir / name for name in _NAME_FILES):
        if path.is_file():
            return path
    raise DataError(
        f"{dataset_dir}: YOLO labels hold class numbers only; name the classes in label_list "
        f"(a text file with one name per line) or in one of {', '.join(_NAME_FILES)}"
    )


def _read_labels(path: Path, class_count: int) -> Iterator[tuple[int, Sequence[float]]]:
    """Class index and box (x1, y1, x2, y2 as shares of the image) of every line."""
    for number, line in read_lines(path):
        fields = line.split()
        try:
            first, *values = map(float, fields)
        except ValueError:
            raise error_at(path, number, not_allowed(line, "numbers")) from None
        if first not in range(class_count):
            problem = f"found {fields[0]}, allowed: 0 to {class_count - 1}"
            raise error_at(path, number, "class", problem)
        if len(values) == 4:
            cx, cy, width, height = values
            box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        else:
            allowed = "class cx cy w h, or class and the x y of at least three points"
            raise error_at(path, number, f"found {len(fields)} fields, allowed: {allowed}")
        yield int(first), box
