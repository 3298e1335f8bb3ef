"""YOLO txt: `images/SPLIT`, `labels/SPLIT`, and `data.yaml` as ultralytics reads it."""

from __future__ import annotations

import numpy as np

from ppdet_lite.core.dump import dump_yaml
from ppdet_lite.data.folder.writing.labeled_set import LabeledSet
from ppdet_lite.data.folder.writing.set_writer import PlacedSplit, SetWriter, without_crowds


class YoloWriter(SetWriter):
    """An image without objects gets an empty text file."""

    def write_split(self, split: PlacedSplit) -> list[str]:
        images, remarks = without_crowds(split.images)
        for image, name in zip(images, split.names):
            boxes = image.boxes_xyxy / np.array([image.width, image.height] * 2, np.float64)
            lines = [
                f"{row} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}\n"
                for row, (x1, y1, x2, y2) in zip(image.classes.tolist(), boxes.tolist())
            ]
            self.write_text(f"labels/{split.name}/{name.rpartition('.')[0]}.txt", "".join(lines))
        return remarks

    def write_classes(self, content: LabeledSet) -> None:
        places = {split: self.image_folder(split) for split in content.splits}
        names = dict(enumerate(content.class_names))
        self.write_text("data.yaml", dump_yaml({**places, "names": names}))
