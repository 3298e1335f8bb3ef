"""Shapes, fills and backgrounds of the demo images.

Pixel (column i, row j) covers [i, i+1) x [j, j+1), so a polygon's bounds are a box in the sense of
the COCO format. All choices come from the generators that are passed, so a seed fixes the image.
"""

from typing import Callable

import cv2
import numpy as np

Contours = list[np.ndarray]
"""Polygons [K, 2]: the outline, and perhaps a hole."""

SUPERSAMPLING = 8
"""A shape is filled on a grid this much finer and averaged down: that is its anti-aliasing."""


def _regular(corners: int) -> np.ndarray:
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(rng: np.random.Generator) -> Contours:
    points = _regular(10)
    points[1::2] *= rng.uniform(0.38, 0.5)
    return [points]


def _ring(rng: np.random.Generator) -> Contours:
    outer = _regular(72) * [1.0, rng.uniform(0.85, 1.0)]
    return [outer, outer * rng.uniform(0.5, 0.68)]


_SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])

OUTLINES: dict[str, Callable[[np.random.Generator], Contours]] = {
    "circle": lambda rng: [_regular(72) * [1.0, rng.uniform(0.82, 1.0)]],
    "square": lambda rng: [_SQUARE * [1.0, rng.uniform(0.75, 1.0)] / np.sqrt(2)],
    "triangle": lambda rng: [_regular(3) + rng.uniform(-0.12, 0.12, (3, 2))],
    "star": _star,
    "ring": _ring,
}
"""Object kind -> maker of outlines within the unit circle; the order is that of the categories."""


def place(contours: Contours, center: np.ndarray, diameter: float, angle: float) -> Contours:
    """Unit contours turned by `angle` (radians), scaled to `diameter` pixels, moved to `center`."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return [contour @ turn.T * (diameter / 2) + center for contour in contours]


def clip_polygon(polygon: np.ndarray, width: float, height: float) -> np.ndarray:
    """The part of a polygon [K, 2] inside the image, by Sutherland and Hodgman; may be empty.

    A concave polygon that leaves the image twice keeps connecting edges along the border, which
    change neither its bounds nor its area.
    """
    for axis, bound, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        if not len(polygon):
            return polygon
        depth = (polygon[:, axis] - bound) * sign  # >= 0 is inside
        kept = []
        for index in range(len(polygon)):
            start, end = polygon[index - 1], polygon[index]
            start_depth, end_depth = depth[index - 1], depth[index]
            if (start_depth >= 0) != (end_depth >= 0):
                kept.append(start + (end - start) * start_depth / (start_depth - end_depth))
            if end_depth >= 0:
                kept.append(end)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def polygon_area(polygon: np.ndarray) -> float:
    """Area of a simple polygon [K, 2]."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def coverage(contours: Contours, height: int, width: int) -> np.ndarray:
    """Share of each pixel covered by the contours (even-odd rule): float32 [H, W] in 0..1."""
    points = np.concatenate(contours)
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, [width, height])
    alpha = np.zeros((height, width), np.float32)
    if right <= left or bottom <= top:
        return alpha
    fine = np.zeros(((bottom - top) * SUPERSAMPLING, (right - left) * SUPERSAMPLING), np.uint8)
    shift = 4  # fractional bits of the vertices
    vertices = [
        np.round(((contour - [left, top]) * SUPERSAMPLING - 0.5) * (1 << shift)).astype(np.int32)
        for contour in contours
    ]
    cv2.fillPoly(fine, vertices, 255, lineType=cv2.LINE_8, shift=shift)
    size = (int(right - left), int(bottom - top))
    alpha[top:bottom, left:right] = cv2.resize(fine, size, interpolation=cv2.INTER_AREA) / 255.0
    return alpha


# Colors and surfaces: float32 [H, W, 3], 0..255, RGB
def ground_color(rng: np.random.Generator) -> np.ndarray:
    """A muted color, as grounds and clutter have, float32 [3]."""
    return _hsv_to_rgb(rng.uniform(0, 360), rng.uniform(0.0, 0.45), rng.uniform(0.25, 0.8))


