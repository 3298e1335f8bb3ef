"""The contract of a data source: everything that others may ask of it."""

import os
from typing import Any, Optional, Sequence

import numpy as np


class Dataset:
    """A list of images, with labels or without.

    A data set of one's own derives from this class and defines `__len__` and `record`; the other
    methods follow from these two, and may be defined as well. An object of another class that has
    these two becomes a Dataset by `as_dataset`, which readers and evaluations call.

    Args:
        name: the name in messages.
        class_names: by class index.
        category_ids: number of each class in COCO results, by class index; 1, 2, ... by default.

    Attributes:
        report_lines: lines about what was found, dropped and repaired.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str] = (),
        category_ids: Optional[Sequence[int]] = None,
    ):
        self.name = name
        self.class_names = list(class_names)
        numbers = range(1, len(self.class_names) + 1) if category_ids is None else category_ids
        self.category_ids = [int(number) for number in numbers]
        self.report_lines: list[str] = []

    def __len__(self) -> int:
        raise NotImplementedError

    def record(self, index: int) -> dict[str, Any]:
        """The sample without its image; all arrays are new and may be changed.

        Returns:
            `im_file` path, `im_id` int64 [1]; with labels also `h`, `w` size in pixels, `gt_bbox`
            float32 [N, 4] x1, y1, x2, y2 in pixels, `gt_class` int32 [N, 1], `gt_score` float32
            [N, 1] (ones), `is_crowd` int32 [N, 1]; where the source has them `difficult` int32
            [N, 1] and `gt_poly`, a list of N lists of float32 [K, 2] in pixels.
        """
        raise NotImplementedError

    def image_path(self, index: int) -> str:
        """Path of an image. That the file exists is found out when it is read."""
        return str(self.record(index)["im_file"])

    def missing_files(self, limit: int = 10) -> list[str]:
        """Paths of images that do not exist, at most `limit` of them."""
        missing: list[str] = []
        for path in map(self.image_path, range(self._distinct())):
            if len(missing) < limit and not os.path.isfile(path):
                missing.append(path)
        return missing

    def to_coco(self) -> dict[str, list[dict[str, Any]]]:
        """The ground truth as a COCO dict; difficult boxes carry `ignore` 1."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(self._distinct()):
            record = self.record(index)
            image_id = int(record["im_id"][0])
            size = {"width": record["w"], "height": record["h"]} if "w" in record else {}
            images.append({"id": image_id, "file_name": self._file_name(index), **size})
            boxes_xyxy = np.asarray(record.get("gt_bbox", ()), np.float64).reshape(-1, 4)
            for row, (x1, y1, x2, y2) in enumerate(boxes_xyxy.tolist()):
                difficult = int(record["difficult"][row, 0]) if "difficult" in record else 0
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": self.category_ids[record["gt_class"][row, 0]],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(record["is_crowd"][row, 0]) if "is_crowd" in record else 0,
                        "difficult": difficult,
                        "ignore": difficult,
                    }
                )
        categories = [{"id": i, "name": n} for i, n in zip(self.category_ids, self.class_names)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _distinct(self) -> int:
        """Number of samples; those from there on repeat earlier ones."""
        return len(self)

    def _file_name(self, index: int) -> str:
        """Path of an image in `to_coco`."""
        return self.image_path(index)


def as_dataset(source: Any) -> Dataset:
    """The source itself, or a Dataset that asks it.

    Args:
        source: has `__len__` and `record`. Other members of Dataset are taken from it where it has
            them; without `image_path` its files are not looked for.
    """
    return source if isinstance(source, Dataset) else _Adapted(source)


class _Adapted(Dataset):
    """See `as_dataset`."""

    def __init__(self, source: Any):
        names = getattr(source, "class_names", ())
        super().__init__(
            str(getattr(source, "name", type(source).__name__)),
            names,
            getattr(source, "category_ids", None),
        )
        self.report_lines = list(getattr(source, "report_lines", ()))
        self._source = source
        for method in ("record", "image_path", "missing_files", "to_coco"):
            if hasattr(source, method):
                setattr(self, method, getattr(source, method))

    def __len__(self) -> int:
        return len(self._source)

    def missing_files(self, limit: int = 10) -> list[str]:
        return super().missing_files(limit) if hasattr(self._source, "image_path") else []

    def __getattr__(self, name: str) -> Any:
        if name == "_source":
            raise AttributeError(name)
        return getattr(self._source, name)
