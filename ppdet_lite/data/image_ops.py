"""The public name of `decode_image`; what else there is lies in `pixels.image_ops`."""

from ppdet_lite.data.pixels.image_ops import decode_image

__all__ = ["decode_image"]
