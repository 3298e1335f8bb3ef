"""NormalizeBox, PadBox and BboxXYXY2XYWH: ground truth boxes in the form the loss reads."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.objects import ARRAYS, Sample
from ppdet_lite.data.transforms.transform import Context, Transform, image_size
from ppdet_lite.ops.boxes_np import xyxy_to_cxcywh


@register
class NormalizeBox(Transform):
    """Boxes from pixels to fractions of the image's width and height."""

    keeps_size = True
    takes_boxes = ("pixels",)
    makes_boxes = "fractions"

    def apply(self, sample: Sample, context: Context) -> Sample:
        height, width = image_size(sample)
        size = np.array([width, height, width, height], np.float32)
        return {**sample, "gt_bbox": sample["gt_bbox"] / size}


@register
@dataclass(eq=False)
class PadBox(Transform):
    """Zero rows up to `num_max_boxes`; objects beyond it are left out, counted and said once."""

    keeps_size = True
    pads_objects = True
    makes_boxes = "padded"

    num_max_boxes: kinds.Count = 50

    def apply(self, sample: Sample, context: Context) -> Sample:
        beyond = len(sample["gt_bbox"]) - self.num_max_boxes
        if beyond > 0:
            note = f"objects beyond PadBox.num_max_boxes {self.num_max_boxes} are left out"
            context.notes[note] += beyond
        padded = {key: value for key, value in sample.items() if key != "gt_poly"}
        for field in padded.keys() & set(ARRAYS):
            values = sample[field][: self.num_max_boxes]
            padded[field] = np.zeros((self.num_max_boxes, *values.shape[1:]), values.dtype)
            padded[field][: len(values)] = values
        return padded


@register
class BboxXYXY2XYWH(Transform):
    """Boxes from corners to center and size."""

    keeps_size = True
    takes_boxes = ("corners",)
    makes_boxes = "centers"

    def apply(self, sample: Sample, context: Context) -> Sample:
        return {**sample, "gt_bbox": xyxy_to_cxcywh(sample["gt_bbox"])}
