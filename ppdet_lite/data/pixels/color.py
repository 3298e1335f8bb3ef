"""Color changes of uint8 RGB images with the arithmetic of PIL's ImageEnhance.

A change works on images of any size and on a fill color. Blends cut off fractions, as in PIL.
"""

import math
from typing import NamedTuple, Optional, Protocol, Sequence

import cv2
import numpy as np

# Turns OpenCV's rounding into cutting off: floor(v) for every v that is not within 0.001 below an
# integer, where float arithmetic may have landed on the wrong side.
TRUNCATE = -0.499


class ColorChange(Protocol):
    """A change of colors, for images of any size."""

    def apply(self, image: np.ndarray) -> None:
        """Changes uint8 RGB [H, W, 3] in place; it may be a window of a larger array."""
        ...


class LevelMap(NamedTuple):
    """Every channel value v becomes offset + factor * v, cut off and clipped to 0..255: brightness
    with offset 0, contrast with (1 - factor) * mean gray.
    """

    factor: float
    offset: float = 0.0

    def apply(self, image: np.ndarray, out: Optional[np.ndarray] = None) -> None:
        """In place, or into `out`."""
        out = image if out is None else out
        cv2.addWeighted(image, self.factor, image, 0.0, self.offset + TRUNCATE, dst=out)


class Saturation(NamedTuple):
    """Every pixel becomes gray + factor * (pixel - gray)."""

    factor: float

    def apply(self, image: np.ndarray) -> None:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cv2.addWeighted(image, self.factor, gray, 1 - self.factor, TRUNCATE, dst=image)


class HueShift(NamedTuple):
    """The hue moves by `delta` on a circle of 256 steps.

    PIL stores floor(255 * hue), OpenCV round(256 * hue): one is turned into the other. The fraction
    of `delta` decides which way halves go, so that random shifts have PIL's mean.
    """

    delta: float

    def apply(self, image: np.ndarray) -> None:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
        # floor(255 / 256 * hue - 0.5 + delta) is hue + steps, or one less above a threshold: three
        # fast passes over rows of hue, saturation, value, hue, ...
        steps = math.floor(self.delta - 0.5)
        threshold = int(256 * (self.delta - 0.5 - steps))
        rows = hsv.reshape(len(hsv), -1)
        pattern = np.empty((2, image.shape[1], 3), np.uint8)
        pattern[0] = threshold, 255, 255
        pattern[1] = steps % 256, 0, 0
        limits, shifts = pattern.reshape(2, -1)
        one_less = rows > limits
        rows += shifts
        rows -= one_less.view(np.uint8)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=image)


class ChannelOrder(NamedTuple):
    """The channels change places: new channel c is old channel order[c]."""

    order: tuple[int, int, int]

    def apply(self, image: np.ndarray) -> None:
        image[:] = image[..., list(self.order)]


class ReversedChannels(NamedTuple):
    """R, G, B become B, G, R."""

    def apply(self, image: np.ndarray) -> None:
        image[:] = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def apply_changes(image: np.ndarray, changes: Sequence[ColorChange]) -> None:
    """Applies one change after the other, in place."""
    for change in changes:
        change.apply(image)


def mean_gray(image: np.ndarray) -> int:
    """Mean luminance of a uint8 RGB image, rounded to a whole level."""
    return int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5)
