"""Images at another size: OpenCV's interpolations, each in the way that takes it least time."""

from typing import Optional

import cv2
import numpy as np

from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.memory import Scratch

INTERPOLATIONS = {
    0: cv2.INTER_NEAREST,
    1: cv2.INTER_LINEAR,
    2: cv2.INTER_CUBIC,
    3: cv2.INTER_AREA,
    4: cv2.INTER_LANCZOS4,
}
"""Interpolation numbers as they stand in configs: nearest, linear, cubic, area, Lanczos."""
_CUBIC, _LANCZOS = 2, 4
_HAS_IPP = hasattr(cv2, "ipp") and cv2.ipp.useIPP()
IN_FLOATS = (_LANCZOS,) if _HAS_IPP else (_CUBIC, _LANCZOS)
"""Interpolations of uint8 pixels that are computed in float32."""

_scratch = Scratch()


def resized_size(size_hw: SizeHW, target_size_hw: SizeHW, keep_ratio: bool) -> SizeHW:
    """(height, width) after resizing; with `keep_ratio` the largest size of the same shape inside
    the target (PaddleDetection makes a portrait photo larger than a landscape target).
    """
    height, width = size_hw
    target_h, target_w = target_size_hw
    if not keep_ratio:
        return int(target_h), int(target_w)
    scale = min(target_h / height, target_w / width)
    return max(int(scale * height + 0.5), 1), max(int(scale * width + 0.5), 1)


def letterbox_size(size_hw: SizeHW, target_size_hw: SizeHW) -> tuple[SizeHW, float]:
    """(height, width) of the largest image of the same shape inside the target, fractions cut off,
    and the factor that both sides are meant to have been multiplied by (YOLOX).
    """
    height, width = size_hw
    ratio = min(target_size_hw[0] / height, target_size_hw[1] / width)
    return (max(int(height * ratio), 1), max(int(width * ratio), 1)), ratio


def resize_exact(
    image: np.ndarray, size_hw: SizeHW, interp: int, out: Optional[np.ndarray] = None
) -> np.ndarray:
    """`image` at exactly `size_hw` (height, width), interpolation number as in configs.

    Written into `out` when that is given; without it, `image` itself is returned where it has the
    size already. Lanczos on uint8 is computed in float32, in less than half the time; its results
    differ from those of OpenCV's fixed-point numbers by at most one level. So is cubic where OpenCV
    has no IPP, from whose results those in float32 differ in one of 10,000 values.
    """
    height, width = size_hw
    if image.shape[:2] == (height, width):
        if out is None:
            return image
        np.copyto(out, image)
        return out
    if interp in IN_FLOATS and image.dtype == np.uint8:
        floats = _scratch.empty("before", image.shape, np.float32)
        wide = _scratch.empty("after", (height, width, *image.shape[2:]), np.float32)
        np.copyto(floats, image)
        cv2.resize(floats, (width, height), wide, interpolation=INTERPOLATIONS[interp])
        cv2.threshold(wide, 0, 0, cv2.THRESH_TOZERO, dst=wide)  # the next takes absolute values
        result: np.ndarray = cv2.convertScaleAbs(wide, out)
    else:
        result = _resized(image, height, width, INTERPOLATIONS[interp], out)
    if out is None or np.may_share_memory(result, out):
        return result
    np.copyto(out, result)  # OpenCV made an array of its own
    return out


# Nanoseconds of `resize_exact` per pixel before and after, one thread of a 3 GHz x86 processor.
_RESIZE_COSTS = {0: (0.0, 1.2), 1: (0.3, 1.2), 2: (0.6, 1.7), 3: (4.0, 0.0), 4: (4.5, 7.0)}
_LINEAR, _AREA = 1, 3


def resize_cost(pixels_before: int, pixels_after: int, interp: int) -> float:
    """About how long `resize_exact` takes; only good for choosing between two ways."""
    enlarges = pixels_after >= pixels_before
    costs = _RESIZE_COSTS[_LINEAR if interp == _AREA and enlarges else interp]
    return costs[0] * pixels_before + costs[1] * pixels_after


def _resized(
    image: np.ndarray, height: int, width: int, interpolation: int, out: Optional[np.ndarray]
) -> np.ndarray:
    """`cv2.resize`, in less time where one side of the image stays as it is.

    Where the width stays, every column of bytes is resized on its own, so four RGB pixels may be
    read as three of four channels, for which OpenCV takes two thirds of the time. Where the height
    stays, the same is done with the image lying on its side, for cubic interpolation only: about
    one value in 70000 is a half that is then rounded the other way (others would differ more).
    """
    count = width * 3 // 4
    if image.dtype == np.uint8 and image.shape[2:] == (3,) and min(image.shape[:2]) >= 32:
        if image.shape[1] == width and width % 4 == 0 and image.flags.c_contiguous:
            if out is not None:
                out = out.reshape(height, count, 4) if out.flags.c_contiguous else None
            source = image.reshape(-1, count, 4)
            result = cv2.resize(source, (count, height), out, interpolation=interpolation)
            return result.reshape(height, width, 3)
        lies_well = interpolation == cv2.INTER_CUBIC and height % 4 == 0
        if image.shape[0] == height and lies_well:
            lying = _resized(cv2.transpose(image), width, height, interpolation, None)
            return cv2.transpose(lying, out)
    return cv2.resize(image, (width, height), out, interpolation=interpolation)


def resize(
    image: np.ndarray, target_size_hw: SizeHW, keep_ratio: bool = False, interp: int = 2
) -> tuple[np.ndarray, tuple[float, float]]:
    """`image` [H, W, C] at `target_size_hw`, or with `keep_ratio` inside it, and scale_factor (y,
    x), computed from the rounded size.
    """
    new_hw = resized_size((image.shape[0], image.shape[1]), target_size_hw, keep_ratio)
    scale = (new_hw[0] / image.shape[0], new_hw[1] / image.shape[1])
    return resize_exact(image, new_hw, interp), scale
