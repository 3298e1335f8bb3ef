"""CutMix: a rectangle of another image of the same size."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppdet_lite.core.annotations import Count
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.transforms.darknet.iteration import Draw, iteration, shared_rng
from ppdet_lite.data.transforms.objects import (
    Sample,
    joined_objects,
    object_array,
    select_objects,
)
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image


class PastedRect(NamedTuple):
    """The painter of a rectangle (corners as shares of the sides) of another image, which lies over
    this one at the same size.
    """

    image: LazyImage
    rect_xyxy: tuple[float, float, float, float]

    def draw(self, out: np.ndarray) -> None:
        height, width = out.shape[:2]
        left, top, right, bottom = self.rect_xyxy
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        out[rows, columns] = self.image.resize(height, width, 1).render()[rows, columns]


@register
@dataclass(eq=False)
class CutMix(Transform):
    """Replace a random rectangle by that of a partner (Yun et al., arXiv:1905.04899), while epoch <
    cutmix_epoch; for detection, which darknet does not offer.

    Labels are mixed by area, each object on its own: what is visible of its box is the weight
    `gt_score` (multiplied), and objects of which less than `min_visible` is visible are left out.
    Boxes shrink to what is visible where that is a rectangle. It comes after `JitterCrop` or
    another step that gives all images one size.

    Args:
        prob: share of the iterations with mixed images; all of theirs are.
        side: [lower, upper] of width and height of the rectangle as shares of the image's.
        min_visible: smallest visible share of a box.
        accumulate_steps: batches of an iteration.
    """

    __shared__ = ("accumulate_steps",)

    takes_boxes = CORNERS
    keeps_size = True
    needs_partner = True
    switched_by = "cutmix_epoch"

    prob: kinds.Probability = 0.5
    side: kinds.PositiveInterval = (0.3, 0.8)
    min_visible: kinds.Probability = 0.3
    accumulate_steps: Count = 1

    def __post_init__(self) -> None:
        if self.side[1] > 1:
            raise ConfigError(f"side: found {list(self.side)}, allowed: shares of at most 1")

    def apply(self, sample: Sample, context: Context) -> Sample:
        number = iteration(context, self.accumulate_steps)
        is_on = shared_rng(context, Draw.CUTMIX, number).random() < self.prob
        if context.partner is None or not is_on:
            return sample
        partner, rng = context.partner(), context.rng
        image, other = lazy_image(sample), lazy_image(partner)
        height, width = image.size_hw
        if other.size_hw != image.size_hw:
            raise ConfigError(
                f"CutMix: found images of {image.size_hw} and {other.size_hw} (height, width), "
                "allowed: one size, for instance after JitterCrop or Resize"
            )
        size_wh = np.rint(rng.uniform(self.side[0], self.side[1], 2) * (width, height))
        corner = np.floor(rng.random(2) * ((width, height) - size_wh + 1))
        rect_xyxy = np.concatenate([corner, corner + size_wh])
        parts = [
            self._weighted(one, *shown(object_array(one, "gt_bbox"), rect_xyxy))
            for one, shown in ((sample, beside_rect), (partner, inside_rect))
        ]
        mixed = {key: value for key, value in sample.items() if key != "gt_poly"}
        mixed.update(joined_objects(parts))
        left, top, right, bottom = (rect_xyxy / (width, height, width, height)).tolist()
        mixed["image"] = image.paint(PastedRect(other, (left, top, right, bottom)))
        return mixed

    def _weighted(self, sample: Sample, visible_xyxy: np.ndarray, shares: np.ndarray) -> Sample:
        scores = object_array(sample, "gt_score") * shares[:, None]
        changed = {**sample, "gt_bbox": visible_xyxy.astype(np.float32)}
        changed["gt_score"] = scores.astype(np.float32)
        return select_objects(changed, np.flatnonzero((shares >= self.min_visible) & (shares > 0)))


def beside_rect(boxes_xyxy: np.ndarray, rect_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [N, 4] that a rectangle lies over: cut at a side where it spans the other axis, and the
    share of each that it leaves visible [N].
    """
    boxes_xyxy = boxes_xyxy.astype(np.float64)
    covered, visible = _cut(boxes_xyxy, rect_xyxy), boxes_xyxy.copy()
    starts, ends = covered[:, :2] <= boxes_xyxy[:, :2], covered[:, 2:] >= boxes_xyxy[:, 2:]
    for axis in (0, 1):
        spans = starts[:, 1 - axis] & ends[:, 1 - axis] & (_areas(covered) > 0)
        first, last = spans & starts[:, axis], spans & ends[:, axis] & ~starts[:, axis]
        visible[first, axis] = covered[first, axis + 2]
        visible[last, axis + 2] = covered[last, axis]
    return visible, 1 - _areas(covered) / np.maximum(_areas(boxes_xyxy), 1e-9)


def inside_rect(boxes_xyxy: np.ndarray, rect_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The parts of boxes [N, 4] inside a rectangle, and their share of each box [N]."""
    boxes_xyxy = boxes_xyxy.astype(np.float64)
    visible = _cut(boxes_xyxy, rect_xyxy)
    return visible, _areas(visible) / np.maximum(_areas(boxes_xyxy), 1e-9)


def _cut(boxes_xyxy: np.ndarray, rect_xyxy: np.ndarray) -> np.ndarray:
    """The parts of boxes inside a rectangle; without width or height where there is none."""
    low = np.maximum(boxes_xyxy[:, :2], rect_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], rect_xyxy[2:])
    return np.hstack([low, np.maximum(low, high)])


def _areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    areas: np.ndarray = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    return areas
