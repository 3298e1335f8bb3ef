"""Decode: from a file name to a picture."""

from typing import Optional

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data.image_ops import MAX_PIXELS, decode_image
from ppdet_lite.data.lazy_image import LazyImage
from ppdet_lite.data.transforms.base import Context, Transform, ensure_context


@register
class Decode(Transform):
    """Read `im_file` (or the bytes in `image`) into `image`; sets h, w, im_shape, scale_factor.

    The EXIF orientation is applied, except where the annotation's width and height are those of the
    picture without it: then its boxes were drawn on the picture as stored.

    Args:
        max_pixels: larger pictures are refused with an ImageError.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS):
        self.max_pixels = max_pixels

    def __call__(self, sample: dict, context: Optional[Context] = None) -> dict:
        context = ensure_context(context)
        sample = dict(sample)
        image = sample.get("image")
        if not isinstance(image, (np.ndarray, LazyImage)):
            image = self._read(sample, image, context)
        sample["image"] = image if isinstance(image, LazyImage) else LazyImage(image)
        sample["h"], sample["w"] = sample["image"].size_hw
        sample["im_shape"] = np.array([sample["h"], sample["w"]], np.float32)
        sample["scale_factor"] = np.ones(2, np.float32)
        return sample

    def _read(self, sample: dict, content: Optional[bytes], context: Context) -> np.ndarray:
        name = str(sample.get("im_file", "picture given as bytes"))
        source = name if content is None else content
        image = decode_image(source, self.max_pixels, name)
        if "gt_bbox" not in sample or not sample.get("h") or not sample.get("w"):
            return image
        annotated, found = (int(sample["h"]), int(sample["w"])), image.shape[:2]
        if annotated != found and annotated == found[::-1]:
            stored = decode_image(source, self.max_pixels, name, apply_exif=False)
            image = stored if stored.shape[:2] == annotated else image
        if annotated != image.shape[:2]:
            context.notes[
                "pictures whose size differs from the annotated one; their boxes are cut to the "
                f"picture (first: {name}, annotated {annotated[1]}x{annotated[0]}, is "
                f"{found[1]}x{found[0]})"
            ] += 1
        return image
