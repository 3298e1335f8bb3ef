"""Mosaic: four images in one, turned and scaled, with a fifth blended in.

Bochkovskiy et al., "YOLOv4" (mosaic), and Ge et al., "YOLOX: Exceeding YOLO Series in 2021", whose
recipe this is. Coordinates are continuous: pixel i of a row covers [i, i + 1).
"""

from dataclasses import dataclass
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.color import TRUNCATE
from ppdet_lite.data.pixels.headers import SizeHW
from ppdet_lite.data.pixels.lazy_image import LazyImage
from ppdet_lite.data.pixels.placement import Rect
from ppdet_lite.data.transforms.objects import Sample, joined_objects, object_array
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes

_FILL = 114


class Tile(NamedTuple):
    """An image on the canvas of the mosaic: canvas pixels per image pixel, the image's origin (it
    may lie outside), and the part of the canvas that shows the image.
    """

    scale: float
    left: int
    top: int
    window_xyxy: Rect

    def boxes_on_canvas(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """The image's boxes [N, 4] in canvas pixels."""
        moved: np.ndarray = boxes_xyxy * self.scale + np.array([self.left, self.top] * 2)
        return moved


@register
@dataclass(eq=False)
class Mosaic(Transform):
    """The image and three others around a random point, warped at random to `input_dim`, while
    epoch < mosaic_epoch.

    Each image is fitted into `input_dim`; the four meet at a random point of a gray canvas of twice
    that size. An affine map (rotation, scale, shear, translation, about the canvas' top-left
    corner) takes the canvas, which is never drawn, to the result. With mixup a fifth image, fitted,
    scaled, mirrored half of the time and cut at random, is blended in half and half; `gt_score`
    stays. All objects stay in the list, with the bounds of their turned boxes cut to the result;
    those outside have no area until `PadResize` leaves them out. Polygons are dropped. As in
    PaddleDetection, both axes share one draw of the shear and one of the translation.

    Args:
        input_dim: [height, width] of the result.
        degrees, scale, shear: [lower, upper] of the rotation (degrees), the scale and the shear
            (degrees).
        translate: [lower, upper] of the translation in units of the result's width and height.
        enable_mixup: blend a fifth image in, unless the mosaic has no objects.
        mixup_scale: [lower, upper] of the fifth image's scale, relative to the fitted size.
    """

    takes_boxes = CORNERS
    needs_partner = True
    switched_by = "mosaic_epoch"

    prob: kinds.Probability = 1.0
    input_dim: kinds.Size = (640, 640)
    degrees: kinds.Interval = (-10, 10)
    translate: kinds.Interval = (-0.1, 0.1)
    scale: kinds.PositiveInterval = (0.1, 2)
    shear: kinds.Interval = (-2, 2)
    enable_mixup: bool = True
    mixup_prob: kinds.Probability = 1.0
    mixup_scale: kinds.PositiveInterval = (0.5, 1.5)

    def __post_init__(self) -> None:
        self.input_hw = kinds.height_width(self.input_dim)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng, draw_partner = context.rng, context.partner
        if draw_partner is None or rng.random() >= self.prob:
            return sample
        image, parts = self._mosaic([sample, *(draw_partner() for _ in range(3))], rng)
        mixes = self.enable_mixup and any(len(part["gt_bbox"]) for part in parts)
        if mixes and rng.random() < self.mixup_prob:
            image, added = self._mixup(image, draw_partner(), rng)
            parts.append(added)
        result = {key: value for key, value in sample.items() if key != "gt_poly"}
        result.update(self._joined(parts), image=LazyImage(image, context.clock))
        result["h"], result["w"] = self.input_hw
        result["im_shape"] = np.array(self.input_hw, np.float32)
        result["scale_factor"] = np.ones(2, np.float32)
        return result

    def _mosaic(
        self, samples: list[Sample], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Sample]]:
        """Pixels uint8 [height, width, 3], and the four samples with their boxes there."""
        height, width = self.input_hw
        center_y = int(rng.uniform(0.5 * height, 1.5 * height))
        center_x = int(rng.uniform(0.5 * width, 1.5 * width))
        matrix = self._draw_matrix(rng)
        out = np.full((height, width, 3), _FILL, np.uint8)
        parts = []
        for corner, sample in enumerate(samples):
            image = lazy_image(sample)
            tile = place_tile(corner, image.size_hw, self.input_hw, (center_x, center_y))
            draw_tile(out, image, tile, matrix)
            parts.append(self._warped(sample, tile, matrix))
        return out, parts

    def _warped(self, sample: Sample, tile: Tile, matrix: np.ndarray) -> Sample:
        """A sample with its boxes in the result."""
        height, width = self.input_hw
        boxes_xyxy = tile.boxes_on_canvas(object_array(sample, "gt_bbox"))
        boxes_xyxy = warp_boxes(clip_boxes(boxes_xyxy, 2 * height, 2 * width), matrix)
        return {**sample, "gt_bbox": clip_boxes(boxes_xyxy, height, width)}

    def _joined(self, parts: list[Sample]) -> Sample:
        """The objects of all parts."""
        return joined_objects(parts)

    def _draw_matrix(self, rng: np.random.Generator) -> np.ndarray:
        """Affine map [2, 3] from the canvas to the result."""
        angle = np.radians(_uniform(rng, self.degrees))
        scale = _uniform(rng, self.scale)
        shear_xy = np.tan(np.radians(self._draw_axes(rng, self.shear)))
        share_xy = self._draw_axes(rng, self.translate)
        translation = share_xy * np.array(self.input_hw[::-1], np.float64)
        turn = scale * np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float64
        )
        shear_x, shear_y = shear_xy
        return np.hstack([np.array([[1, shear_y], [shear_x, 1]]) @ turn, translation[:, None]])

    def _draw_axes(self, rng: np.random.Generator, interval: Sequence[float]) -> np.ndarray:
        """A number for each axis, float64 [2]."""
        return np.full(2, _uniform(rng, interval))

    def _mixup(
        self, image: np.ndarray, partner: Sample, rng: np.random.Generator
    ) -> tuple[np.ndarray, Sample]:
        """Half of `image` and half of the partner, and the partner with its boxes there. It lies in
        the top-left corner of a gray sheet of the result's size, which is scaled and perhaps
        mirrored; a random window of it is taken, or black added.
        """
        height, width = self.input_hw
        other = lazy_image(partner)
        fit = min(height / other.size_hw[0], width / other.size_hw[1])
        jitter = _uniform(rng, self.mixup_scale)
        flip = rng.random() < 0.5
        sheet_h, sheet_w = int(height * jitter), int(width * jitter)
        top = int(rng.integers(sheet_h - height)) if sheet_h > height else 0
        left = int(rng.integers(sheet_w - width)) if sheet_w > width else 0
        side_h, side_w = (max(int(int(s * fit) * jitter + 0.5), 1) for s in other.size_hw)
        pixels = other.resize(side_h, side_w, 1).render()
        sheet = np.zeros_like(image)
        sheet[: max(sheet_h - top, 0), : max(sheet_w - left, 0)] = _FILL
        if flip:
            pixels = cv2.flip(pixels, 1)
        place = Rect(0, 0, side_w, side_h).moved((sheet_w - side_w if flip else 0) - left, -top)
        shown = place.cut(Rect(0, 0, width, height))
        shown.window(sheet)[:] = shown.moved(-place.left, -place.top).window(pixels)
        blend = cv2.addWeighted(image, 0.5, sheet, 0.5, TRUNCATE)

        boxes_xyxy = object_array(partner, "gt_bbox") * (fit * jitter)
        boxes_xyxy = clip_boxes(boxes_xyxy, sheet_h, sheet_w)
        if flip:
            boxes_xyxy[:, [0, 2]] = sheet_w - boxes_xyxy[:, [2, 0]]
        boxes_xyxy -= np.array([left, top, left, top], np.float32)
        return blend, {**partner, "gt_bbox": clip_boxes(boxes_xyxy, height, width)}


