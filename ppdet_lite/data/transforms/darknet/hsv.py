"""DarknetHSV: random hue, saturation and exposure."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.distort import HsvChange
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image


@register
@dataclass(eq=False)
class DarknetHSV(Transform):
    """Shift the hue and multiply saturation and value, always, as darknet does; the hue goes on at
    the other end of its circle, where darknet's stops at 0.

    Args:
        hue: the shift is drawn from U(-hue, hue) of the circle.
        saturation, exposure: the factor is drawn from U(1, s), or is 1 over such a number.
    """

    keeps_size = True

    hue: kinds.Probability = 0.1
    saturation: kinds.Factor = 1.5
    exposure: kinds.Factor = 1.5

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        shift = float(rng.uniform(-self.hue, self.hue)) * 179
        factors = (1.0, _scale(rng, self.saturation), _scale(rng, self.exposure))
        change = HsvChange(shift=(shift, 0.0, 0.0), factor=factors)
        return {**sample, "image": lazy_image(sample).recolor(change)}


def _scale(rng: np.random.Generator, largest: float) -> float:
    """A factor of U(1, largest), or 1 over one, with equal odds."""
    factor = float(rng.uniform(1, largest))
    return factor if rng.random() < 0.5 else 1 / factor
