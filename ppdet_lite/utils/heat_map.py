"""Figures of maps of numbers from 0 to 1 over a photo, numpy and OpenCV only."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

HEAT_SHARE = 0.6
"""Share of the color of a number in a pixel, the rest is the photo in gray."""

PANEL_WIDTH = 420
CAPTION_HEIGHT = 26
_GAP = 6
_FONT, _TEXT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5
_BLACK = (0, 0, 0)


class Panel(NamedTuple):
    """An image uint8 [H, W, 3] RGB with a line of text above it."""

    image: np.ndarray
    caption: str


def heat_over(image_rgb: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """An image uint8 [H, W, 3] in the colors of a map [h, w] of its parts: 0 is dark blue,
    1 is dark red."""
    height, width = image_rgb.shape[:2]
    numbers = cv2.resize(
        numbers.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST
    )
    gray = cv2.cvtColor(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(heat_colors(numbers), HEAT_SHARE, gray, 1 - HEAT_SHARE, 0)


def heat_colors(numbers: np.ndarray) -> np.ndarray:
    """Numbers [H, W], cut to 0 to 1, as colors uint8 [H, W, 3] RGB."""
    levels = np.rint(np.clip(np.nan_to_num(numbers), 0, 1) * 255).astype(np.uint8)
    colors: np.ndarray = cv2.applyColorMap(levels, cv2.COLORMAP_JET)[..., ::-1]
    return colors


def scale_panel(size_hw: tuple[int, int], caption: str) -> Panel:
    """The colors from 0 to 1 as a bar with numbers, on white."""
    height, width = size_hw
    image = np.full((height, width, 3), 255, np.uint8)
    left, right = width // 10, width - width // 10
    top, bottom = height // 3, height // 3 + max(8, height // 8)
    bar = np.tile(np.linspace(0, 1, right - left), (bottom - top, 1))
    image[top:bottom, left:right] = heat_colors(bar)
    for tick in range(5):
        x = left + (right - left) * tick // 4
        _write(image, f"{tick / 4:.2f}", (x - 16, min(height - 4, bottom + 18)))
    return Panel(image, caption)


def figure(rows: Sequence[Sequence[Panel]]) -> np.ndarray:
    """Rows of panels of one size as an image uint8 [H, W, 3] RGB on white; rows may be of different
    lengths."""
    height, width = rows[0][0].image.shape[:2]
    tall, wide = height + CAPTION_HEIGHT + _GAP, width + _GAP
    most = max(map(len, rows))
    sheet = np.full((len(rows) * tall + _GAP, most * wide + _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            top, left = i * tall + _GAP, j * wide + _GAP
            _write(sheet, panel.caption, (left, top + CAPTION_HEIGHT - 9))
            top += CAPTION_HEIGHT
            sheet[top : top + height, left : left + width] = panel.image
    return sheet


def panel_image(image_rgb: np.ndarray) -> np.ndarray:
    """An image at the width of a panel."""
    height, width = image_rgb.shape[:2]
    size = (PANEL_WIDTH, max(CAPTION_HEIGHT, round(height * PANEL_WIDTH / width)))
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)


def _write(image: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    cv2.putText(image, text, corner, _FONT, _TEXT_SCALE, _BLACK, 1, cv2.LINE_AA)