@register
class UpstreamMosaic(Mosaic):
    """`Mosaic` as YOLOX's authors draw it: each axis has its own shear and translation."""

    def _draw_axes(self, rng: np.random.Generator, interval: Sequence[float]) -> np.ndarray:
        return rng.uniform(interval[0], interval[1], 2)


@register
@dataclass(eq=False)
class PolygonMosaic(UpstreamMosaic):
    """`UpstreamMosaic` that keeps the polygons of objects, for `CopyPaste` after it. A fifth image
    cannot be blended in, as masks mean nothing where two images are seen at once.
    """

    enable_mixup: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.enable_mixup:
            raise ConfigError("enable_mixup: found true, allowed: false")

    def _warped(self, sample: Sample, tile: Tile, matrix: np.ndarray) -> Sample:
        warped = super()._warped(sample, tile, matrix)
        if sample.get("gt_poly") is not None:
            warped["gt_poly"] = [
                [self._warped_points(part, tile, matrix) for part in own]
                for own in sample["gt_poly"]
            ]
        return warped

    def _warped_points(self, points: np.ndarray, tile: Tile, matrix: np.ndarray) -> np.ndarray:
        """Points [K, 2] of an image in the result; those beside the canvas move to its border."""
        on_canvas = points * tile.scale + np.array([tile.left, tile.top])
        on_canvas = np.clip(on_canvas, 0, 2 * np.array(self.input_hw[::-1]))
        moved: np.ndarray = on_canvas @ matrix[:, :2].T + matrix[:, 2]
        return moved

    def _joined(self, parts: list[Sample]) -> Sample:
        joined = joined_objects(parts)
        if any(part.get("gt_poly") is not None for part in parts):
            joined["gt_poly"] = [
                own
                for part in parts
                for own in part.get("gt_poly") or [[]] * len(object_array(part, "gt_bbox"))
            ]
        return joined


