"""RandomExpand and RandomFlip: the image on a larger canvas, the image mirrored."""

from typing import Optional, Sequence, Union

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.transform import (
    Context,
    Transform,
    checked_probability,
    ensure_context,
    image_size,
    lazy_image,
    move_polygons,
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
        self,
        ratio: float = 4.0,
        prob: float = 0.5,
        fill_value: Union[float, Sequence[float]] = (127.5, 127.5, 127.5),
    ):
        if ratio <= 1.01:
            raise ConfigError(f"ratio: found {ratio}, allowed: a number above 1.01")
        if not np.isscalar(fill_value) and len(fill_value) != 3:
            raise ConfigError(f"fill_value: found {list(fill_value)}, allowed: one number or three")
        self.ratio = ratio
        self.prob = checked_probability(prob, "prob")
        self.fill_value = fill_value

    def __call__(self, sample: dict, context: Optional[Context] = None) -> dict:
        rng = ensure_context(context).rng
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
        expanded = dict(sample)
        expanded["image"] = image.expand(new_width, new_height, left, top, self.fill_value)
        if "gt_bbox" in sample:
            shift = np.array([left, top, left, top], np.float32)
            expanded["gt_bbox"] = sample["gt_bbox"] + shift
        polygons = move_polygons(sample, shift_xy=(left, top))
        if polygons is not None:
            expanded["gt_poly"] = polygons
        return expanded


@register
class RandomFlip(Transform):
    """Mirror the image left-right with probability `prob`."""

    keeps_size = True

    def __init__(self, prob: float = 0.5):
        self.prob = checked_probability(prob, "prob")

    def __call__(self, sample: dict, context: Optional[Context] = None) -> dict:
        if ensure_context(context).rng.random() >= self.prob:
            return sample
        width = image_size(sample)[1]
        flipped = {**sample, "image": lazy_image(sample).flip()}
        if "gt_bbox" in sample:
            boxes_xyxy = sample["gt_bbox"].copy()
            boxes_xyxy[:, 0] = width - sample["gt_bbox"][:, 2]
            boxes_xyxy[:, 2] = width - sample["gt_bbox"][:, 0]
            flipped["gt_bbox"] = boxes_xyxy
        polygons = move_polygons(sample, (-1.0, 1.0), (width, 0.0))
        if polygons is not None:
            flipped["gt_poly"] = polygons
        return flipped
