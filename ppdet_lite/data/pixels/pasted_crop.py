"""A crop of an image, warped into a part of another one."""

from typing import NamedTuple

import cv2
import numpy as np

from ppdet_lite.data.pixels.color import apply_changes
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.placement import Rect


class PastedCrop(NamedTuple):
    """The painter of one tile: of the crop, brought to the size of the canvas, the part that begins
    at `shift_xy` fills `window_xyxy`. One warp per tile; outside of its image a crop shows the
    image's mean color.

    Attributes:
        crop_xywh: left, top, width and height in pixels of the image; may leave it.
        flip: the crop is mirrored left-right.
        window_xyxy, shift_xy: shares of the canvas; the point x of it shows x + shift of the crop.
    """

    image: LazyImage
    crop_xywh: tuple[int, int, int, int]
    flip: bool = False
    window_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    shift_xy: tuple[float, float] = (0.0, 0.0)

    def draw(self, out: np.ndarray) -> None:
        height, width = out.shape[:2]
        edges = np.array(self.window_xyxy) * (width, height, width, height)
        window = Rect(*np.rint(edges).astype(int).tolist())
        if not window.area:
            return
        left, top, crop_w, crop_h = self.crop_xywh
        image_h, image_w = self.image.size_hw
        shown = max(image_h * height // crop_h, 1), max(image_w * width // crop_w, 1)
        pixels, changes = self.image.pixels_before_changes(shown)
        # Image to canvas, then from pixels as they were decoded, between centers of pixels.
        scale_x, scale_y = width / crop_w, height / crop_h
        x, y = -left * scale_x, -top * scale_y
        if self.flip:
            scale_x, x = -scale_x, width - x
        x, y = (
            x - self.shift_xy[0] * width - window.left,
            y - self.shift_xy[1] * height - window.top,
        )
        scale_x, scale_y = (
            scale_x * image_w / pixels.shape[1],
            scale_y * image_h / pixels.shape[0],
        )
        matrix = np.array(
            [
                [scale_x, 0, x + scale_x / 2 - 0.5],
                [0, scale_y, y + scale_y / 2 - 0.5],
            ]
        )
        inside = out[window.top : window.bottom, window.left : window.right]
        result = cv2.warpAffine(
            pixels,
            matrix,
            (window.width, window.height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=cv2.mean(pixels)[:3],
        )
        apply_changes(result, changes)
        inside[:] = result
