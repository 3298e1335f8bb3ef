"""The tile rule of darknet's mosaic: which part of each source a tile shows, and its boxes there.

Tiles: 0 top left, 1 top right, 2 bottom left, 3 bottom right. `cut_xy` is where they meet, in
pixels of the network. Whole-pixel rounding is darknet's, toward 0.
"""

from typing import NamedTuple

import numpy as np

from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.transforms.darknet.jitter_crop import Crop, FoundBoxes


class Shift(NamedTuple):
    """Borders of a source, in pixels of the network, that its tile leaves out."""

    left: int
    right: int
    top: int
    bottom: int


def pushed_outside(crop: Crop, tile: int) -> Crop:
    """The crop with all of its borders at the two sides away from the other tiles' center, so that
    most of what it shows of the image lies in the tile.
    """
    left, right, top, bottom, flip = crop
    at_left = (tile in (1, 3)) != flip  # the border goes to the image's left side
    across = (left + right, 0) if at_left else (0, left + right)
    down = (0, top + bottom) if tile in (0, 1) else (top + bottom, 0)
    return Crop(*across, *down, flip)


def border_shift(crop: Crop, size_hw: SizeHW, cut_xy: tuple[int, int], net_hw: SizeHW) -> Shift:
    """Borders of an image of `size_hw` that its crop has added; at most what is beside the tile."""
    (height, width), (net_h, net_w), (cut_x, cut_y) = size_hw, net_hw, cut_xy
    left, right = (crop.right, crop.left) if crop.flip else (crop.left, crop.right)
    return Shift(
        min(cut_x, max(0, -left * net_w // width)),
        min(net_w - cut_x, max(0, -right * net_w // width)),
        min(cut_y, max(0, -crop.top * net_h // height)),
        min(net_h - cut_y, max(0, -crop.bottom * net_h // height)),
    )


def tile_window(tile: int, cut_xy: tuple[int, int], net_hw: SizeHW) -> tuple[int, int, int, int]:
    """Corners of a tile in pixels of the network."""
    left, right = ((0, cut_xy[0]), (cut_xy[0], net_hw[1]))[tile % 2]
    top, bottom = ((0, cut_xy[1]), (cut_xy[1], net_hw[0]))[tile // 2]
    return left, top, right, bottom


def tile_offset(tile: int, shift: Shift, cut_xy: tuple[int, int], net_hw: SizeHW) -> np.ndarray:
    """x, y that are taken from a place of the source to give its place in the mosaic."""
    x = net_hw[1] - cut_xy[0] - shift.right if tile in (0, 2) else shift.left - cut_xy[0]
    y = net_hw[0] - cut_xy[1] - shift.bottom if tile in (0, 1) else shift.top - cut_xy[1]
    return np.array([x, y], np.int64)


def tile_boxes(
    boxes_xyxy: np.ndarray,
    tile: int,
    shift: Shift,
    cut_xy: tuple[int, int],
    net_hw: SizeHW,
    bound: bool = False,
) -> FoundBoxes:
    """Boxes of a source at its full size, in pixels of the network, on the mosaic.

    Those that leave the mosaic are cut by whole pixels; those that leave their tile only with
    `bound`. Left out are those of one pixel or less in width or height.
    """
    sides = np.array(net_hw[::-1], np.float64)
    moved = boxes_xyxy.astype(np.float64) - np.tile(tile_offset(tile, shift, cut_xy, net_hw), 2)
    edges = _whole(moved)
    if bound:
        window = np.array(tile_window(tile, cut_xy, net_hw))
        low, high = np.maximum(edges[:, :2], window[:2]), np.minimum(edges[:, 2:], window[2:])
        beyond = np.zeros(len(moved))
    else:
        low = moved[:, :2] - np.minimum(edges[:, :2], 0)
        high = moved[:, 2:] - np.maximum(edges[:, 2:] - sides, 0)
        beyond = np.hstack([-_whole(low), _whole(high) - sides]).max(axis=1)
    center, size = (low + high) / 2, high - low
    fits = (size > 1).all(axis=1) & (size < sides).all(axis=1)
    kept = (beyond <= 0) & fits & (center > 0).all(axis=1) & (center < sides).all(axis=1)
    return FoundBoxes(np.hstack([low, high])[kept].astype(np.float32), np.flatnonzero(kept))


def _whole(edges: np.ndarray) -> np.ndarray:
    """Without fractions; what float32 may have moved off a whole number counts as that."""
    return np.trunc(np.round(edges, 4))
