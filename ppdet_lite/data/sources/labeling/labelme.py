"""JSON files of labelme: one per image."""

import contextlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

from ppdet_lite.core.annotations import matches
from ppdet_lite.core.errors import DataError, ImageError
from ppdet_lite.core.registry import register
from ppdet_lite.core.suggest import nearest_hint
from ppdet_lite.data.pixels.file_check import displayed_size
from ppdet_lite.data.sources.annotation_table import AnnotationRows
from ppdet_lite.data.sources.class_lists import ClassList, given_classes, numbered
from ppdet_lite.data.sources.detection_dataset import Content, DetectionDataset
from ppdet_lite.data.sources.files import (
    error_at,
    is_json,
    not_allowed,
    raise_all,
    read_text,
    require_folder,
)
from ppdet_lite.utils.image_files import IMAGE_SUFFIXES

_BOXES = ("rectangle", "polygon", "circle", "linestrip", "line", "mask", "rotation")

_KEYS = (b'"shapes"', b'"imagePath"', b'"imageData"')
_IMAGE_FOLDERS = ("images", "JPEGImages", "imgs", "img")


class LabelMeFile(NamedTuple):
    """The objects of a file as names and corners in pixels, its image and size (or None)."""

    image: str
    size_hw: Optional[tuple[int, int]]
    objects: list[tuple[str, tuple[float, float, float, float]]]
    points: int


def read_labelme(path: Path) -> LabelMeFile:
    """Reads a file of labelme; a polygon, mask or circle gives the box around it, a single point
    none (they are counted).

    Raises:
        DataError: it is not JSON or not of labelme, with the key of what is not usable.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise error_at(path, None, "shapes", "missing; labelme's files have such a list")
    objects, points = [], 0
    for index, shape in enumerate(shapes):
        key = f"shapes[{index}]"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise error_at(path, None, f"{key}.label", "missing, allowed: the name of a class")
        if not shape["label"].strip():
            raise error_at(path, None, f"{key}.label", "empty, allowed: the name of a class")
        kind = shape.get("shape_type") or "polygon"
        corners: list[list[float]] = shape.get("points") or []
        if not matches(corners, list[list[Union[float, int]]]) or not all(
            len(p) == 2 and all(map(math.isfinite, p)) for p in corners
        ):
            raise error_at(path, None, f"{key}.points", not_allowed(corners, "a list of [x, y]"))
        if kind not in _BOXES or len(corners) < 2:
            points += 1
        else:
            objects.append((shape["label"].strip(), _box(kind, corners)))
    size = content.get("imageHeight"), content.get("imageWidth")
    is_given = all(isinstance(side, int) and 0 < side < 2**31 for side in size)
    image = str(content.get("imagePath") or "").replace("\\", "/")
    return LabelMeFile(image, size if is_given else None, objects, points)


def _box(kind: str, points: list[list[float]]) -> tuple[float, float, float, float]:
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if kind == "circle":  # center, and a point of the rim
        radius = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
        return xs[0] - radius, ys[0] - radius, xs[0] + radius, ys[0] + radius
    return min(xs), min(ys), max(xs), max(ys)


def labelme_files(folder: Path) -> list[Path]:
    """The JSON files below a folder that look like labelme's, sorted; see `labelme_among`."""
    below = (path for path in folder.rglob("*") if path.suffix.lower() == ".json")
    visible = (p for p in below if not any(n.startswith(".") for n in p.relative_to(folder).parts))
    return labelme_among(sorted(visible))


def labelme_among(paths: Sequence[Path]) -> list[Path]:
    """Those that look like labelme's. A damaged file, which is no JSON any more, counts where it
    lies beside files of labelme or near an image of its name, so that reading it names it.
    """
    whole = {path for path in paths if is_labelme(path)}
    homes = {path.parent for path in whole}
    return [
        path
        for path in paths
        if path in whole or ((path.parent in homes or _may_be_one(path)) and not is_json(path))
    ]


def _may_be_one(path: Path) -> bool:
    """True if an image of that name is near, or what is left of the file looks like labelme's."""
    folders = [path.parent, *(path.parent.parent / name for name in _IMAGE_FOLDERS)]
    places = (folder / f"{path.stem}{ending}" for folder in folders for ending in IMAGE_SUFFIXES)
    return any(map(os.path.isfile, places)) or any(key in _bytes_of(path) for key in _KEYS)


