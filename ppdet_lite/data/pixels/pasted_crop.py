"""A crop of an image, resized into a part of another one."""

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.data.pixels.color import ColorChange, apply_changes
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.placement import Rect
from ppdet_lite.data.pixels.resampling import resize_exact

_LINEAR = 1


class PastedCrop(NamedTuple):
    """The painter of one tile: of the crop, brought to the size of the canvas, the part that begins
    at `shift_xy` fills `window_xyxy`. One resize per tile, to whole pixels; outside of its image a
    crop shows the image's mean color. Colors are changed where there are fewer pixels.

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
        crop_w, crop_h = self.crop_xywh[2:]
        image_h, image_w = self.image.size_hw
        shown_hw = max(image_h * height // crop_h, 1), max(image_w * width // crop_w, 1)
        pixels, changes = self.image.pixels_before_changes(shown_hw)
        source, place = self._parts((height, width), window, (pixels.shape[0], pixels.shape[1]))
        inside = window.window(out)
        if source.area < window.area:
            self._fill(inside, place, pixels, changes)
            _draw(inside, place, _recolored(source.window(pixels), changes))
        else:
            self._fill(inside, place, pixels, ())
            _draw(inside, place, source.window(pixels))
            apply_changes(inside, changes)
        if self.flip:
            cv2.flip(inside, 1, dst=inside)

    def _parts(self, canvas_hw: SizeHW, window: Rect, pixels_hw: SizeHW) -> tuple[Rect, Rect]:
        """The part of the pixels that is shown, and its place in the window, both as if there were
        no flip.
        """
        starts, ends, lows, highs = [], [], [], []
        ranges = ((window.left, window.right), (window.top, window.bottom))
        for axis, (first, last) in enumerate(ranges):
            origin, length = self.crop_xywh[axis], self.crop_xywh[2 + axis]
            canvas, side = canvas_hw[1 - axis], self.image.size_hw[1 - axis]
            shift = self.shift_xy[axis] * canvas
            start, end = first + shift, last + shift
            if self.flip and axis == 0:
                start, end = canvas - end, canvas - start
            scale = canvas / length
            before = max(-origin * scale - start, 0.0)  # borders in pixels of the canvas
            after = max(end - (side - origin) * scale, 0.0)
            lows.append(min(round(before), last - first))
            highs.append(max(last - first - round(after), lows[-1]))
            by = pixels_hw[1 - axis] / side
            low = int(((start + before) / scale + origin) * by + 0.5)
            high = int(((end - after) / scale + origin) * by + 0.5)
            starts.append(min(max(low, 0), pixels_hw[1 - axis] - 1))
            ends.append(min(max(high, starts[-1] + 1), pixels_hw[1 - axis]))
        return Rect(*starts, *ends), Rect(*lows, *highs)

    def _fill(
        self, out: np.ndarray, place: Rect, pixels: np.ndarray, changes: Sequence[ColorChange]
    ) -> None:
        """The mean color, where the place leaves anything of `out` open."""
        height, width = out.shape[:2]
        strips = (
            Rect(0, 0, width, place.top),
            Rect(0, place.bottom, width, height),
            Rect(0, place.top, place.left, place.bottom),
            Rect(place.right, place.top, width, place.bottom),
        )
        if not any(strip.area for strip in strips):
            return
        color = np.array(cv2.mean(pixels)[:3]).reshape(1, 1, 3).round().astype(np.uint8)
        apply_changes(color, changes)
        for left, top, right, bottom in (strip for strip in strips if strip.area):
            corner = (right - 1, bottom - 1)
            cv2.rectangle(out, (left, top), corner, color.ravel().tolist(), cv2.FILLED)


def _draw(out: np.ndarray, place: Rect, source: np.ndarray) -> None:
    if place.area:
        resize_exact(source, (place.height, place.width), _LINEAR, place.window(out))


def _recolored(pixels: np.ndarray, changes: Sequence[ColorChange]) -> np.ndarray:
    """A copy with the changes; without any, the pixels themselves."""
    if not changes:
        return pixels
    pixels = np.ascontiguousarray(pixels) if not pixels.flags.c_contiguous else pixels.copy()
    apply_changes(pixels, changes)
    return pixels
