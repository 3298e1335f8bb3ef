"""RandomExpand and RandomFlip: the image on a larger canvas, the image mirrored."""

from dataclasses import dataclass

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.objects import Sample, moved_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image


@register
@dataclass(eq=False)
class RandomExpand(Transform):
    """Place the image at random on a canvas up to `ratio` times as large.

    Args:
        ratio: both sides grow by the same factor drawn from U(1, ratio). PaddleDetection's PP-YOLO
            files mean 4 by leaving it out; those of its first release said 2.
        fill_value: color of the canvas, one number or R, G, B in 0..255.
    """

    takes_boxes = CORNERS

    ratio: kinds.Ratio = 4.0
    prob: kinds.Probability = 0.5
    fill_value: kinds.Fill = (127.5, 127.5, 127.5)

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
        return {**sample, "image": image, **moved_objects(sample, shift_xy=(left, top))}


@register
@dataclass(eq=False)
class RandomFlip(Transform):
    """Mirror the image left-right with probability `prob`."""

    takes_boxes = CORNERS
    keeps_size = True

    prob: kinds.Probability = 0.5

    def apply(self, sample: Sample, context: Context) -> Sample:
        if context.rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        moved = moved_objects(sample, (-1.0, 1.0), (image.size_hw[1], 0.0))
        if "gt_bbox" in moved:  # left edges have become right ones
            moved["gt_bbox"] = moved["gt_bbox"][:, [2, 1, 0, 3]]
        return {**sample, **moved, "image": image.flip()}
