"""Images without labels, for inference."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.data import kinds
from ppdet_lite.data.sources.annotation_table import StringColumn
from ppdet_lite.data.sources.class_lists import ClassList, read_class_list
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.data.sources.dataset import Dataset
from ppdet_lite.data.sources.files import join, require_file
from ppdet_lite.utils.files import PathLike
from ppdet_lite.utils.image_files import list_images


@register
@dataclass(eq=False)
class ImageFolder(Dataset):
    """The images to run inference on: given by `set_images`, or those of image_dir.

    The class names come from anno_path. When that file is not there, `class_names` is empty: the
    names stored with the weights are then the right ones, and those of some other data set would be
    wrong.

    Args:
        dataset_dir: folder that the other paths start from.
        image_dir: folder whose images are used when `set_images` is not called.
        anno_path: file of the class names, see `read_class_list`.
        sample_num: number of images to use, -1 for all.
        use_default_label: take the 80 names of COCO instead of anno_path's.
    """

    __checked__ = True

    dataset_dir: Optional[str] = None
    image_dir: Optional[str] = None
    anno_path: Optional[str] = None
    sample_num: kinds.SampleCount = -1
    use_default_label: Optional[bool] = None

    def __post_init__(self) -> None:
        classes, remarks = ClassList([], []), []
        if self.use_default_label:
            classes = ClassList(list(COCO_CATEGORIES.values()), list(COCO_CATEGORIES))
        elif self.anno_path:
            below, plain = join(self.dataset_dir, self.anno_path), join(self.anno_path)
            path = plain if plain.is_file() and not below.is_file() else below
            if path.is_file():
                classes = read_class_list(path)
            else:
                where = f"{path} does not exist (from dataset_dir + anno_path)"
                remarks.append(f"{where}: the class names are those stored with the weights")
        folder = join(self.dataset_dir, self.image_dir)
        super().__init__(str(folder), *classes)
        self.report_lines = self._remarks = remarks
        self._files = StringColumn([])
        if self.image_dir and folder.exists():
            self.set_images([folder])

    def set_images(self, paths: Union[PathLike, Sequence[PathLike]]) -> None:
        """Chooses the images.

        Args:
            paths: images and folders. A folder is searched with its subfolders, in sorted order;
                an image that is named twice is taken once. A file that is named itself is taken
                whatever its suffix.

        Raises:
            DataError: a path does not exist, or a folder holds no image.
        """
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        found = dict.fromkeys(file for path in paths for file in _images_at(join(path)))
        if not found:
            raise DataError("no images given")
        files = list(found)[: self.sample_num if self.sample_num > 0 else None]
        self._files = StringColumn(files)
        self.report_lines = [*self._remarks, f"images: {len(files)}"]

    def __len__(self) -> int:
        return len(self._files)

    def image_path(self, index: int) -> str:
        return self._files[index]

    def record(self, index: int) -> dict[str, Any]:
        """`im_file` and `im_id`, which is the index; there are no labels."""
        return {"im_file": self._files[index], "im_id": np.array([index], np.int64)}


def _images_at(path: Path) -> list[str]:
    """The image itself, or all images below a folder in sorted order."""
    if path.is_dir():
        return sorted(map(os.fspath, list_images(path)))
    return [os.fspath(require_file("the images to use", path))]
