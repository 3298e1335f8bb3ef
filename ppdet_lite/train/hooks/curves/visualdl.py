"""Curves for VisualDL."""

from __future__ import annotations

from typing import Any

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.hook import CurvesHook, made
from ppdet_lite.utils.logger import get_logger


class VisualDLHook(CurvesHook):
    """Writes into `folder`, which `visualdl --logdir FOLDER` shows.

    Raises:
        ConfigError: the package visualdl is not installed, or the folder cannot be made.
    """

    name = "VisualDL"

    def __init__(self, folder: str, log_iter: int, batch_format: BatchFormat):
        visualdl = require("visualdl", "writing a VisualDL log", "vdl", error=ConfigError)
        made(folder, "`vdl_log_dir`")  # VisualDL itself goes on without a log
        writer = _Writer(visualdl.LogWriter(logdir=folder))
        super().__init__(writer, folder, log_iter, batch_format)
        get_logger().info("VisualDL: visualdl --logdir %s", folder)


class _Writer:
    def __init__(self, log: Any):
        self.add_image, self.close, self._log = log.add_image, log.close, log

    def add_scalars(self, values: dict[str, float], iteration: int) -> None:
        for tag, value in values.items():
            self._log.add_scalar(tag, value, iteration)
