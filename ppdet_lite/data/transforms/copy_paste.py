"""Copy-Paste: objects of another image, cut out by their masks.

Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation",
arXiv:2012.07177, which table 5 of the YOLOX paper compares with mixup.
"""

from dataclasses import dataclass
from typing import Optional, Sequence

import cv2
import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.objects import (
    Sample,
    joined_objects,
    object_array,
    select_objects,
)
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image

_PARTS = 16
"""Polygons are drawn on a grid so much finer than pixels."""
_SHIFT = 4


@register
@dataclass(eq=False)
class CopyPaste(Transform):
    """Paste some objects of another image onto this one, while epoch < mosaic_epoch.

    The other image is fitted, scaled, mirrored half of the time and moved at random; of its objects
    with polygons each is pasted with `object_prob`. Objects that the pasted ones cover are left
    out, and the boxes of those that they cover partly become the bounds of what is still seen of
    their polygons; an object without polygons counts as filling its box and keeps it. Pasted boxes
    are the bounds of the part inside the image. `gt_score` stays, polygons are dropped afterwards.

    Args:
        prob: probability that anything is pasted.
        scale: [lower, upper] of the other image's scale, relative to the fitted size.
        object_prob: probability of each object of the other image.
    """

    takes_boxes = CORNERS
    keeps_size = True
    needs_partner = True
    switched_by = "mosaic_epoch"

    prob: kinds.Probability = 1.0
    scale: kinds.PositiveInterval = (0.1, 2.0)
    object_prob: kinds.Probability = 0.5

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if context.partner is None or rng.random() >= self.prob:
            return sample
        partner = context.partner()
        if partner.get("gt_poly") is None and len(partner.get("gt_bbox", ())):
            context.notes["images without polygons, of whose objects CopyPaste pastes none"] += 1
        chosen = self._choose(partner, rng)
        if not len(chosen):
            return sample
        size_hw = lazy_image(sample).size_hw
        pixels, polygons = self._placed(select_objects(partner, chosen), size_hw, rng)
        masks = [polygon_mask(own, size_hw) for own in polygons]
        seen = [index for index, mask in enumerate(masks) if mask.any()]
        if not seen:
            return sample
        pasted = np.zeros(size_hw, bool)
        for index in seen:
            pasted |= masks[index]
        image = lazy_image(sample).render()
        image[pasted] = pixels[pasted]
        added = select_objects(partner, chosen[seen])
        added["gt_bbox"] = np.stack([mask_bounds(masks[index]) for index in seen])
        below = uncovered(sample, pasted)
        result = {key: value for key, value in sample.items() if key != "gt_poly"}
        result.update(joined_objects([below, added]), image=LazyImage(image, context.clock))
        return result

    def _choose(self, partner: Sample, rng: np.random.Generator) -> np.ndarray:
        """Indices of objects with polygons, crowds not among them."""
        polygons = partner.get("gt_poly")
        count = len(partner.get("gt_bbox", ()))
        if polygons is None or not count:
            return np.zeros(0, np.int64)
        drawn = rng.random(count) < self.object_prob
        has_outline = np.array([any(len(part) >= 3 for part in own) for own in polygons], bool)
        crowd = object_array(partner, "is_crowd")[:, 0] > 0
        return np.flatnonzero(drawn & has_outline & ~crowd)

    def _placed(
        self, partner: Sample, size_hw: SizeHW, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        """The other image on a canvas of `size_hw`, and its polygons there."""
        other = lazy_image(partner)
        fit = min(size_hw[0] / other.size_hw[0], size_hw[1] / other.size_hw[1])
        factor = fit * rng.uniform(self.scale[0], self.scale[1])
        height, width = (max(int(side * factor + 0.5), 1) for side in other.size_hw)
        flip = rng.random() < 0.5
        # Anywhere inside if it is smaller than the canvas, else any window of it.
        left, top = (
            int(rng.integers(min(free, 0), max(free, 0) + 1))
            for free in (size_hw[1] - width, size_hw[0] - height)
        )
        pixels = other.resize(height, width, 1).render()
        pixels = cv2.flip(pixels, 1) if flip else pixels
        canvas = np.zeros((*size_hw, 3), np.uint8)
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + width, size_hw[1]), min(top + height, size_hw[0])
        canvas[y1:y2, x1:x2] = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        scale = np.array([width / other.size_hw[1], height / other.size_hw[0]])
        moved = []
        for own in partner["gt_poly"]:
            points = [np.asarray(part, np.float64).reshape(-1, 2) * scale for part in own]
            if flip:
                points = [np.stack([width - part[:, 0], part[:, 1]], axis=1) for part in points]
            moved.append([part + (left, top) for part in points])
        return canvas, moved


def polygon_mask(polygons: Sequence[np.ndarray], size_hw: SizeHW) -> np.ndarray:
    """The pixels inside and on one of the outlines [K, 2] of an object, bool [H, W]."""
    mask = np.zeros(size_hw, np.uint8)
    for points in polygons:
        if len(points) >= 3:
            # OpenCV counts from pixel centers, and takes numbers in sixteenths.
            fixed = np.round((np.asarray(points, np.float64) - 0.5) * _PARTS).astype(np.int32)
            cv2.fillPoly(mask, [fixed], 1, cv2.LINE_8, _SHIFT)
    return mask.view(bool)


def mask_bounds(mask: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 around the pixels of a mask that is not empty, float32 [4]."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def uncovered(sample: Sample, pasted: np.ndarray) -> Sample:
    """The objects of a sample that are still seen beside the pixels `pasted` [H, W], with the boxes
    of what is seen of them.
    """
    boxes_xyxy = object_array(sample, "gt_bbox").copy()
    keep = np.ones(len(boxes_xyxy), bool)
    for index, box in enumerate(boxes_xyxy):
        x1, y1 = np.floor(box[:2]).astype(int).clip(min=0)
        x2, y2 = np.ceil(box[2:]).astype(int)
        if not pasted[y1:y2, x1:x2].any():
            continue
        outline = _outline(sample, index)
        if outline is None:
            keep[index] = not pasted[y1:y2, x1:x2].all()
            continue
        mask = polygon_mask(outline, (pasted.shape[0], pasted.shape[1]))
        seen = mask & ~pasted
        keep[index] = seen.any()
        if keep[index] and (seen != mask).any():
            # No larger than before: the outline may be coarser than the box.
            tight = mask_bounds(seen)
            boxes_xyxy[index, :2] = np.maximum(box[:2], tight[:2])
            boxes_xyxy[index, 2:] = np.minimum(box[2:], tight[2:])
    return select_objects({**sample, "gt_bbox": boxes_xyxy}, np.flatnonzero(keep))


def _outline(sample: Sample, index: int) -> Optional[list[np.ndarray]]:
    """The polygons of an object, None without any."""
    polygons = sample.get("gt_poly")
    own = [] if polygons is None else polygons[index]
    return own if any(len(part) >= 3 for part in own) else None
