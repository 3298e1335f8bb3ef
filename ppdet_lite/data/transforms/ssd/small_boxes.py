"""DropSmallBoxes: objects that are too small to be learned."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.annotations import Positive
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.objects import Sample, select_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform


@register
@dataclass(eq=False)
class DropSmallBoxes(Transform):
    """Leave out objects whose shorter side has `min_side` pixels or less."""

    takes_boxes = CORNERS
    keeps_size = True

    min_side: Positive = 6.0

    def apply(self, sample: Sample, context: Context) -> Sample:
        if "gt_bbox" not in sample:
            return sample
        boxes_xyxy = sample["gt_bbox"]
        sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1)
        return select_objects(sample, np.flatnonzero(sides > self.min_side))
