"""Decode: from a file name to an image."""

from typing import Optional

import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data.pixels.clock import Clock
from ppdet_lite.data.pixels.image_ops import MAX_PIXELS, checked_header, decode_image, read_file
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pixel_source import ArrayPixels, JpegPixels
from ppdet_lite.data.transforms.transform import Context, Transform, ensure_context


@register
class Decode(Transform):
    """Read `im_file` (or the bytes in `image`) into `image`; sets h, w, im_shape, scale_factor.

    The EXIF orientation is applied, except where the annotation's width and height are those of the
    image without it: then its boxes were drawn on the image as stored.

    Of a JPEG only the header is read here. Its pixels are decoded when the image is rendered, at
    1/2, 1/4 or 1/8 of its size where that is enough (see `pixel_source.largest_reduction`) and
    allowed. Other formats are decoded at once.

    Args:
        max_pixels: larger images are refused with an ImageError.
        reduced: allow JPEGs to be decoded at a fraction of their size; left out, it is allowed in
            training and not in evaluation, whose results it would change a little.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS, reduced: Optional[bool] = None):
        self.max_pixels = max_pixels
        self.reduced = reduced

    def __call__(self, sample: dict, context: Optional[Context] = None) -> dict:
        context = ensure_context(context)
        sample = dict(sample)
        image = sample.get("image")
        if not isinstance(image, (np.ndarray, LazyImage)):
            image = self._read(sample, image, context)
        sample["image"] = image if isinstance(image, LazyImage) else LazyImage(image, context.clock)
        sample["h"], sample["w"] = sample["image"].size_hw
        sample["im_shape"] = np.array([sample["h"], sample["w"]], np.float32)
        sample["scale_factor"] = np.ones(2, np.float32)
        return sample

    def export_step(self) -> None:
        """Deployment decodes by itself."""

    def _read(self, sample: dict, content: Optional[bytes], context: Context):
        """The source of the pixels (see `pixel_source`), from the reader's cache if it has one."""
        name = str(sample.get("im_file", "image given as bytes"))
        if name in context.refused:
            raise ImageError(context.refused[name])
        reducible = context.training if self.reduced is None else self.reduced
        annotated = None
        if "gt_bbox" in sample and sample.get("h") and sample.get("w"):
            annotated = (int(sample["h"]), int(sample["w"]))
        if content is not None or context.cache is None:
            content = read_file(name) if content is None else bytes(content)
            source = self._source(content, name, annotated, reducible, context.clock)
        else:
            cache = context.cache
            source = cache.source(
                name,
                str(annotated),
                lambda: self._source(cache.read(name), name, annotated, reducible, context.clock),
                context.notes,
            )
        found = source.size_hw
        if annotated not in (None, found):
            context.notes[
                "images whose size differs from the annotated one; their boxes are cut to the "
                f"image (first: {name}, annotated {annotated[1]}x{annotated[0]}, is "
                f"{found[1]}x{found[0]})"
            ] += 1
        return source

    def _source(self, content: bytes, name: str, annotated, reducible: bool, clock: Clock):
        """The source for the content of an image file: upright or as stored, whichever fits the
        annotated (height, width).
        """
        header = checked_header(content, name, self.max_pixels)
        lazy = header.is_jpeg and header.size_hw is not None and min(header.size_hw) > 0

        def source(apply_exif: bool):
            if not lazy:
                with clock("decode", name):
                    return ArrayPixels(decode_image(content, self.max_pixels, name, apply_exif))
            size_hw = header.upright_hw if apply_exif else header.size_hw
            orientation = header.orientation if apply_exif else 1
            return JpegPixels(content, name, size_hw, orientation, reducible, clock)

        upright = source(apply_exif=True)
        if annotated is not None and annotated == upright.size_hw[::-1] != upright.size_hw:
            stored = source(apply_exif=False)
            return stored if stored.size_hw == annotated else upright
        return upright
