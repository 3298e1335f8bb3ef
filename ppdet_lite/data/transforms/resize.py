"""Resize and BatchRandomResize: the size that goes into the network."""

from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from ppdet_lite.core.annotations import describe, matches
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.resampling import resized_size
from ppdet_lite.data.transforms.objects import Sample, moved_objects
from ppdet_lite.data.transforms.transform import CORNERS, Context, ImageSizes, Transform, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes


@register
@dataclass(eq=False)
class Resize(Transform):
    """Bring the image to `target_size` (height, width); boxes are scaled and cut to it.

    `im_shape` becomes the new size, `scale_factor` (y, x) is multiplied by new / old size.

    Args:
        target_size: one side for squares, or [height, width].
        keep_ratio: the largest size inside the target with the shape of the image.
        interp: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos.
    """

    takes_boxes = CORNERS

    target_size: kinds.Size
    keep_ratio: bool = False
    interp: kinds.Interp = 1

    def __post_init__(self) -> None:
        self.target_hw = kinds.height_width(self.target_size)

    def apply(self, sample: Sample, context: Context) -> Sample:
        return resize_sample(sample, self.target_hw, self.keep_ratio, self.interp)

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes((self.target_hw,), "Resize.target_size", self.keep_ratio)

    def export_step(self) -> dict[str, Any]:
        settings = {"keep_ratio": self.keep_ratio, "interp": self.interp}
        return {"type": "Resize", "target_size": list(self.target_hw), **settings}


@register
@dataclass(eq=False)
class BatchRandomResize(Transform):
    """One size and one interpolation for all images of a batch (and for all ranks), drawn per
    batch.

    Args:
        target_size: with `random_size` the list of sizes (sides of squares, or [height, width]
            each); otherwise one size.
        keep_ratio: not possible in a batch, must be false.
        interp: interpolation number when `random_interp` is off.
        random_interp: draw one of the five interpolations for each batch.
    """

    takes_boxes = CORNERS
    whole_batch = True

    target_size: Union[kinds.Size, kinds.Sizes]
    keep_ratio: kinds.NoRatio = False
    interp: kinds.Interp = 0
    random_size: bool = True
    random_interp: bool = False

    def __post_init__(self) -> None:
        kind: Any = kinds.Sizes if self.random_size else kinds.Size
        if not matches(self.target_size, kind):
            allowed = f"{describe(kind)} (random_size is {'on' if self.random_size else 'off'})"
            raise ConfigError(f"target_size: found {self.target_size!r}, allowed: {allowed}")
        sizes: Any = self.target_size if self.random_size else [self.target_size]
        self.sizes = tuple(kinds.height_width(size) for size in sizes)

    def apply(self, samples: list[Sample], context: Context) -> list[Sample]:
        rng = context.rng
        size_hw = self.sizes[int(rng.integers(len(self.sizes)))]
        interp = int(rng.integers(5)) if self.random_interp else self.interp
        return [resize_sample(sample, size_hw, False, interp) for sample in samples]

    def output_sizes(self, sizes: Optional[ImageSizes]) -> ImageSizes:
        return ImageSizes(self.sizes, "BatchRandomResize.target_size")


def resize_sample(sample: Sample, target_hw: SizeHW, keep_ratio: bool, interp: int) -> Sample:
    """The resize of one sample, see `Resize`."""
    image = lazy_image(sample)
    height, width = image.size_hw
    new_h, new_w = resized_size((height, width), target_hw, keep_ratio)
    resized = with_new_size(sample, image.resize(new_h, new_w, interp), (new_h, new_w))
    resized.update(moved_objects(sample, (new_w / width, new_h / height)))
    if "gt_bbox" in resized:
        resized["gt_bbox"] = clip_boxes(resized["gt_bbox"], new_h, new_w)
    return resized


def with_new_size(sample: Sample, image: LazyImage, size_hw: SizeHW) -> Sample:
    """The sample with an image whose content has been brought to `size_hw`, and says so."""
    change = np.divide(size_hw, lazy_image(sample).size_hw)
    scale = np.asarray(sample.get("scale_factor", (1.0, 1.0)), np.float64) * change
    return {
        **sample,
        "image": image,
        "im_shape": np.array(size_hw, np.float32),
        "scale_factor": scale.astype(np.float32),
    }