def place_tile(corner: int, size_hw: SizeHW, input_hw: SizeHW, center_xy: tuple[int, int]) -> Tile:
    """The image of `size_hw`, fitted into `input_hw`, in one of the corners around `center_xy`: 0
    top left, 1 top right, 2 bottom left, 3 bottom right. The canvas is twice as high and wide.
    """
    scale = min(input_hw[0] / size_hw[0], input_hw[1] / size_hw[1])
    height, width = (max(int(side * scale), 1) for side in size_hw)
    left = center_xy[0] - (width if corner in (0, 2) else 0)
    top = center_xy[1] - (height if corner in (0, 1) else 0)
    canvas = Rect(0, 0, 2 * input_hw[1], 2 * input_hw[0])
    return Tile(scale, left, top, Rect(left, top, left + width, top + height).cut(canvas))


def draw_tile(out: np.ndarray, image: LazyImage, tile: Tile, matrix: np.ndarray) -> None:
    """Write the tile's window, taken by `matrix` [2, 3] from the canvas to `out`, into `out`: the
    pixels whose center comes from inside the window, so tiles neither overlap nor leave gaps.
    """
    left, top, right, bottom = tile.window_xyxy
    bounds = warp_boxes(np.array([tile.window_xyxy], np.float64), matrix)[0]
    x1, y1, x2, y2 = map(int, (*np.floor(bounds[:2]), *np.ceil(bounds[2:])))
    touched = Rect(x1, y1, x2, y2).cut(Rect(0, 0, out.shape[1], out.shape[0]))
    if not touched.area:
        return
    x1, y1, x2, y2 = touched
    to_canvas = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    rows = np.arange(y1, y2) + 0.5
    first, last = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    for (along_x, along_y, offset), low, high in zip(to_canvas, (left, top), (right, bottom)):
        first, last = _narrowed(first, last, along_x, along_y * rows + offset, low, high)
    ends = np.ceil(np.stack([first, last]) - (x1 + 0.5))
    first, last = np.clip(ends, 0, x2 - x1).astype(np.int32)[..., None]
    columns = np.arange(x2 - x1, dtype=np.int32)
    inside = (columns >= first) & (columns < last)

    linear, shift = matrix[:, :2] * tile.scale, matrix[:, :2] @ (tile.left, tile.top) + matrix[:, 2]
    # OpenCV counts from pixel centers, and the result starts at (x1, y1).
    shift = shift + linear @ (0.5, 0.5) - (0.5, 0.5) - (x1, y1)
    warped = cv2.warpAffine(
        image.pixels(),
        np.hstack([linear, shift[:, None]]),
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    cv2.copyTo(warped, inside.view(np.uint8), touched.window(out))


def _narrowed(
    first: np.ndarray, last: np.ndarray, slope: float, offset: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """The part of [first, last) (per row) where low <= slope * x + offset < high."""
    if slope == 0:
        inside = (offset >= low) & (offset < high)
        return first, np.where(inside, last, first)
    ends = (low - offset) / slope, (high - offset) / slope
    ends = ends if slope > 0 else ends[::-1]
    return np.maximum(first, ends[0]), np.minimum(last, ends[1])


def warp_boxes(boxes_xyxy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Bounds [N, 4] of the four corners of each box after the affine map `matrix` [2, 3]."""
    corners = boxes_xyxy[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.hstack([corners.min(axis=1), corners.max(axis=1)]).astype(np.float32)


def _uniform(rng: np.random.Generator, interval: Sequence[float]) -> float:
    return rng.uniform(interval[0], interval[1])
