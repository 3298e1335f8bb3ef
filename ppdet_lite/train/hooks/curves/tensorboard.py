"""Curves for TensorBoard, by the package tensorboard alone: no TensorFlow, no PyTorch."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.hook import CurvesHook, made
from ppdet_lite.utils.logger import get_logger


class TensorBoardHook(CurvesHook):
    """Writes into `folder`, which `tensorboard --logdir FOLDER` shows.

    Raises:
        ConfigError: the package tensorboard is not installed, or the folder cannot be made.
    """

    name = "TensorBoard"

    def __init__(self, folder: str, log_iter: int, batch_format: BatchFormat):
        super().__init__(_Writer(made(folder, "save_dir")), folder, log_iter, batch_format)
        get_logger().info("TensorBoard: tensorboard --logdir %s", folder)


class _Writer:
    def __init__(self, folder: str):
        use = "writing a TensorBoard log", "tensorboard"
        writers = require("tensorboard.summary.writer.event_file_writer", *use, error=ConfigError)
        self._proto: Any = require("tensorboard.compat.proto", *use, error=ConfigError)
        for part in ("event_pb2", "summary_pb2"):
            require(f"tensorboard.compat.proto.{part}", *use, error=ConfigError)
        self._log = writers.EventFileWriter(folder)
        self.close = self._log.close

    def add_scalars(self, values: dict[str, float], iteration: int) -> None:
        kind = self._proto.summary_pb2.Summary.Value
        self._add([kind(tag=tag, simple_value=value) for tag, value in values.items()], iteration)

    def add_image(self, tag: str, image: np.ndarray, iteration: int) -> None:
        summary = self._proto.summary_pb2.Summary
        encoded = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        size = {"height": image.shape[0], "width": image.shape[1], "colorspace": 3}
        content = summary.Image(encoded_image_string=encoded, **size)
        self._add([summary.Value(tag=tag, image=content)], iteration)

    def _add(self, values: list, iteration: int) -> None:
        summary = self._proto.summary_pb2.Summary(value=values)
        event = self._proto.event_pb2.Event(wall_time=time.time(), step=iteration, summary=summary)
        self._log.add_event(event)
