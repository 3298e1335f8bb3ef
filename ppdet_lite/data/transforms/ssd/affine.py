"""RandomAffine: the image turned, moved, scaled and sheared a little."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ppdet_lite.core.workspace import register
from ppdet_lite.data import kinds
from ppdet_lite.data.pixels.image_ops import fill_to_uint8
from ppdet_lite.data.transforms.mosaic import warp_boxes
from ppdet_lite.data.transforms.objects import Sample
from ppdet_lite.data.transforms.transform import CORNERS, Context, Transform, lazy_image
from ppdet_lite.ops.boxes_np import clip_boxes


class Warp(NamedTuple):
    """The painter that warps an image; `matrix` [3, 3] takes shares of its sides to such shares."""

    matrix: np.ndarray
    fill: tuple[int, int, int]

    def draw(self, out: np.ndarray) -> None:
        height, width = out.shape[:2]
        # OpenCV counts from pixel centers.
        to_pixels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]], np.float64)
        matrix = to_pixels @ self.matrix @ np.linalg.inv(to_pixels)
        out[:] = cv2.warpAffine(
            out.copy(),
            matrix[:2],
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderValue=self.fill,
        )


@register
@dataclass(eq=False)
class RandomAffine(Transform):
    """Rotation and scale about the middle, then translation, then shear, with probability `prob`.

    Boxes become the bounds of their turned corners, shrunk by sqrt(cos(angle)), cut to the image;
    those outside have no area. Polygons are dropped.

    Args:
        degrees, shear: [lower, upper] in degrees; the shear of each axis is drawn by itself.
        translate: largest translation as a share of the other side.
        scale: [lower, upper].
        fill_value: color beside the image, one number or R, G, B in 0..255.
    """

    takes_boxes = CORNERS
    keeps_size = True

    prob: kinds.Probability = 0.5
    degrees: kinds.Interval = (-10, 10)
    translate: kinds.Probability = 0.1
    scale: kinds.PositiveInterval = (0.9, 1.1)
    shear: kinds.Interval = (-2, 2)
    fill_value: kinds.Fill = (123.675, 116.28, 103.53)

    def apply(self, sample: Sample, context: Context) -> Sample:
        rng = context.rng
        if rng.random() >= self.prob:
            return sample
        image = lazy_image(sample)
        height, width = image.size_hw
        angle = math.radians(rng.uniform(self.degrees[0], self.degrees[1]))
        matrix = self._matrix(rng, angle, height, width)
        sides = np.diag([width, height, 1.0])
        red, green, blue = fill_to_uint8(self.fill_value).tolist()
        warp = Warp(np.linalg.inv(sides) @ matrix @ sides, (red, green, blue))
        warped = {key: value for key, value in sample.items() if key != "gt_poly"}
        warped["image"] = image.paint(warp)
        if "gt_bbox" in sample:
            boxes_xyxy = warp_boxes(sample["gt_bbox"], matrix[:2])
            center = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
            half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2
            half *= math.sqrt(max(abs(math.sin(angle)), abs(math.cos(angle))))
            boxes_xyxy = np.hstack([center - half, center + half]).astype(np.float32)
            warped["gt_bbox"] = clip_boxes(boxes_xyxy, height, width)
        return warped

    def _matrix(
        self, rng: np.random.Generator, angle: float, height: int, width: int
    ) -> np.ndarray:
        """Affine map [3, 3] of pixels."""
        scale = rng.uniform(self.scale[0], self.scale[1])
        along, across = scale * math.cos(angle), scale * math.sin(angle)
        x, y = width / 2, height / 2
        turn = np.array(
            [
                [along, across, (1 - along) * x - across * y],
                [-across, along, across * x + (1 - along) * y],
                [0, 0, 1],
            ]
        )
        move = np.eye(3)
        move[:2, 2] = rng.uniform(-self.translate, self.translate, 2) * (height, width)
        slant = np.eye(3)
        shear = rng.uniform(self.shear[0], self.shear[1], 2)
        slant[[0, 1], [1, 0]] = np.tan(np.radians(shear))
        matrix: np.ndarray = slant @ move @ turn
        return matrix
