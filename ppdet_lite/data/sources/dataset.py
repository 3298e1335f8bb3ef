"""The contract of a data source: everything that others may ask of it."""

from typing import Any, Container, Optional, Sequence

import numpy as np

from ppdet_lite.data.pixels.file_check import unreadable_images


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
        numbers = range(1, len(class_names) + 1) if category_ids is None else category_ids
        self.name, self.class_names = name, list(class_names)
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

    def unreadable_files(self, check: str = "headers") -> dict[str, str]:
        """Path -> reason of the images that cannot be read; `check` as in `image_problem`."""
        return unreadable_images(map(self.image_path, range(self._distinct())), check)

    def most_objects(self) -> int:
        """The largest number of objects in an image, crowds not counted."""
        records = map(self.record, range(self._distinct()))
        return max((int((r["is_crowd"] == 0).sum()) for r in records if "is_crowd" in r), default=0)

    def repeat_factors(self) -> Optional[np.ndarray]:
        """Times that a training takes each sample per epoch on average, float [len(self)], all 0 or
        more; None: once.
        """
        return None

    def without(self, paths: Container[str]) -> "Dataset":
        """The same data set without the images at `paths`."""
        return Part(self, [i for i in range(len(self)) if self.image_path(i) not in paths])

    def to_coco(self) -> dict[str, list[dict[str, Any]]]:
        """The ground truth as a COCO dict; difficult boxes carry `ignore` 1."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(self._distinct()):
            record = self.record(index)
            image = {"id": int(record["im_id"][0]), "file_name": self._file_name(index)}
            size = {"width": record["w"], "height": record["h"]} if "w" in record else {}
            images.append({**image, **size})
            for row, (x1, y1, x2, y2) in enumerate(record.get("gt_bbox", np.zeros(0)).tolist()):
                crowd, difficult = (
                    int(record[key][row, 0]) if key in record else 0
                    for key in ("is_crowd", "difficult")
                )
                annotation = {"id": len(annotations) + 1, "image_id": image["id"]}
                annotation["category_id"] = self.category_ids[record["gt_class"][row, 0]]
                annotation["bbox"] = [x1, y1, x2 - x1, y2 - y1]
                annotation["area"] = (x2 - x1) * (y2 - y1)
                annotations.append(
                    {**annotation, "iscrowd": crowd, "difficult": difficult, "ignore": difficult}
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
        name = str(getattr(source, "name", type(source).__name__))
        classes = getattr(source, "class_names", ()), getattr(source, "category_ids", None)
        super().__init__(name, *classes)
        self.report_lines = list(getattr(source, "report_lines", ()))
        self._source = source
        for method in ("record", "image_path", "unreadable_files", "to_coco", "repeat_factors"):
            if hasattr(source, method):
                setattr(self, method, getattr(source, method))

    def __len__(self) -> int:
        return len(self._source)

    def unreadable_files(self, check: str = "headers") -> dict[str, str]:
        return super().unreadable_files(check) if hasattr(self._source, "image_path") else {}

    def __getattr__(self, name: str) -> Any:
        if name == "_source":
            raise AttributeError(name)
        return getattr(self._source, name)


class Part(Dataset):
    """The samples of a data set with the given indices."""

    def __init__(self, source: Dataset, indices: list[int]):
        super().__init__(source.name, source.class_names, source.category_ids)
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def record(self, index: int) -> dict[str, Any]:
        return self._source.record(self._indices[index])

    def image_path(self, index: int) -> str:
        return self._source.image_path(self._indices[index])

    def repeat_factors(self) -> Optional[np.ndarray]:
        factors = self._source.repeat_factors()
        return None if factors is None else factors[self._indices]

    def to_coco(self) -> dict[str, list[dict[str, Any]]]:
        truth = self._source.to_coco()
        kept = {int(self.record(index)["im_id"][0]) for index in range(len(self))}
        images = [image for image in truth["images"] if image["id"] in kept]
        boxes = [each for each in truth["annotations"] if each["image_id"] in kept]
        return {**truth, "images": images, "annotations": boxes}
