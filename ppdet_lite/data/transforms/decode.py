"""Decode: from a file name to a picture."""

from typing import Optional

import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data.image_ops import MAX_PIXELS, decode_image, read_file
from ppdet_lite.data.lazy_image import LazyImage
from ppdet_lite.data.pixel_source import ArrayPixels
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

    def _read(self, sample: dict, content: Optional[bytes], context: Context):
        """The source of the pixels (see `pixel_source`), from the reader's cache if it has one."""
        name = str(sample.get("im_file", "picture given as bytes"))
        annotated = None
        if "gt_bbox" in sample and sample.get("h") and sample.get("w"):
            annotated = (int(sample["h"]), int(sample["w"]))
        if content is not None or context.cache is None:
            content = read_file(name) if content is None else content
            source = self._source(content, name, annotated)
        else:
            cache = context.cache
            source = cache.source(
                name,
                str(annotated),
                lambda: self._source(cache.read(name), name, annotated),
                context.notes,
            )
        found = source.size_hw
        if annotated not in (None, found):
            context.notes[
                "pictures whose size differs from the annotated one; their boxes are cut to the "
                f"picture (first: {name}, annotated {annotated[1]}x{annotated[0]}, is "
                f"{found[1]}x{found[0]})"
            ] += 1
        return source

    def _source(self, content: bytes, name: str, annotated: "Optional[tuple[int, int]]"):
        """The source for the content of a picture file."""
        image = decode_image(content, self.max_pixels, name)
        if annotated is not None and annotated == image.shape[1::-1] != image.shape[:2]:
            stored = decode_image(content, self.max_pixels, name, apply_exif=False)
            image = stored if stored.shape[:2] == annotated else image
        return ArrayPixels(image)
