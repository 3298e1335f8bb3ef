"""JitterCrop: a random crop that may leave its image, brought to the network's size."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pasted_crop import PastedCrop
from ppdet_lite.data.transforms.objects import Sample, object_array, select_objects
from ppdet_lite.data.transforms.transform import (
    CORNERS,
    Context,
    ImageSizes,
    Transform,
    lazy_image,
)


class Crop(NamedTuple):
    """What is cut off each side of an image, in its pixels, negative for a border that is added;
    and True in `flip` for a crop that is mirrored afterwards.
    """

    left: int
    right: int
    top: int
    bottom: int
    flip: bool = False

    def xywh(self, size_hw: SizeHW) -> tuple[int, int, int, int]:
        """Left, top, width and height of the crop of an image of `size_hw`."""
        width = max(size_hw[1] - self.left - self.right, 1)
        return self.left, self.top, width, max(size_hw[0] - self.top - self.bottom, 1)


class FoundBoxes(NamedTuple):
    """Boxes [N, 4] (corners) of the objects `kept`, indices into those that there were."""

    boxes_xyxy: np.ndarray
    kept: np.ndarray


def crop_boxes(boxes_xyxy: np.ndarray, size_hw: SizeHW, crop: Crop, net_hw: SizeHW) -> FoundBoxes:
    """Boxes of an image of `size_hw` on the crop, brought to `net_hw`: cut to it, and left out
    where less than a pixel of width or height, or not the center, is inside.
    """
    left, top, width, height = crop.xywh(size_hw)
    image_hw, sides = np.array(size_hw[::-1] * 2, np.float64), np.array(net_hw[::-1] * 2)
    inside = (boxes_xyxy[:, 2:] >= 0).all(axis=1) & (boxes_xyxy[:, :2] <= image_hw[:2]).all(axis=1)
    moved = (boxes_xyxy.astype(np.float64) - (left, top) * 2) / ((width, height) * 2)
    if crop.flip:
        moved[:, [0, 2]] = 1 - moved[:, [2, 0]]
    moved = np.clip(moved, 0, 1) * sides
    center = (moved[:, :2] + moved[:, 2:]) / 2
    size = moved[:, 2:] - moved[:, :2]
    kept = inside & (size >= 1).all(axis=1) & (center > 0).all(axis=1)
    return FoundBoxes(moved[kept].astype(np.float32), np.flatnonzero(kept))


@register
@dataclass(eq=False)
class JitterCrop(Transform):
    """Cut or add a random border at every side, perhaps mirror, and bring the crop to `target_size`
    without keeping its shape, as darknet does.

    The border that is added has the mean color of the image. Boxes are cut to the crop, and left
    out where under one pixel or with the center outside; no share of them needs to be visible. The
    order of the objects is random.

    Args:
        target_size: size of the result; at the size of a later resize it is drawn at once.
        jitter: each border is drawn from U(-jitter, jitter) of the side.
        resize: 1, or r for borders that zoom by up to r and 1 / r (below 1: only out).
        letterbox: the crop gets the shape of `target_size` first, by borders.
        flip: probability of mirroring.
    """

    takes_boxes = CORNERS

    target_size: kinds.Size
    jitter: kinds.Jitter = 0.3
    resize: kinds.Zoom = 1.0
    letterbox: bool = False
    flip: kinds.Probability = 0.5

    def __post_init__(self) -> None:
        self.net_hw = kinds.height_width(self.target_size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = lazy_image(sample)
        crop = self.draw_crop(image.size_hw, context.rng)
        boxes_xyxy, order = shuffled_boxes(sample, context.rng)
        found = crop_boxes(boxes_xyxy, image.size_hw, crop, self.net_hw)
        painter = PastedCrop(image, crop.xywh(image.size_hw), crop.flip)
        canvas = LazyImage.canvas(self.net_hw, context.clock).paint(painter)
        return self.with_image(with_boxes(sample, found.boxes_xyxy, order[found.kept]), canvas)

    def with_image(self, sample: Sample, image: LazyImage) -> Sample:
        """The sample with an image of the network's size; without its polygons."""
        height, width = self.net_hw
        sides: dict[str, Any] = {"image": image, "h": height, "w": width}
        shape, scale = np.array(self.net_hw, np.float32), np.ones(2, np.float32)
        kept = {key: value for key, value in sample.items() if key != "gt_poly"}
        return {**kept, **sides, "im_shape": shape, "scale_factor": scale}

    def draw_crop(self, size_hw: SizeHW, rng: np.random.Generator) -> Crop:
        """A crop of an image of this size."""
        height, width = size_hw
        amounts = rng.uniform(-1, 1, 4)
        left, right = (int(int(width * self.jitter) * amount) for amount in amounts[:2])
        top, bottom = (int(int(height * self.jitter) * amount) for amount in amounts[2:])
        low, high = (1 - max(1 / self.resize, self.resize)) / 2, 0.0
        if self.resize >= 1:
            high = (1 - 1 / self.resize) / 2
        first, second = rng.uniform(
            0, 1, 2
        )  # left and top share one draw, right and bottom another
        zooms = [low + (high - low) * share for share in (first, second)]
        left, right = left + int(width * zooms[0]), right + int(width * zooms[1])
        top, bottom = top + int(height * zooms[0]), bottom + int(height * zooms[1])
        if self.letterbox:
            shape = width / height / (self.net_hw[1] / self.net_hw[0])
            if shape > 1:
                border = int(height * (shape - 1) / 2)
                top, bottom = top - border, bottom - border
            else:
                border = int(width * (1 / shape - 1) / 2)
                left, right = left - border, right - border
        return Crop(left, right, top, bottom, bool(rng.random() < self.flip))

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.net_hw,), f"{type(self).__name__}.target_size")


def shuffled_boxes(sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The boxes [N, 4] in random order, and the index of each in the sample [N]."""
    boxes_xyxy = object_array(sample, "gt_bbox")
    order = rng.permutation(len(boxes_xyxy))
    return boxes_xyxy[order], order


def with_boxes(sample: Sample, boxes_xyxy: np.ndarray, indices: np.ndarray) -> Sample:
    """The sample with only the objects at `indices`, in that order, at their new places."""
    if "gt_bbox" not in sample:
        return sample
    return {**select_objects(sample, indices), "gt_bbox": boxes_xyxy}
