"""RandomExpand and RandomFlip: the image on a larger canvas, the image mirrored."""

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.pixels.image_ops import FillValue
from ppdet_lite.data.transforms.objects import Sample, moved_polygons, shifted_objects
from ppdet_lite.data.transforms.transform import (
    Context,
    Transform,
    checked_fill,
    checked_probability,
    image_size,
    lazy_image,
)


@register
class RandomExpand(Transform):
    """Place the image at random on a canvas up to `ratio` times as large.

    Args:
        ratio: both sides grow by the same factor drawn from U(1, ratio). PaddleDetection's PP-YOLO
            files mean 4 by leaving it out; those of its first release said 2.
        prob: probability of expanding.
        fill_value: color of the canvas, one number or R, G, B in 0..255.
    """

    def __init__(
        self, ratio: float = 4.0, prob: float = 0.5, fill_value: FillValue = (127.5, 127.5, 127.5)
    ):
        if ratio <= 1.01:
            raise ConfigError(f"ratio: found {ratio}, allowed: a number above 1.01")
        self.ratio = ratio
        self.prob = checked_probability(prob, "prob")
        self.fill_value = checked_fill(fill_value)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        height, width = image.size_hw
        ratio = rng.uniform(1.0, self.ratio)
        new_height, new_width = int(height * ratio), int(width * ratio)
        if new_height <= height or new_width <= width:
            return sample
        top = int(rng.integers(0, new_height - height))
        left = int(rng.integers(0, new_width - width))
        image = image.expand(new_width, new_height, left, top, self.fill_value)
        return {**sample, "image": image, **shifted_objects(sample, left, top)}


@register
class RandomFlip(Transform):
    """Mirror the image left-right with probability `prob`."""

    keeps_size = True

    def __init__(self, prob: float = 0.5):
        self.prob = checked_probability(prob, "prob")

    def apply(self, sample: Sample, context: Context) -> Sample:
        if context.rng.random() >= self.prob:
            return sample
        width = image_size(sample)[1]
        flipped = {**sample, "image": lazy_image(sample).flip()}
        if "gt_bbox" in sample:
            x1, y1, x2, y2 = sample["gt_bbox"].T
            flipped["gt_bbox"] = np.stack([width - x2, y1, width - x1, y2], axis=1)
        return {**flipped, **moved_polygons(sample, (-1.0, 1.0), (width, 0.0))}
