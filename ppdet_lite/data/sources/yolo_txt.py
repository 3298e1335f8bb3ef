"""Data sets with YOLO text labels: a line `class cx cy w h` per object, in shares of the image."""

import os
from array import array
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
import yaml

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.pixels.headers import header_size
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.annotation_table import BoxTable, ImageTable
from ppdet_lite.data.sources.box_cleaning import clean_boxes
from ppdet_lite.data.sources.dataset import DetectionDataset
from ppdet_lite.data.sources.image_folder import list_images
from ppdet_lite.data.sources.label_lists import read_label_list
from ppdet_lite.data.sources.paths import join, read_text, require_file, require_folder

_NAME_FILES = ("data.yaml", "classes.txt", "label_list.txt", "obj.names")


@register
class YOLODataSet(DetectionDataset):
    """A folder of images and a folder of text files of the same names.

    An image without a text file has no objects. A line may also hold a polygon (`class x1 y1 x2 y2
    x3 y3 ...`), which counts as its bounds.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder of the images, searched with its subfolders.
        anno_path: folder of the text files. By default the last `images` in the images' path
            becomes `labels`; without such a folder the text files stand beside the images.
        data_fields: kept from PaddleDetection; a record always carries everything.
        sample_num: number of images to use, -1 for all.
        label_list: class names: a text file with one per line, or a YAML file with `names`. By
            default the first of data.yaml, classes.txt, label_list.txt, obj.names in dataset_dir.
        allow_empty: keep images without objects as negatives.
        empty_ratio: largest share of images without objects, 1 for any.
        repeat: passes over the images per epoch.

    Raises:
        DataError: a path does not exist or a file is not usable; names file, line and what was
            found.
    """

    def __init__(
        self,
        dataset_dir: Optional[str] = None,
        image_dir: Optional[str] = "images",
        anno_path: Optional[str] = None,
        data_fields: Optional[list[str]] = None,
        sample_num: int = -1,
        label_list: Optional[str] = None,
        allow_empty: bool = True,
        empty_ratio: float = 1.0,
        repeat: int = 1,
    ):
        root = require_folder(join(dataset_dir, image_dir), "dataset_dir + image_dir")
        super().__init__(str(root), root)
        self.data_fields = data_fields
        labels = _label_folder(root, dataset_dir, anno_path)
        self.class_names = _read_names(_name_file(join(dataset_dir), label_list))
        self.category_ids = list(range(1, len(self.class_names) + 1))
        files = [os.path.relpath(path, root) for path in list_images(root)]
        if not files:
            raise DataError(f"{root} (from dataset_dir + image_dir) holds no images")
        images, boxes, report = self._read_labels(files, root, labels)
        self._finish(images, boxes, report, sample_num, allow_empty, empty_ratio, repeat)

    def _read_labels(self, files: list, root: Path, labels: Path):
        sizes = [_displayed_size(root / file) for file in files]
        heights, widths = (np.array(side, np.int64) for side in zip(*sizes))
        images = ImageTable(files, np.arange(len(files)), widths, heights)
        classes, corners, image_of = array("l"), array("d"), array("l")
        for number, file in enumerate(files):
            path = (labels / file).with_suffix(".txt")
            if not path.is_file():
                continue
            for class_index, box in _read_lines(path, len(self.class_names)):
                classes.append(class_index)
                corners.extend(box)
                image_of.append(number)
        rows = np.array(image_of, np.int64)
        scale = np.stack([widths, heights, widths, heights], axis=1)[rows]
        boxes_xyxy = np.array(corners, np.float64).reshape(-1, 4) * scale
        cleaned = clean_boxes(boxes_xyxy, widths[rows], heights[rows])
        none = np.zeros(len(rows), bool)
        boxes = BoxTable(
            rows,
            len(files),
            cleaned.boxes_xyxy,
            np.array(classes, np.int64),
            none,
            none,
            cleaned.keep,
        )
        return images, boxes, self._box_report(cleaned.rows, rows, images)


def _label_folder(root: Path, dataset_dir: Optional[str], anno_path: Optional[str]) -> Path:
    if anno_path:
        return require_folder(join(dataset_dir, anno_path), "dataset_dir + anno_path")
    parts = list(root.parts)
    for index in reversed(range(len(parts))):
        if parts[index] == "images":
            candidate = Path(*parts[:index], "labels", *parts[index + 1 :])
            return candidate if candidate.is_dir() else root
    return root


def _name_file(dataset_dir: Path, label_list: Optional[str]) -> Path:
    if label_list:
        return require_file(join(dataset_dir, label_list), "dataset_dir + label_list")
    for name in _NAME_FILES:
        if (dataset_dir / name).is_file():
            return dataset_dir / name
    raise DataError(
        f"{dataset_dir}: YOLO labels hold class numbers only; name the classes in label_list "
        f"(a text file with one name per line) or in one of {', '.join(_NAME_FILES)}"
    )


def _read_names(path: Path) -> list:
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_label_list(path)
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: names: found {names!r}, allowed: a list of class names")
    return [str(name) for name in names]


def _read_lines(path: Path, class_count: int) -> list:
    """Class index and box (x1, y1, x2, y2 as shares of the image) of every line."""
    objects = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise DataError(
                f"{path} line {number}: found '{line.strip()}', allowed: numbers"
            ) from (None)
        if values[0] not in range(class_count):
            allowed = f"0 to {class_count - 1}"
            raise DataError(f"{path} line {number}: class: found {fields[0]}, allowed: {allowed}")
        objects.append((int(values[0]), _box_of(values[1:], path, number)))
    return objects


def _box_of(values: list, path: Path, line: int) -> tuple:
    if len(values) == 4:
        cx, cy, width, height = values
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    if len(values) >= 6 and len(values) % 2 == 0:
        return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    raise DataError(
        f"{path} line {line}: found {len(values) + 1} fields, allowed: class cx cy w h, "
        "or class and the x y of at least three points"
    )


def _displayed_size(path: Path) -> tuple:
    """(height, width) of an image as it is shown, that is after its EXIF rotation."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    size = header_size(data)
    if size is None or abs(size[0] - size[1]) < 16:
        return decode_image(data, name=str(path)).shape[:2]
    if b"Exif\x00" not in data[:65536]:
        return size
    # An eighth of the resolution is enough to see whether the image is turned on its side.
    small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    is_turned = small is not None and (small.shape[0] > small.shape[1]) != (size[0] > size[1])
    return size[::-1] if is_turned else size
