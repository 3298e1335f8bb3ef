"""Mixup: two images in one (Zhang et al., "mixup: Beyond Empirical Risk Minimization")."""

from dataclasses import dataclass

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.objects import Sample, joined_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image


@register
@dataclass(eq=False)
class Mixup(Transform):
    """Blend the image with a partner drawn from the whole data set, while epoch < mixup_epoch.

    Both lie in the top-left corner of a black canvas of the larger width and height. The objects of
    both stay, with `gt_score` = their image's share; the share is drawn from Beta(alpha, beta).
    """

    takes_boxes = CORNERS
    needs_partner = True
    switched_by = "mixup_epoch"

    alpha: kinds.Positive = 1.5
    beta: kinds.Positive = 1.5

    def apply(self, sample: Sample, context: Context) -> Sample:
        if context.partner is None:
            return sample
        return self.mix(sample, context.partner(), context.rng.beta(self.alpha, self.beta))

    def mix(self, sample: Sample, partner: Sample, factor: float) -> Sample:
        """The blend of two samples: factor * sample + (1 - factor) * partner."""
        mixed = {**sample, "image": lazy_image(sample).mix(lazy_image(partner), factor)}
        mixed["im_shape"] = np.array(mixed["image"].size_hw, np.float32)
        if "gt_bbox" not in sample or "gt_bbox" not in partner:
            return mixed
        for field, values in joined_objects([sample, partner]).items():
            if field in sample or field in partner or field == "gt_score":
                mixed[field] = values
        shares = np.repeat([factor, 1 - factor], [len(sample["gt_bbox"]), len(partner["gt_bbox"])])
        mixed["gt_score"] = (mixed["gt_score"] * shares[:, None]).astype(np.float32)
        polygons = [one.get("gt_poly") for one in (sample, partner)]
        if any(own is not None for own in polygons):
            mixed["gt_poly"] = [
                outlines
                for one, own in zip((sample, partner), polygons)
                for outlines in ([[]] * len(one["gt_bbox"]) if own is None else own)
            ]
        return mixed
