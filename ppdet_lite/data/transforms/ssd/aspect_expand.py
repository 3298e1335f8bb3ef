"""AspectExpand: the image on a larger canvas of another shape."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.expand_flip import RandomExpand
from ppdet_lite.data.transforms.objects import Sample, moved_objects
from ppdet_lite.data.transforms.transform import Context, lazy_image

ATTEMPTS = 50


@register
@dataclass(eq=False)
class AspectExpand(RandomExpand):
    """`RandomExpand` whose sides grow by s * r and s / r: s is drawn from U(1, ratio) and r^2 from
    1/2 to 2, or from 1/s^2 to s^2 where that is less. Draws that would cut the image are repeated.
    """

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        height, width = image.size_hw
        scale = rng.uniform(1.0, self.ratio, ATTEMPTS)
        lower, upper = np.maximum(0.5, scale**-2), np.minimum(2.0, scale**2)
        shape = np.sqrt(lower + (upper - lower) * rng.random(ATTEMPTS))
        factors = np.stack([scale / shape, scale * shape], axis=1)  # of height and width
        fitting = factors[(factors >= 1).all(axis=1)]
        if len(fitting) == 0:
            return sample
        new_height, new_width = (int(n) for n in fitting[0] * (height, width))
        top = int(rng.integers(0, new_height - height + 1))
        left = int(rng.integers(0, new_width - width + 1))
        image = image.expand(new_width, new_height, left, top, self.fill_value)
        return {**sample, "image": image, **moved_objects(sample, shift_xy=(left, top))}
