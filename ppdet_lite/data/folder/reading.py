"""One way to read a folder as a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_lite.data.folder.stratified import class_counts
from ppdet_lite.data.sources.coco import COCODataSet
from ppdet_lite.data.sources.detection_dataset import DetectionDataset
from ppdet_lite.data.sources.labeling.csv_boxes import CSVBoxDataSet
from ppdet_lite.data.sources.labeling.labelme import LabelMeDataSet
from ppdet_lite.data.sources.labeling.voc_folder import VOCFolderDataSet
from ppdet_lite.data.sources.labeling.yolo_list import YOLOListDataSet
from ppdet_lite.data.sources.voc import VOCDataSet
from ppdet_lite.data.sources.yolo_txt import YOLODataSet

_CLASSES: dict[str, type[DetectionDataset]] = {  # built without the registry, which loads Paddle
    cls.__name__: cls
    for cls in (
        COCODataSet,
        CSVBoxDataSet,
        LabelMeDataSet,
        VOCDataSet,
        VOCFolderDataSet,
        YOLODataSet,
        YOLOListDataSet,
    )
}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class FolderReading:
    """A folder read as a data set of one layout.

    Attributes:
        folder: absolute.
        format: `coco`, `voc`, `yolo`, `csv` or `labelme`.
        place: the files inside of the folder that this reading starts from.
        title: the layout in words, such as "Pascal VOC (lists in ImageSets/Main)".
        sections: split (`train`, `val`, `test`) -> section of a configuration that reads it:
            `{"name": "COCODataSet", "dataset_dir": ..., ...}`. A folder without splits has `train`
            only.
    """

    folder: Path
    format: str
    place: str
    title: str
    sections: dict[str, dict[str, Any]]
    _built: dict[str, DetectionDataset] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The value of `--data_format` that means this reading and no other."""
        return f"{self.format}:{self.place}"

    def dataset(self, split: str) -> DetectionDataset:
        """The data set of a split, read once.

        Raises:
            DataError: its files are not usable.
        """
        if split not in self._built:
            source, arguments = self.source(split)
            self._built[split] = source(**arguments)
        return self._built[split]

    def source(self, split: str) -> tuple[type[DetectionDataset], dict[str, Any]]:
        """The class of the data set of a split, and its arguments."""
        arguments = dict(self.sections[split])
        return _CLASSES[arguments.pop("name")], arguments

    def datasets(self) -> dict[str, DetectionDataset]:
        """Split -> data set; raises as `dataset`."""
        return {split: self.dataset(split) for split in self.sections}

    @property
    def class_names(self) -> list[str]:
        """Those of the first split, by class index."""
        return self.dataset(next(iter(self.sections))).class_names

    def lines(self) -> list[str]:
        """Three lines for the user: layout, images of every split, classes with their objects."""
        images, objects = [], np.zeros(len(self.class_names), np.int64)
        for split, dataset in self.datasets().items():
            counts = class_counts(dataset)
            empty = int((counts.sum(axis=1) == 0).sum())
            images.append(
                f"{split} {len(dataset)}" + (f" ({empty} without objects)" if empty else "")
            )
            if counts.shape[1] == len(objects):
                objects += counts.sum(axis=0)
        missing = [split for split in SPLITS[:2] if split not in self.sections]
        images += [f"no {split}" for split in missing]
        order = np.argsort(-objects, kind="stable")
        shown = [f"{self.class_names[row]} {objects[row]}" for row in order[:10]]
        more = f", and {len(objects) - 10} more" if len(objects) > 10 else ""
        return [
            f"{self.folder}: {self.title}",
            f"images: {', '.join(images)}",
            f"objects: {objects.sum()} of {len(objects)} classes: {', '.join(shown)}{more}",
        ]
