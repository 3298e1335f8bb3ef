"""Colour changes of uint8 RGB pictures with the arithmetic of PIL's ImageEnhance.

A change is a small value object: it works on any picture, on a single fill colour, and a chain of
them can be applied to the picture after it has been resized. Blends cut off fractions, as PIL does.
"""

from typing import NamedTuple, Sequence, Union

import cv2
import numpy as np

_LEVELS = np.arange(256, dtype=np.float64)

# Turns OpenCV's rounding into cutting off: floor(v) for every v that is not within 0.001 below an
# integer, where float arithmetic may have landed on the wrong side.
TRUNCATE = -0.499


class LevelMap(NamedTuple):
    """Every channel value v becomes offset + factor * v, cut off and clipped to 0..255.

    Brightness is offset 0; contrast is offset (1 - factor) * mean gray.
    """

    factor: float
    offset: float = 0.0

    def table(self) -> np.ndarray:
        """uint8 [256]."""
        values = self.offset + self.factor * _LEVELS
        return np.clip(np.floor(values + 1e-6), 0, 255).astype(np.uint8)


class Saturation(NamedTuple):
    """Every pixel becomes gray + factor * (pixel - gray)."""

    factor: float

    def apply(self, image: np.ndarray) -> None:
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cv2.addWeighted(image, self.factor, gray, 1 - self.factor, TRUNCATE, dst=image)


class HueShift(NamedTuple):
    """The hue moves by `delta` on a circle of 256 steps.

    PIL stores floor(255 * hue), OpenCV round(256 * hue); the table turns one into the other. The
    fraction of `delta` decides which way halves go, so that random shifts have PIL's mean.
    """

    delta: float

    def table(self) -> np.ndarray:
        """uint8 [256]: OpenCV's hue to the shifted hue."""
        return np.mod(np.floor(_LEVELS * (255 / 256) - 0.5 + self.delta), 256).astype(np.uint8)

    def apply(self, image: np.ndarray) -> None:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
        hue = cv2.LUT(cv2.extractChannel(hsv, 0), self.table())
        cv2.insertChannel(hue, hsv, 0)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=image)


class ChannelOrder(NamedTuple):
    """The channels change places: new channel c is old channel order[c]."""

    order: "tuple[int, int, int]"

    def apply(self, image: np.ndarray) -> None:
        image[:] = image[..., list(self.order)]


ColourChange = Union[LevelMap, Saturation, HueShift, ChannelOrder]


def apply_changes(image: np.ndarray, changes: Sequence[ColourChange]) -> None:
    """Apply a chain of changes to a uint8 picture [H, W, 3] in place.

    The picture may be a window of a larger array. Neighbouring level maps are merged into one
    look-up table.
    """
    table = None
    for change in changes:
        if isinstance(change, LevelMap):
            own = change.table()
            table = own if table is None else own[table]
            continue
        if table is not None:
            cv2.LUT(image, table, dst=image)
            table = None
        change.apply(image)
    if table is not None:
        cv2.LUT(image, table, dst=image)


def mean_gray(image: np.ndarray) -> int:
    """Mean luminance of a uint8 RGB picture, rounded to a whole level."""
    return int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5)
