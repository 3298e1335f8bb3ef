"""Views of an image, and the way of their detections back into the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppdet_lite.core.errors import ConfigError

BORDER_SHARE = 0.06
"""A box may be a part of an object if it ends nearer to an inner border than this share of the
tile's side: networks end a cut object a few pixels before the border."""


class View(NamedTuple):
    """A part or a copy of an image.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        shift_xy: place of its corner in the whole image.
        is_flipped: left and right are exchanged.
        scale: of the network's input.
        inner: for left, top, right, bottom: the image goes on there.
    """

    image: np.ndarray
    shift_xy: tuple[int, int] = (0, 0)
    is_flipped: bool = False
    scale: float = 1.0
    inner: tuple[bool, bool, bool, bool] = (False, False, False, False)

    def to_image(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Detections [M, 6] of the view and the inner borders [M, 4] that may cut them.

        Both are in pixels of the whole image. The borders are left, top, right, bottom; NaN where
        the box ends elsewhere.
        """
        rows = np.array(rows, np.float32).reshape(-1, 6)
        height, width = self.image.shape[:2]
        if self.is_flipped:
            rows[:, [2, 4]] = width - rows[:, [4, 2]]
        gaps = np.stack([rows[:, 2], rows[:, 3], width - rows[:, 4], height - rows[:, 5]], axis=1)
        sides = np.array([width, height, width, height], np.float32)
        near = (gaps <= BORDER_SHARE * sides) & np.array(self.inner)
        shift = np.tile(np.array(self.shift_xy, np.float32), 2)
        rows[:, 2:] += shift
        return rows, np.where(near, np.array([0, 0, width, height]) + shift, np.nan)


@dataclass(frozen=True)
class Tiles:
    """Tiles that cover an image, all of one size, and the whole image.

    Args:
        size_hw: of a tile in pixels; a smaller image is one view.
        overlap: least share of a tile that the next one repeats, for height and width. Objects up
            to so many pixels are whole in some tile.
        with_whole: also view the whole image, for objects that are larger.

    Raises:
        ConfigError: an overlap that leaves no step.
    """

    size_hw: tuple[int, int] = (640, 640)
    overlap: tuple[float, float] = (0.25, 0.25)
    with_whole: bool = True

    def __post_init__(self) -> None:
        for name, share in zip(("height", "width"), self.overlap):
            if not 0 <= share <= 0.9:
                raise ConfigError(
                    f"`overlap_ratio`: found {share} for the {name}, allowed: 0 to 0.9"
                )
        if min(self.size_hw) < 32:
            found = "x".join(map(str, self.size_hw))
            raise ConfigError(f"`slice_size`: found {found}, allowed: 32 pixels and more")

    def __call__(self, image_rgb: np.ndarray) -> Iterator[View]:
        height, width = image_rgb.shape[:2]
        if height <= self.size_hw[0] and width <= self.size_hw[1]:
            yield View(image_rgb)
            return
        if self.with_whole:
            yield View(image_rgb)
        for top in starts(height, self.size_hw[0], self.overlap[0]):
            for left in starts(width, self.size_hw[1], self.overlap[1]):
                bottom, right = (
                    min(begin + side, end)
                    for begin, side, end in zip((top, left), self.size_hw, (height, width))
                )
                inner = (left > 0, top > 0, right < width, bottom < height)
                yield View(image_rgb[top:bottom, left:right], (left, top), inner=inner)


@dataclass(frozen=True)
class Copies:
    """Copies of the whole image for test-time augmentation: at every scale, plain and flipped.

    Args:
        scales: of the network's input.
        flip: exchange left and right, too.

    Raises:
        ConfigError: a scale that makes no sense.
    """

    scales: tuple[float, ...] = (0.83, 1.0, 1.25)
    flip: bool = True

    def __post_init__(self) -> None:
        for scale in self.scales:
            if not 0.1 <= scale <= 10:
                raise ConfigError(f"`tta_scales`: found {scale}, allowed: 0.1 to 10")

    def __call__(self, image_rgb: np.ndarray) -> Iterator[View]:
        for scale in self.scales:
            yield View(image_rgb, scale=scale)
            if self.flip:
                yield View(image_rgb[:, ::-1], is_flipped=True, scale=scale)


def starts(length: int, side: int, overlap: float) -> Sequence[int]:
    """First pixels of tiles of `side` pixels along an axis, at equal distances, the last at its
    end.
    """
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / max(side * (1 - overlap), 1))) + 1
    return [int(start) for start in np.linspace(0, length - side, count).round()]
