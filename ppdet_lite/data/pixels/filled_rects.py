"""Rectangles of one color, or of noise, on an image."""

from typing import NamedTuple, Optional

import cv2
import numpy as np


class FilledRects(NamedTuple):
    """The painter of rectangles.

    Attributes:
        rects_xyxy: corners as shares of the sides, [N, 4].
        color: uint8 [3]; None for noise, every value of every pixel drawn with `seed`.
    """

    rects_xyxy: np.ndarray
    color: Optional[np.ndarray]
    seed: int = 0

    def draw(self, out: np.ndarray) -> None:
        height, width = out.shape[:2]
        rng = np.random.default_rng(self.seed)
        edges = np.rint(self.rects_xyxy * (width, height, width, height)).astype(int)
        edges = np.clip(edges, 0, (width, height, width, height))
        for left, top, right, bottom in edges.tolist():
            if right <= left or bottom <= top:
                continue
            part = out[top:bottom, left:right]
            if self.color is None:
                part[:] = rng.integers(0, 256, part.shape, np.uint8)
            else:
                corner = (right - 1, bottom - 1)
                cv2.rectangle(out, (left, top), corner, self.color.tolist(), cv2.FILLED)
