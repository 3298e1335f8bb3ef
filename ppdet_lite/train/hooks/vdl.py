"""Writes losses, metrics and a few training pictures for VisualDL."""

import os
from typing import Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.train.hooks.hook import Hook
from ppdet_lite.utils.logger import get_logger

_BOX_COLOUR = (255, 220, 0)


class VisualDLHook(Hook):
    """Scalars every `log_iter` steps, metrics after evaluations, pictures of the first batch.

    The pictures show what the network sees (augmented, with the boxes it is asked for), which is
    where wrong annotations and wrong transforms become visible.

    Args:
        folder: of the VisualDL log.
        log_iter: steps between scalars.
        normalisation: settings of the reader's NormalizeImage (`mean`, `std`, `is_scale`), undone
            for the pictures; None or {} when the batches are not normalised.
        pictures: number of pictures.
        centres, fractions: the form of the boxes, see `picture_batch`.

    Raises:
        ConfigError: the package visualdl is not installed, or the folder cannot be made.
    """

    def __init__(
        self,
        folder: str,
        log_iter: int = 20,
        normalisation: Optional[dict] = None,
        pictures: int = 4,
        centres: bool = True,
        fractions: bool = True,
    ):
        try:
            from visualdl import LogWriter
        except ImportError:
            raise ConfigError(
                "--use_vdl needs the package visualdl: pip install visualdl"
            ) from None
        try:  # VisualDL itself only mutters and writes nothing
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--vdl_log_dir {folder}: {error.strerror}") from None
        self.log_iter = max(1, log_iter)
        self.normalisation = normalisation or {}
        self.pictures = pictures
        self.box_form = {"centres": centres, "fractions": fractions}
        self._evaluated = None
        self._writer = LogWriter(logdir=folder)
        get_logger().info("VisualDL: visualdl --logdir %s", folder)

    def before_train(self, trainer) -> None:
        """An evaluation taken over by a resume has been written already."""
        self._evaluated = trainer.state.last_evaluation

    def after_step(self, trainer, record) -> None:
        """Scalars, and pictures at the first step."""
        iteration = trainer.state.iteration
        if self.pictures:
            images = picture_batch(
                record.batches[0], self.normalisation, self.pictures, **self.box_form
            )
            for index, image in enumerate(images):
                self._writer.add_image(f"train/{index}", image, iteration)
            self.pictures = 0
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


def picture_batch(
    batch: dict, normalisation: dict, count: int, centres: bool = True, fractions: bool = True
) -> list:
    """Pictures of a training batch with their boxes.

    Args:
        batch: `image` float32 [B, 3, H, W] normalised, or uint8 [B, H, W, 3]; `gt_bbox` float32
            [B, P, 4], zero padded, or a list of B arrays [P, 4] (may be absent).
        normalisation: `mean`, `std`, `is_scale` of the normalisation to undo, or {}.
        count: at most so many.
        centres: boxes are centre x, centre y, width, height; otherwise two corners x1, y1, x2, y2.
        fractions: of the picture's width and height; otherwise pixels.

    Returns:
        list of uint8 [H, W, 3] RGB.
    """
    pictures = []
    for index in range(min(count, len(batch["image"]))):
        picture = _pixels(batch["image"][index], normalisation)
        boxes = np.asarray(batch["gt_bbox"][index] if "gt_bbox" in batch else np.zeros((0, 4)))
        if fractions:
            boxes = boxes * np.tile(picture.shape[1::-1], 2)
        first, second = boxes[:, :2], boxes[:, 2:]
        if centres:
            first, second = first - second / 2, first + second / 2
        for start, end in zip(first, second):
            if (end > start).all():
                corners = (tuple(int(edge + 0.5) for edge in corner) for corner in (start, end))
                cv2.rectangle(picture, *corners, _BOX_COLOUR, 2)
        pictures.append(picture)
    return pictures


def _pixels(image: np.ndarray, normalisation: dict) -> np.ndarray:
    """uint8 [H, W, 3], a new array; see `picture_batch`."""
    if image.dtype == np.uint8:
        return image.copy()
    shifted = normalisation.get("norm_type", "mean_std") == "mean_std"
    std = np.float32(normalisation.get("std", 1.0) if shifted else 1.0)
    mean = np.float32(normalisation.get("mean", 0.0) if shifted else 0.0)
    scale = 255.0 if normalisation.get("is_scale", False) else 1.0
    pixels = image.transpose(1, 2, 0) * std + mean
    return np.ascontiguousarray(np.clip(pixels * scale + 0.5, 0, 255).astype(np.uint8))
