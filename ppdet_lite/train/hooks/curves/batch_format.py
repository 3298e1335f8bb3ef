"""The form of a reader's batches, and its images drawn with their boxes."""

from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox
from ppdet_lite.data.transforms.normalize import ToBGR
from ppdet_lite.data.transforms.transform import Transform

_BOX_COLOR = (255, 220, 0)


class BatchFormat(NamedTuple):
    """The form of the images and boxes in a batch: boxes are center x, center y, width, height
    (or corners x1, y1, x2, y2), as fractions of the image's sides (or in pixels); channels are B,
    G, R if `is_bgr`.
    """

    normalizer: Normalizer = Normalizer.identity()
    centers: bool = True
    fractions: bool = True
    is_bgr: bool = False

    @classmethod
    def after(cls, transforms: Sequence) -> "BatchFormat":
        """The format that a reader's transforms leave."""
        normalizers = [step.normalizer for step in transforms if isinstance(step, Transform)]
        facts = (
            any(isinstance(step, kind) for step in transforms)
            for kind in (BboxXYXY2XYWH, NormalizeBox, ToBGR)
        )
        return cls(next(filter(None, normalizers), Normalizer.identity()), *facts)

    def draw(self, batch: dict, count: int) -> list[np.ndarray]:
        """The first `count` images with their boxes, uint8 [H, W, 3] RGB.

        `batch` holds `image` float32 [B, 3, H, W] normalized, or uint8 [B, H, W, 3], and perhaps
        `gt_bbox` float32 [B, P, 4], zero padded, or a list of B arrays [P, 4].
        """
        images = []
        for index, pixels in enumerate(batch["image"][:count]):
            image = pixels.copy()
            if image.dtype != np.uint8:
                slope, offset = self.normalizer.pixel_map()
                image = (pixels.transpose(1, 2, 0) - offset) / slope
                image = np.ascontiguousarray(np.clip(image + 0.5, 0, 255).astype(np.uint8))
            if self.is_bgr:
                image = np.ascontiguousarray(image[..., ::-1])
            boxes = np.asarray(batch["gt_bbox"][index] if "gt_bbox" in batch else np.zeros((0, 4)))
            if self.fractions:
                boxes = boxes * np.tile(image.shape[1::-1], 2)
            first, second = boxes[:, :2], boxes[:, 2:]
            if self.centers:
                first, second = first - second / 2, first + second / 2
            for start, end in zip(first, second):
                if (end > start).all():
                    corners = [[int(edge + 0.5) for edge in corner] for corner in (start, end)]
                    cv2.rectangle(image, corners[0], corners[1], _BOX_COLOR, 2)
            images.append(image)
        return images
