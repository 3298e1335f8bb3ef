"""DarknetMixup: two images of one size averaged."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.darknet.iteration import Draw, iteration, shared_rng
from ppdet_lite.data.transforms.objects import Sample, joined_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image


class BlendedImage(NamedTuple):
    """The painter of another image, at the size of the first, with its share."""

    image: LazyImage
    share: float

    def draw(self, out: np.ndarray) -> None:
        other = self.image.resize(out.shape[0], out.shape[1], 1).render()
        cv2.addWeighted(out, 1 - self.share, other, self.share, 0, dst=out)


@register
@dataclass(eq=False)
class DarknetMixup(Transform):
    """Average the image and a partner of the same size, while epoch < mixup_epoch. The objects of
    both stay, with full weight. It comes after `JitterCrop`, which makes the sizes equal.

    Args:
        prob: share of the iterations with mixed images; all of theirs are.
        accumulate_steps: batches of an iteration.
    """

    __shared__ = ("accumulate_steps",)

    takes_boxes = CORNERS
    keeps_size = True
    needs_partner = True
    switched_by = "mixup_epoch"

    prob: kinds.Probability = 0.5
    accumulate_steps: Count = 1

    def apply(self, sample: Sample, context: Context) -> Sample:
        number = iteration(context, self.accumulate_steps)
        is_on = shared_rng(context, Draw.MIXUP, number).random() < self.prob
        if context.partner is None or not is_on:
            return sample
        partner = context.partner()
        image, other = lazy_image(sample), lazy_image(partner)
        if other.size_hw != image.size_hw:
            raise ValueError(f"mixup of {image.size_hw} and {other.size_hw} (height, width)")
        mixed = {key: value for key, value in sample.items() if key != "gt_poly"}
        mixed.update(joined_objects([sample, partner]))
        return {**mixed, "image": image.paint(BlendedImage(other, 0.5))}
