"""Images without labels, for inference."""

import os
from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.sources.annotation_table import StringColumn
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.coco_json import read_coco
from ppdet_lite.data.sources.label_lists import read_label_list
from ppdet_lite.data.sources.paths import (
    IMAGE_SUFFIXES,
    PathLike,
    is_image,
    join,
    nearest_existing_parent,
    require_folder,
)


@register
class ImageFolder:
    """The images to run inference on: given by `set_images`, or those of image_dir.

    The class names come from anno_path. When that file is not there, `class_names` is empty: the
    names stored with the weights are then the right ones, and those of some other data set would be
    wrong.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder whose images are used when `set_images` is not called.
        anno_path: source of the class names: a COCO json or a text file with a name per line.
        sample_num: number of images to use, -1 for all.
        use_default_label: take the 80 names of COCO instead of anno_path's.
    """

    def __init__(
        self,
        dataset_dir: Optional[str] = None,
        image_dir: Optional[str] = None,
        anno_path: Optional[str] = None,
        sample_num: int = -1,
        use_default_label: Optional[bool] = None,
    ):
        self.name = str(join(dataset_dir, image_dir))
        self.sample_num, self.anno_path = sample_num, anno_path
        self.report_lines = []
        self.class_names, self.category_ids = [], []
        if use_default_label:
            self.class_names = list(COCO_CATEGORIES.values())
            self.category_ids = list(COCO_CATEGORIES)
        elif anno_path:
            self._read_classes(_first_file(dataset_dir, anno_path))
        self._files = StringColumn([])
        if image_dir and join(dataset_dir, image_dir).exists():
            self.set_images([join(dataset_dir, image_dir)])

    def _read_classes(self, path: Path) -> None:
        if not path.is_file():
            self.report_lines.append(
                f"{path} does not exist (from dataset_dir + anno_path): "
                "the class names are those stored with the weights"
            )
        elif path.suffix.lower() == ".json":
            categories = read_coco(path, use_polygons=False).categories
            self.class_names = [category["name"] for category in categories]
            self.category_ids = [category["id"] for category in categories]
        else:
            self.class_names = read_label_list(path)
            self.category_ids = list(range(1, len(self.class_names) + 1))

    def set_images(self, paths: Sequence[PathLike]) -> None:
        """Chooses the images.

        Args:
            paths: images and folders. A folder is searched with its subfolders, in sorted order;
                an image that is named twice is taken once. A file that is named itself is taken
                whatever its suffix.

        Raises:
            DataError: a path does not exist, or a folder holds no image.
        """
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        if not paths:
            raise DataError("no images given")
        found = {}
        for path in paths:
            for file in _images_at(Path(path).expanduser()):
                found.setdefault(file)
        files = list(found)[: self.sample_num if self.sample_num >= 0 else None]
        self._files = StringColumn(files)
        self.report_lines = [line for line in self.report_lines if not line.startswith("images:")]
        self.report_lines.append(f"images: {len(files)}")

    def __len__(self) -> int:
        return len(self._files)

    def image_path(self, index: int) -> str:
        """Path of an image."""
        return self._files[index]

    def missing_files(self, limit: int = 10) -> list:
        """Paths of images that do not exist (any more), at most `limit` of them."""
        paths = (self._files[index] for index in range(len(self)))
        return [path for path in paths if not os.path.isfile(path)][:limit]

    def record(self, index: int) -> dict:
        """`im_file` and `im_id` int64 [1], which is the index; there are no labels."""
        return {"im_file": self._files[index], "im_id": np.array([index], np.int64)}

    def to_coco(self) -> dict:
        """A COCO dict without annotations: images (id, file_name) and categories."""
        images = [{"id": index, "file_name": self._files[index]} for index in range(len(self))]
        categories = [{"id": i, "name": n} for i, n in zip(self.category_ids, self.class_names)]
        return {"images": images, "annotations": [], "categories": categories}


def _first_file(dataset_dir: Optional[str], anno_path: str) -> Path:
    """anno_path below dataset_dir; as it is when only that exists."""
    below, plain = join(dataset_dir, anno_path), join(anno_path)
    return plain if plain.is_file() and not below.is_file() else below


def _images_at(path: Path) -> list:
    """The image itself, or all images below a folder in sorted order."""
    if path.is_file():
        return [os.fspath(path)]
    if not path.exists():
        raise DataError(
            f"image {path} does not exist; the nearest folder that exists is "
            f"{nearest_existing_parent(path)}"
        )
    images = list_images(path)
    if not images:
        raise DataError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return images


def list_images(folder: Path) -> list:
    """All images below a folder, sorted by path; folders are followed through links, once."""
    require_folder(folder, "the image folder")
    images, visited = [], set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        images.extend(os.path.join(parent, name) for name in files if is_image(name))
    return sorted(images)