def is_labelme(path: Path) -> bool:
    """True for a file with labelme's `shapes` and `imagePath`."""
    data, (shapes, *others) = _bytes_of(path), _KEYS
    return shapes in data and any(key in data for key in others)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def collect_labels(folder: Path) -> list[str]:
    """The labels in all files below a folder that can be read, sorted."""
    names = set[str]()
    for path in labelme_files(folder):
        with contextlib.suppress(DataError):  # reading the data set will name it
            names.update(name for name, _ in read_labelme(path).objects)
    return sorted(names)


@register
@dataclass(eq=False)
class LabelMeDataSet(DetectionDataset):
    """A folder of labelme's JSON files, with the images where these say (`imagePath`), or beside
    them with the same name.

    Rectangles count as they are, polygons, masks, circles and lines by the box around them.

    Args:
        anno_path: folder of the JSON files; by default dataset_dir.
        image_dir: folder of the images, if they are no longer where the files say.
        label_list: the class names in their order, or a file of them, see `read_class_list`. By
            default those in the files, sorted.
    """

    label_list: Union[str, list[str], None] = None

    def read(self) -> Content:
        folder = require_folder("dataset_dir + anno_path", self.dataset_dir, self.anno_path)
        root = folder
        if self.image_dir:
            root = require_folder("dataset_dir + image_dir", self.dataset_dir, self.image_dir)
        paths = labelme_files(folder)
        if not paths:
            raise DataError(f"{folder}: no JSON file of labelme")
        files, problems = dict[Path, LabelMeFile](), list[DataError]()
        for path in paths:
            try:
                files[path] = read_labelme(path)
            except DataError as error:
                problems.append(error)
        self.refuse(problems, len(paths), "annotation files")
        if self.label_list:
            classes, source = given_classes(self.label_list, self.dataset_dir)
        else:
            names = sorted({name for file in files.values() for name, _ in file.objects})
            classes, source = numbered(names), str(folder)
        if not classes.names and problems:  # which a check of the data set only notes
            raise_all(problems, len(paths), "annotation files")
        if not classes.names:
            raise DataError(f"{folder}: no object in any file of labelme")
        rows, labels = self._table(files, folder, root, classes, source)
        points = sum(file.points for file in files.values())
        remarks = [f"points: {points} shapes of labelme have no box, and are left out"]
        annotations = rows.annotations()
        return Content(str(folder), root, classes, annotations, remarks if points else [], labels)

    def _table(
        self,
        files: dict[Path, LabelMeFile],
        folder: Path,
        root: Path,
        classes: ClassList,
        source: str,
    ) -> tuple[AnnotationRows, list[str]]:
        """Images with their objects, and the file of each."""
        index_of = {name: index for index, name in enumerate(classes.names)}
        rows, labels, problems = AnnotationRows(), list[str](), list[DataError]()
        for path, file in files.items():
            image = _image_of(path, file.image, folder, root)
            size = file.size_hw
            if size is None:
                try:
                    size = displayed_size(str(root / image))
                except ImageError as error:
                    problems.append(error)
                    continue
            rows.add_image(image, *size)
            labels.append(str(path))
            for name, box in file.objects:
                if name in index_of:
                    rows.add_box(index_of[name], box)
                else:
                    hint = nearest_hint(name, index_of)
                    text = f"label '{name}' is not in {source}{hint}"
                    problems.append(error_at(path, None, text))
        self.refuse(problems, len(files), "annotation files")
        return rows, labels


def _image_of(path: Path, named: str, folder: Path, root: Path) -> str:
    """The image of a file, relative to `root`: as named, or of that name in `root`."""
    beside = root / os.path.relpath(path.parent, folder)
    name, ending = os.path.basename(named), os.path.splitext(named)[1] or ".jpg"
    places = [path.parent / named, beside / name, root / named, root / name]
    places += [beside / f"{path.stem}{ending}", root / f"{path.stem}{ending}"]
    for place in places if named else places[4:]:
        if place.is_file():
            return os.path.relpath(place, root)
    return os.path.relpath(path.with_suffix(ending), root)
