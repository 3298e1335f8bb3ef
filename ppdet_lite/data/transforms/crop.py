"""RandomCrop: a window that keeps enough of some object (the SSD sampling, Liu et al.)."""

from dataclasses import dataclass
from typing import Literal, Optional, Sequence

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.transforms.objects import Sample, clip_polygons, moved_objects, select_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes, coverage_matrix, iou_matrix, near_boxes


@register
@dataclass(eq=False)
class RandomCrop(Transform):
    """Cut a random window whose best overlap with an object reaches a random threshold.

    The thresholds are tried in random order, each with `num_attempts` windows. Objects whose center
    lies in the window stay, their boxes cut to it. An image without objects stays whole.

    Args:
        aspect_ratio: [lower, upper] of width / height of the window relative to the image's; None
            draws both sides independently and refuses windows beyond 0.5..2.
        thresholds: smallest allowed best overlap.
        scaling: [lower, upper] of the window's side relative to the image's.
        allow_no_crop: "no crop" is one of the choices.
        cover_all_box: every object must reach the threshold, not only one.
        is_mask_crop: boxes that the window cuts become the bounds of the part of their polygons
            inside; objects whose polygons lie outside are dropped. Objects without polygons, or
            with such as do not fit their box, keep the cut box.
        ioumode: "iou", or "iof" for overlap / area of the object.
    """

    takes_boxes = CORNERS

    aspect_ratio: Optional[kinds.PositiveInterval] = (0.5, 2.0)
    thresholds: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    scaling: kinds.PositiveInterval = (0.3, 1.0)
    num_attempts: kinds.Count = 50
    allow_no_crop: bool = True
    cover_all_box: bool = False
    is_mask_crop: bool = False
    ioumode: Literal["iou", "iof"] = "iou"

    def __post_init__(self) -> None:
        self.choices = [*self.thresholds, None] if self.allow_no_crop else list(self.thresholds)
        self.lower, self.upper = self.scaling
        self.overlap = coverage_matrix if self.ioumode == "iof" else iou_matrix

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        boxes_xyxy = sample.get("gt_bbox")
        if boxes_xyxy is None or len(boxes_xyxy) == 0:
            return sample
        boxes_xyxy = boxes_xyxy.astype(np.float64)
        height, width = lazy_image(sample).size_hw
        for index in rng.permutation(len(self.choices)):
            threshold = self.choices[index]
            if threshold is None:
                return sample
            windows_xyxy = self._draw_windows(rng, height, width)
            inside = _inside(boxes_xyxy, windows_xyxy)
            allowed = inside.any(axis=0)
            if threshold > 0:
                shares = self.overlap(boxes_xyxy, windows_xyxy)
                best = shares.min(axis=0) if self.cover_all_box else shares.max(axis=0)
                allowed &= best >= threshold
            for number in np.flatnonzero(allowed):
                keep = np.flatnonzero(inside[:, number])
                cropped = self._crop(sample, windows_xyxy[number], keep, context)
                if cropped is not None:
                    return cropped
        return sample

    def _draw_windows(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """`num_attempts` windows (whole-number corners, float64 [K, 4]) without refused shapes."""
        count = self.num_attempts
        size_hw = np.array([[height], [width]], np.float64)
        if self.aspect_ratio is None:
            scale_hw = rng.uniform(self.lower, self.upper, (2, count))
        else:
            scale = rng.uniform(self.lower, self.upper, count)
            square = scale * scale
            lower = np.maximum(self.aspect_ratio[0], square)
            upper = np.minimum(self.aspect_ratio[1], 1 / square)
            root = np.sqrt(lower + (upper - lower) * rng.random(count))
            scale_hw = np.stack([scale / root, scale * root])
        crop_hw = np.minimum(np.maximum(np.floor(size_hw * scale_hw), 1), size_hw)
        top_left = np.floor(rng.random((2, count)) * (size_hw - crop_hw))
        windows_xyxy = np.concatenate([top_left[::-1], (top_left + crop_hw)[::-1]]).T
        if self.aspect_ratio is None:
            shape_hw = size_hw * scale_hw
            windows_xyxy = windows_xyxy[np.abs(np.log2(shape_hw[0] / shape_hw[1])) <= 1]
        return windows_xyxy

    def _crop(
        self, sample: Sample, window: np.ndarray, keep: np.ndarray, context: Context
    ) -> Optional[Sample]:
        """The sample cut to the window with the objects `keep`, None when no object is left."""
        left, top, right, bottom = (int(edge) for edge in window)
        width, height = right - left, bottom - top
        cropped = select_objects(sample, keep)
        cropped.update(moved_objects(cropped, shift_xy=(-left, -top)))
        boxes_xyxy = cropped["gt_bbox"]
        cropped["gt_bbox"] = clip_boxes(boxes_xyxy, height, width)
        if self.is_mask_crop and cropped.get("gt_poly") is not None:
            cropped = _fit_to_polygons(cropped, boxes_xyxy, (width, height), context)
        if len(cropped["gt_bbox"]) == 0:
            return None
        cropped["image"] = lazy_image(sample).crop(left, top, width, height)
        return cropped


def _inside(boxes_xyxy: np.ndarray, windows_xyxy: np.ndarray) -> np.ndarray:
    """True where the center of a box lies in a window and some of the box does: [N, K]."""
    x1, y1, x2, y2 = boxes_xyxy.T[:, :, None]
    left, top, right, bottom = windows_xyxy.T
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    # Such a window holds some of the box unless the box has no width or height.
    solid = (x1 < x2) & (y1 < y2)
    inside: np.ndarray = (left <= x) & (x < right) & (top <= y) & (y < bottom) & solid
    return inside


def _fit_to_polygons(
    sample: Sample, uncut_xyxy: np.ndarray, window_wh: tuple[int, int], context: Context
) -> Sample:
    """See `RandomCrop.is_mask_crop`; `uncut_xyxy` are the boxes before the window cut them."""
    boxes_xyxy, polygons = sample["gt_bbox"].copy(), list(sample["gt_poly"])
    keep = np.ones(len(boxes_xyxy), bool)
    for index in np.flatnonzero((boxes_xyxy != uncut_xyxy).any(axis=1)):
        if not any(len(points) for points in polygons[index]):
            continue
        if not near_boxes(_bounds(polygons[index]), uncut_xyxy[[index]])[0]:
            context.notes["objects whose polygons do not fit their box keep the cut box"] += 1
            continue
        polygons[index] = clip_polygons(polygons[index], *window_wh)
        keep[index] = bool(polygons[index])
        if keep[index]:
            boxes_xyxy[index] = _bounds(polygons[index])
    sample = {**sample, "gt_bbox": boxes_xyxy, "gt_poly": polygons}
    return sample if keep.all() else select_objects(sample, np.flatnonzero(keep))


def _bounds(polygons: Sequence[np.ndarray]) -> np.ndarray:
    """x1, y1, x2, y2 around all points of the outlines, [1, 4]."""
    points = np.concatenate(polygons)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])[None]
