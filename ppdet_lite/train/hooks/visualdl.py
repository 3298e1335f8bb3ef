"""Writes losses, metrics and a few training images for VisualDL."""

import contextlib
import os
import shutil
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.data.pixels.image_ops import Normalizer
from ppdet_lite.data.transforms.box_formats import BboxXYXY2XYWH, NormalizeBox
from ppdet_lite.data.transforms.normalize import ToBGR
from ppdet_lite.data.transforms.transform import Transform
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.utils.logger import get_logger

_BOX_COLOR = (255, 220, 0)
_IMAGES_SHOWN = 4
_SMALLEST_ROOM = 4 * 2**20  # bytes


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


class VisualDLHook(Hook):
    """Scalars every `log_iter` steps, metrics after evaluations, images of the first batch as the
    network sees them: wrong annotations and wrong transforms become visible there.

    Raises:
        ConfigError: the package visualdl is not installed, or the folder cannot be made.
    """

    def __init__(self, folder: str, log_iter: int, batch_format: BatchFormat):
        visualdl = require("visualdl", "writing a VisualDL log", "visualdl", error=ConfigError)
        try:  # VisualDL itself goes on without a log
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"`vdl_log_dir` {folder}: {error.strerror}") from None
        self.log_iter, self.batch_format, self._images_wanted = log_iter, batch_format, True
        self._folder, self._is_full = folder, False
        self._writer = visualdl.LogWriter(logdir=folder)
        get_logger().info("VisualDL: visualdl --logdir %s", folder)

    def _has_room(self) -> bool:
        """False from the moment when the disk is full: VisualDL's writer would break or hang."""
        if not self._is_full and shutil.disk_usage(self._folder).free < _SMALLEST_ROOM:
            self._is_full = True
            get_logger().warning("VisualDL: %s has no room left; its curves end here", self._folder)
        return not self._is_full

    def after_step(self, run: Run, record: StepRecord) -> None:
        """Scalars, and images at the first step."""
        iteration = run.state.iteration
        wanted = self._images_wanted or iteration == 1 or iteration % self.log_iter == 0
        if not wanted or not self._has_room():
            return
        if self._images_wanted:
            for index, image in enumerate(self.batch_format.draw(record.batches[0], _IMAGES_SHOWN)):
                self._writer.add_image(f"train/{index}", image, iteration)
            self._images_wanted = False
        if iteration == 1 or iteration % self.log_iter == 0:
            scalars = {"learning_rate": record.learning_rate, **record.mean_losses()}
            for key, value in scalars.items():
                self._writer.add_scalar(f"train/{key}", value, iteration)

    def after_epoch(self, run: Run) -> None:
        """Writes the metrics if the evaluation hook, called before, evaluated this epoch."""
        latest = run.state.last_evaluation
        if latest and latest["epoch"] == run.state.epoch and self._has_room():
            for key, value in latest["metrics"].items():
                self._writer.add_scalar(f"eval/{key}", value, run.state.iteration)

    def close(self, run: Run) -> None:
        """Flushes the log."""
        with contextlib.suppress(OSError):  # of a disk that is full
            self._writer.close()
