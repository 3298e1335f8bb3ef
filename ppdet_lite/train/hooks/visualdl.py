"""Writes losses, metrics and a few training images for VisualDL."""

import os
from typing import Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.utils.logger import get_logger

_BOX_COLOR = (255, 220, 0)


class VisualDLHook(Hook):
    """Scalars every `log_iter` steps, metrics after evaluations, images of the first batch.

    The images show what the network sees (augmented, with the boxes it is asked for), which is
    where wrong annotations and wrong transforms become visible.

    Args:
        folder: of the VisualDL log.
        log_iter: steps between scalars.
        normalization: settings of the reader's NormalizeImage (`mean`, `std`, `is_scale`), undone
            for the images; None or {} when the batches are not normalized.
        image_count: number of images.
        centers, fractions: the form of the boxes, see `image_batch`.

    Raises:
        ConfigError: the package visualdl is not installed, or the folder cannot be made.
    """

    def __init__(
        self,
        folder: str,
        log_iter: int = 20,
        normalization: Optional[dict] = None,
        image_count: int = 4,
        centers: bool = True,
        fractions: bool = True,
    ):
        visualdl = require("visualdl", "writing a VisualDL log", "visualdl", error=ConfigError)
        try:  # VisualDL itself only mutters and writes nothing
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--vdl_log_dir {folder}: {error.strerror}") from None
        self.log_iter = max(1, log_iter)
        self.normalization = normalization or {}
        self.image_count = image_count
        self.box_form = {"centers": centers, "fractions": fractions}
        self._evaluated = None
        self._writer = visualdl.LogWriter(logdir=folder)
        get_logger().info("VisualDL: visualdl --logdir %s", folder)

    def before_train(self, trainer) -> None:
        """An evaluation taken over by a resume has been written already."""
        self._evaluated = trainer.state.last_evaluation

    def after_step(self, trainer, record) -> None:
        """Scalars, and images at the first step."""
        iteration = trainer.state.iteration
        if self.image_count:
            images = image_batch(
                record.batches[0], self.normalization, self.image_count, **self.box_form
            )
            for index, image in enumerate(images):
                self._writer.add_image(f"train/{index}", image, iteration)
            self.image_count = 0
        if iteration == 1 or iteration % self.log_iter == 0:
            scalars = {"learning_rate": record.learning_rate, **record.mean_losses()}
            for key, value in scalars.items():
                self._writer.add_scalar(f"train/{key}", value, iteration)

    def after_epoch(self, trainer) -> None:
        """Stands after the evaluation hook."""
        latest = trainer.state.last_evaluation
        if latest is None or latest is self._evaluated:
            return
        self._evaluated = latest
        for key, value in latest["metrics"].items():
            self._writer.add_scalar(f"eval/{key}", value, trainer.state.iteration)

    def close(self, trainer) -> None:
        """Flushes the log."""
        self._writer.close()


def image_batch(
    batch: dict, normalization: dict, count: int, centers: bool = True, fractions: bool = True
) -> list:
    """Images of a training batch with their boxes.

    Args:
        batch: `image` float32 [B, 3, H, W] normalized, or uint8 [B, H, W, 3]; `gt_bbox` float32
            [B, P, 4], zero padded, or a list of B arrays [P, 4] (may be absent).
        normalization: `mean`, `std`, `is_scale` of the normalization to undo, or {}.
        count: at most so many.
        centers: boxes are center x, center y, width, height; otherwise two corners x1, y1, x2, y2.
        fractions: of the image's width and height; otherwise pixels.

    Returns:
        list of uint8 [H, W, 3] RGB.
    """
    images = []
    for index in range(min(count, len(batch["image"]))):
        image = _pixels(batch["image"][index], normalization)
        boxes = np.asarray(batch["gt_bbox"][index] if "gt_bbox" in batch else np.zeros((0, 4)))
        if fractions:
            boxes = boxes * np.tile(image.shape[1::-1], 2)
        first, second = boxes[:, :2], boxes[:, 2:]
        if centers:
            first, second = first - second / 2, first + second / 2
        for start, end in zip(first, second):
            if (end > start).all():
                corners = (tuple(int(edge + 0.5) for edge in corner) for corner in (start, end))
                cv2.rectangle(image, *corners, _BOX_COLOR, 2)
        images.append(image)
    return images


def _pixels(image: np.ndarray, normalization: dict) -> np.ndarray:
    """uint8 [H, W, 3], a new array; see `image_batch`."""
    if image.dtype == np.uint8:
        return image.copy()
    shifted = normalization.get("norm_type", "mean_std") == "mean_std"
    std = np.float32(normalization.get("std", 1.0) if shifted else 1.0)
    mean = np.float32(normalization.get("mean", 0.0) if shifted else 0.0)
    scale = 255.0 if normalization.get("is_scale", False) else 1.0
    pixels = image.transpose(1, 2, 0) * std + mean
    return np.ascontiguousarray(np.clip(pixels * scale + 0.5, 0, 255).astype(np.uint8))
