"""GridMask: squares of a regular grid hidden."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.filled_rects import FilledRects
from ppdet_lite.data.pixels.image_ops import fill_to_uint8
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image


@register
@dataclass(eq=False)
class GridMask(Transform):
    """Hide one square per unit of a grid at a random place (Chen et al., arXiv:2001.04086, without
    its rotation). Boxes stay.

    Args:
        prob: probability, reached after `growing_epochs`; it rises evenly from 0 until then.
        unit: [lower, upper] of the unit's side, as a share of the shorter side of the image.
        ratio: share of a unit's side that stays visible; a square of 1 - ratio is hidden.
        fill_value: color, one number or R, G, B in 0..255.
    """

    keeps_size = True

    prob: kinds.Probability = 0.7
    unit: kinds.PositiveInterval = (0.25, 0.6)
    ratio: kinds.Probability = 0.6
    growing_epochs: kinds.Whole = 0
    fill_value: kinds.Fill = 0

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        grown = min(1.0, context.epoch / self.growing_epochs) if self.growing_epochs else 1.0
        if rng.random() >= self.prob * grown:
            return sample
        image = lazy_image(sample)
        sides = np.array(image.size_hw[::-1], np.float64)
        unit = (
            rng.uniform(self.unit[0], self.unit[1]) * sides.min() / sides
        )  # shares of width and height
        hidden, offset = unit * (1 - self.ratio), -unit * rng.random(2)
        lefts, tops = (np.arange(start, 1, step) for start, step in zip(offset, unit))
        x, y = (values.ravel() for values in np.meshgrid(lefts, tops))
        rects_xyxy = np.stack([x, y, x + hidden[0], y + hidden[1]], axis=1)
        return {
            **sample,
            "image": image.paint(FilledRects(rects_xyxy, fill_to_uint8(self.fill_value))),
        }
