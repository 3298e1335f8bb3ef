"""HideAndSeek: patches of a grid hidden at random."""

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.filled_rects import FilledRects
from ppdet_lite.data.pixels.image_ops import fill_to_uint8
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform, lazy_image


@register
@dataclass(eq=False)
class HideAndSeek(Transform):
    """Cut the image into a grid and hide each patch with a probability (Singh and Lee,
    arXiv:1704.04232). Boxes stay.

    Args:
        prob: probability that anything is hidden; an image in four stays whole in the paper.
        patches: numbers of patches per side, one of which is drawn.
        hide_prob: probability of each patch.
        fill_value: color, one number or R, G, B in 0..255; the paper's is the mean of its data.
    """

    keeps_size = True

    prob: kinds.Probability = 0.75
    patches: Sequence[kinds.Count] = (4, 5, 7, 14)
    hide_prob: kinds.Probability = 0.5
    fill_value: kinds.Fill = (123.675, 116.28, 103.53)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        count = int(rng.choice(np.asarray(self.patches)))
        rows, columns = np.nonzero(rng.random((count, count)) < self.hide_prob)
        rects_xyxy = np.stack([columns, rows, columns + 1, rows + 1], axis=1) / count
        painter = FilledRects(rects_xyxy, fill_to_uint8(self.fill_value))
        return {**sample, "image": lazy_image(sample).paint(painter)}
