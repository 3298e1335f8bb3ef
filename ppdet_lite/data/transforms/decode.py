"""Decode: from a file name to an image."""

from dataclasses import dataclass
from functools import partial
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import ImageError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.headers import MAX_PIXELS
from ppdet_lite.data.pixels.image_ops import checked_header, decode_image, read_file
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.pixel_source import ArrayPixels, JpegPixels, PixelSource
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import Context, Transform

_DARK_LEVEL = 32  # of 256: cameras give 10 to 12 of 16 bits, levels below 16


@register
@dataclass(eq=False)
class Decode(Transform):
    """Read `im_file` (or the bytes in `image`) into `image`; sets h, w, im_shape, scale_factor.

    The EXIF orientation is applied, except where the annotation's width and height are those of the
    image without it: then its boxes were drawn on the image as stored. A JPEG is decoded when it is
    rendered, at 1/2, 1/4 or 1/8 of its size where that is enough (see `largest_reduction`) and
    allowed.

    Args:
        max_pixels: larger images are refused with an ImageError.
        reduced: allow JPEGs to be decoded at a fraction of their size; left out, it is allowed in
            training and not in evaluation, whose results it would change a little.
    """

    max_pixels: kinds.Pixels = MAX_PIXELS
    reduced: Optional[bool] = None

    def apply(self, sample: Sample, context: Context) -> Sample:
        image = sample.get("image")
        if not isinstance(image, LazyImage):
            if not isinstance(image, np.ndarray):
                image = self._read(sample, image, context)
            image = LazyImage(image, context.clock)
        h, w = image.size_hw
        shape, scale = np.array([h, w], np.float32), np.ones(2, np.float32)
        return {**sample, "image": image, "h": h, "w": w, "im_shape": shape, "scale_factor": scale}

    def export_step(self) -> None:
        """Deployment decodes by itself."""

    def _read(self, sample: Sample, content: Optional[bytes], context: Context) -> PixelSource:
        """The pixels of an image file, or of its content; from the cache if there is one."""
        name = str(sample.get("im_file", "image given as bytes"))
        if name in context.refused:
            raise ImageError(context.refused[name])
        annotated = None
        if "gt_bbox" in sample and sample.get("h") and sample.get("w"):
            annotated = (int(sample["h"]), int(sample["w"]))
        cache = context.cache
        read = read_file if cache is None else cache.read

        def opened() -> PixelSource:
            data = read(name) if content is None else bytes(content)
            open_as = partial(self._source, data, name, context)
            upright = open_as(True)
            if annotated == upright.size_hw[::-1] != upright.size_hw:
                stored = open_as(False)
                return stored if stored.size_hw == annotated else upright
            return upright

        if content is not None or cache is None:
            source = opened()
        else:
            source = cache.source(name, str(annotated), opened, context.notes)
        if annotated is not None and annotated != source.size_hw:
            height, width = source.size_hw
            context.notes[
                "images whose size differs from the annotated one; their boxes are cut to the "
                f"image (first: {name}, annotated {annotated[1]}x{annotated[0]}, is "
                f"{width}x{height})"
            ] += 1
        return source

    def _source(self, content: bytes, name: str, context: Context, apply_exif: bool) -> PixelSource:
        """The pixels of an image file, upright or as stored."""
        header = checked_header(content, name, self.max_pixels)
        size_hw = header.upright_hw if apply_exif else header.size_hw
        if header.is_jpeg:
            orientation = header.orientation if apply_exif else 1
            reducible = context.training if self.reduced is None else self.reduced
            return JpegPixels(content, name, size_hw, orientation, reducible, context.clock)
        with context.clock("decode", name):
            image = decode_image(content, self.max_pixels, name, apply_exif)
        if header.is_deep and image.max() < _DARK_LEVEL:
            text = "images of 16 bits (or more) whose upper 8 are nearly black; scale their values"
            context.notes[
                f"{text} to the whole range, of which cameras often use 10 to 12 bits"
            ] += 1
        return ArrayPixels(image)
