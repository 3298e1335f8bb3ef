"""Mixup: two images in one (Zhang et al., "mixup: Beyond Empirical Risk Minimization")."""

from typing import Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.transforms.transform import Context, Transform, ensure_context, lazy_image

# What stands for a field that only one of the two images has.
_MISSING = {"gt_class": 0, "gt_score": 1, "is_crowd": 0, "difficult": 0}


@register
class Mixup(Transform):
    """Blend the image with a partner drawn from the whole data set.

    Both lie in the top-left corner of a black canvas of the larger width and height. The objects of
    both stay, with `gt_score` = their image's share; the share is drawn from Beta(alpha, beta).
    The reader hands out partners while epoch < mixup_epoch.
    """

    needs_partner = True
    switched_by = "mixup_epoch"

    def __init__(self, alpha: float = 1.5, beta: float = 1.5):
        if alpha <= 0 or beta <= 0:
            raise ConfigError(f"alpha and beta must be above 0, found {alpha} and {beta}")
        self.alpha = alpha
        self.beta = beta

    def __call__(self, sample: dict, context: Optional[Context] = None) -> dict:
        context = ensure_context(context)
        if context.partner is None:
            return sample
        partner = context.partner()
        return self.mix(sample, partner, float(context.rng.beta(self.alpha, self.beta)))

    def mix(self, sample: dict, partner: dict, factor: float) -> dict:
        """The blend of two samples: factor * sample + (1 - factor) * partner."""
        mixed = dict(sample)
        mixed["image"] = lazy_image(sample).mix(lazy_image(partner), factor)
        mixed["im_shape"] = np.array(mixed["image"].size_hw, np.float32)
        if "gt_bbox" not in sample or "gt_bbox" not in partner:
            return mixed
        mixed["gt_bbox"] = np.concatenate([sample["gt_bbox"], partner["gt_bbox"]])
        for field in _MISSING:
            if field in sample or field in partner or field == "gt_score":
                mixed[field] = np.concatenate([_column(sample, field), _column(partner, field)])
        shares = np.repeat([factor, 1 - factor], [len(sample["gt_bbox"]), len(partner["gt_bbox"])])
        mixed["gt_score"] = (mixed["gt_score"] * shares[:, None]).astype(np.float32)
        if sample.get("gt_poly") is not None or partner.get("gt_poly") is not None:
            mixed["gt_poly"] = _polygons(sample) + _polygons(partner)
        return mixed


def _column(sample: dict, field: str) -> np.ndarray:
    if field in sample:
        return sample[field]
    kind = np.float32 if field == "gt_score" else np.int32
    return np.full((len(sample["gt_bbox"]), 1), _MISSING[field], kind)


def _polygons(sample: dict) -> list:
    """Polygons per object, empty lists for an image that has none."""
    known = sample.get("gt_poly")
    return [[] for _ in sample["gt_bbox"]] if known is None else list(known)
