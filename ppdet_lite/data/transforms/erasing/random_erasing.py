"""RandomErasing: a rectangle of noise on the image or on its objects."""

import math
from dataclasses import dataclass
from typing import Literal, Optional

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.filled_rects import FilledRects
from ppdet_lite.data.pixels.image_ops import fill_to_uint8
from ppdet_lite.data.transforms.objects import Sample, object_array
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image

_ATTEMPTS = 100


@register
@dataclass(eq=False)
class RandomErasing(Transform):
    """Cover a random rectangle (Zhong et al., arXiv:1708.04896). Boxes stay.

    Args:
        prob: probability of each rectangle.
        area: [lower, upper] of its area as a share of the image's, or of the object's.
        aspect: [lower, upper] of height / width.
        where: "image" for one on the image (the paper's IRE), "objects" for one in each box (ORE),
            or "both" (I+ORE).
        fill_value: color, one number or R, G, B in 0..255; None for noise.
    """

    takes_boxes = CORNERS
    keeps_size = True

    prob: kinds.Probability = 0.5
    area: kinds.PositiveInterval = (0.02, 0.4)
    aspect: kinds.PositiveInterval = (0.3, 1 / 0.3)
    where: Literal["image", "objects", "both"] = "both"
    fill_value: Optional[kinds.Fill] = None

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng, image = context.rng, lazy_image(sample)
        height, width = image.size_hw
        regions = [np.array([0, 0, width, height], np.float64)] if self.where != "objects" else []
        if self.where != "image":
            regions += list(object_array(sample, "gt_bbox").astype(np.float64))
        rects = [self._draw_rect(region, rng) for region in regions if rng.random() < self.prob]
        rects_xyxy = np.array([rect for rect in rects if rect is not None]).reshape(-1, 4)
        if not len(rects_xyxy):
            return sample
        color = None if self.fill_value is None else fill_to_uint8(self.fill_value)
        shares = rects_xyxy / np.array([width, height, width, height], np.float64)
        painter = FilledRects(shares, color, int(rng.integers(2**32)))
        return {**sample, "image": image.paint(painter)}

    def _draw_rect(self, region: np.ndarray, rng: np.random.Generator) -> Optional[np.ndarray]:
        """Corners of a rectangle inside the region; None where no shape fits."""
        left, top, right, bottom = region
        width, height = right - left, bottom - top
        for _ in range(_ATTEMPTS):
            size = rng.uniform(self.area[0], self.area[1]) * width * height
            ratio = rng.uniform(self.aspect[0], self.aspect[1])
            h, w = math.sqrt(size * ratio), math.sqrt(size / ratio)
            if h < height and w < width:
                x, y = left + rng.uniform(0, width - w), top + rng.uniform(0, height - h)
                return np.array([x, y, x + w, y + h])
        return None
