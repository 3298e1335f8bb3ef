"""YOLO text labels of the images that lists name, as darknet has them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.registry import register
from ppdet_lite.data.sources.files import error_at, find_listed, join, read_lines, with_ending
from ppdet_lite.data.sources.yolo_txt import LabeledFiles, YOLODataSet
from ppdet_lite.utils.image_files import find_images


@register
@dataclass(eq=False)
class YOLOListDataSet(YOLODataSet):
    """Images with YOLO text labels, named by lists: a path in every line.

    A path may be relative to the list, to dataset_dir, or to a folder that is not there: its last
    parts below dataset_dir count then (`data/obj_train_data/a.jpg` in exports of CVAT). The text
    file of an image lies beside it, or in `labels` in the place of the last `images`.

    Args:
        anno_path: the list, or several; a folder in the place of a list stands for its images.
        image_dir: not used.
    """

    image_dir: Optional[str] = None
    anno_path: Union[str, list[str], None] = None  # type: ignore[assignment]

    def _find_files(self) -> LabeledFiles:
        root, problems = join(self.dataset_dir), list[DataError]()
        paths: dict[Path, None] = {}
        names = [self.anno_path] if isinstance(self.anno_path, str) else self.anno_path or []
        if not names:
            raise DataError(f"{root}: anno_path: missing; it names the list of images")
        for source in (join(self.dataset_dir, name) for name in names):
            if source.is_dir():
                paths.update(dict.fromkeys(find_images(source)[0]))
                continue
            for number, line in read_lines(source):
                path = find_listed(line, source.parent, root)
                if path is None:
                    problem = f"{line[:300]} does not exist, neither below {root}"
                    problems.append(error_at(source, number, problem))
                else:
                    paths[path] = None
        self.refuse(problems, len(paths) + len(problems), "lines")
        if not paths:
            raise DataError(f"{join(self.dataset_dir, names[0])}: the list is empty")
        images = [_below(path, root) for path in paths]
        labels = [_label_file(path) for path in paths]
        name = ", ".join(str(join(self.dataset_dir, name)) for name in names)
        return LabeledFiles(name, root, images, labels, "`labels` or beside the images")


def _below(path: Path, root: Path) -> str:
    """The path relative to the root, or absolute where it is outside."""
    relative = os.path.relpath(path, root)
    return relative if not relative.startswith("..") else os.path.abspath(path)


def _label_file(image: Path) -> Path:
    parts = image.parts
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        swapped = Path(*parts[: places[-1]], "labels", *parts[places[-1] + 1 :])
        if swapped.parent.is_dir():
            return with_ending(swapped, ".txt")
    return with_ending(image, ".txt")