def object_color(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A vivid color near the typical hue of a kind, float32 [3]."""
    kinds = list(OUTLINES)
    hue = (kinds.index(kind) + rng.uniform(-0.35, 0.35)) * (360 / len(kinds))
    return _hsv_to_rgb(hue % 360, rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0))


def _hsv_to_rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    hsv = np.array([[[hue, saturation, value]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255)


def _wave(rng: np.random.Generator, size_hw: tuple[int, int], period: float) -> np.ndarray:
    """Straight stripes in a random direction, -1..1, float32 [H, W]."""
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    down, across = (np.arange(side, dtype=np.float32) for side in size_hw)
    distance = down[:, None] * np.float32(np.sin(angle)) + across * np.float32(np.cos(angle))
    wave: np.ndarray = np.sin(distance * np.float32(2 * np.pi / period) + np.float32(phase))
    return wave


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], cells: int) -> np.ndarray:
    """Noise with about `cells` bumps per side, around 0, [H, W]."""
    coarse = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def fill(
    rng: np.random.Generator, color: np.ndarray, size_hw: tuple[int, int], diameter: float
) -> np.ndarray:
    """The surface of an object: flat, shaded, striped or mottled; [H, W, 3]."""
    style = rng.choice(["flat", "shaded", "striped", "mottled"], p=[0.35, 0.3, 0.15, 0.2])
    surface = np.broadcast_to(color, (*size_hw, 3)).astype(np.float32)
    if style == "flat":
        return surface
    if style == "shaded":
        relief = _wave(rng, size_hw, period=diameter * rng.uniform(2, 4))[..., None]
        return surface * (1 + rng.uniform(0.15, 0.35) * relief)
    if style == "striped":
        relief = _wave(rng, size_hw, period=max(4.0, diameter * rng.uniform(0.15, 0.35)))
        other = ground_color(rng)
        return np.where(relief[..., None] > 0, surface, 0.6 * surface + 0.4 * other)
    cells = int(rng.integers(3, 9))
    return surface + rng.uniform(12, 30) * smooth_noise(rng, size_hw, cells)[..., None]


# Backgrounds
def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    corners = np.stack([ground_color(rng) for _ in range(4)]).reshape(2, 2, 3)
    return cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    low, high = ground_color(rng), ground_color(rng)
    relief = sum(smooth_noise(rng, (size, size), 2**octave) / octave for octave in (1, 2, 3, 4))
    share = 1 / (1 + np.exp(-relief))[..., None]
    return low * (1 - share) + high * share


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    low, high = ground_color(rng), ground_color(rng)
    wave = _wave(rng, (size, size), period=size * rng.uniform(0.05, 0.4))
    share = np.clip(wave * rng.uniform(0.6, 4) / 2 + 0.5, 0, 1)[..., None]
    contrast = rng.uniform(0.3, 0.7)
    return low * (1 - share * contrast) + high * share * contrast


def _blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    canvas = np.broadcast_to(ground_color(rng), (size, size, 3)).astype(np.float32).copy()
    for _ in range(int(rng.integers(4, 10))):
        center = tuple(int(v) for v in rng.integers(0, size, 2))
        axes = tuple(int(v) for v in rng.integers(size // 12, size // 4, 2))
        color = tuple(float(v) for v in ground_color(rng))
        cv2.ellipse(canvas, center, axes, float(rng.uniform(0, 180)), 0, 360, color, -1)
    return cv2.GaussianBlur(canvas, (0, 0), size * rng.uniform(0.03, 0.08))


def _grain(rng: np.random.Generator, size: int) -> np.ndarray:
    tint = rng.uniform(0.5, 1.0, 3)
    noise = smooth_noise(rng, (size, size), int(rng.integers(size // 8, size // 2)))
    return ground_color(rng) + noise[..., None] * tint * rng.uniform(10, 35)


BACKGROUNDS = (_gradient, _clouds, _stripes, _blobs, _grain)


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """An image without objects: one of the grounds above, sometimes with scratches; [S, S, 3]."""
    canvas = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, size).astype(np.float32)
    canvas = np.ascontiguousarray(canvas)
    if rng.random() < 0.4:  # clutter that is no object: thin lines
        for _ in range(int(rng.integers(1, 6))):
            start, end = (tuple(int(v) for v in rng.integers(0, size, 2)) for _ in range(2))
            color = tuple(float(v) for v in ground_color(rng))
            cv2.line(canvas, start, end, color, 1 + size // 250, cv2.LINE_AA)
    return np.clip(canvas, 0, 255)


def camera(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Adds exposure, a little blur and sensor noise, as a camera does; float canvas to uint8."""
    canvas = canvas * rng.uniform(0.8, 1.15)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 0.9))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas = canvas.astype(np.float32) + noise * np.float32(rng.uniform(0, 6))
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)
