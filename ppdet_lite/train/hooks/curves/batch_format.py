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
        for index in range(min(count, len(batch["image"]))):
            image, boxes = self.image_and_boxes(batch, index)
            for x1, y1, x2, y2 in (boxes + 0.5).astype(int).tolist():
                cv2.rectangle(image, (x1, y1), (x2, y2), _BOX_COLOR, 2)
            images.append(image)
        return images

    def image_and_boxes(self, batch: dict, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One image, uint8 [H, W, 3] RGB, and its boxes x1, y1, x2, y2 in pixels, [P, 4]; boxes of
        padding stay away.
        """
        image, boxes = self._image(batch["image"][index]), self._boxes(batch, index)
        boxes = boxes * np.tile(image.shape[1::-1], 2) if self.fractions else boxes
        return image, boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]

    def classes(self, batch: dict, index: int) -> list[int]:
        """The class indices of the boxes of `image_and_boxes`; [] where the batch has none."""
        if "gt_class" not in batch:
            return []
        boxes = self._boxes(batch, index)
        classes = np.asarray(batch["gt_class"][index]).reshape(-1)
        kept: list[int] = classes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)].astype(int).tolist()
        return kept

    def _image(self, pixels: np.ndarray) -> np.ndarray:
        image = pixels.copy()
        if image.dtype != np.uint8:
            slope, offset = self.normalizer.pixel_map()
            image = (pixels.transpose(1, 2, 0) - offset) / slope
            image = np.ascontiguousarray(np.clip(image + 0.5, 0, 255).astype(np.uint8))
        return np.ascontiguousarray(image[..., ::-1]) if self.is_bgr else image

    def _boxes(self, batch: dict, index: int) -> np.ndarray:
        """Corners in the unit of the batch, padding included."""
        boxes = np.asarray(batch["gt_bbox"][index] if "gt_bbox" in batch else np.zeros((0, 4)))
        if self.centers:
            half = boxes[:, 2:] / 2
            boxes = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
        return boxes
