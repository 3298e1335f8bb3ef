"""Losses, metrics and a few training images for the programs that draw curves."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Optional, Protocol

import numpy as np

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.train.hooks.base import Hook, Run, StepRecord
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.utils.logger import get_logger

_IMAGES_SHOWN = 4
_SMALLEST_ROOM = 4 * 2**20  # bytes


class CurveWriter(Protocol):
    """The way into one program."""

    def add_scalars(self, values: dict[str, float], iteration: int) -> None:
        """Numbers by tag, such as `train/loss`."""

    def add_image(self, tag: str, image: np.ndarray, iteration: int) -> None:
        """An image uint8 [H, W, 3], RGB."""

    def close(self) -> None:
        """Writes what is not written yet."""


class CurvesHook(Hook):
    """Scalars every `log_iter` steps, metrics after evaluations, images of the first batch as the
    network sees them: wrong annotations and wrong transforms become visible there.

    Args:
        folder: where the program writes; its curves end when no room is left there.
    """

    name = ""

    def __init__(self, writer: CurveWriter, folder: str, log_iter: int, batch_format: BatchFormat):
        self.log_iter, self.batch_format, self._images_wanted = log_iter, batch_format, True
        self._writer, self._folder, self._is_full = writer, folder, False

    def _has_room(self) -> bool:
        """False from the moment when the disk is full: VisualDL's writer would break or hang."""
        if not self._is_full and shutil.disk_usage(self._folder).free < _SMALLEST_ROOM:
            self._is_full = True
            text = "%s: %s has no room left; its curves end here"
            get_logger().warning(text, self.name, self._folder)
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
            tagged = {f"train/{key}": value for key, value in scalars.items()}
            self._writer.add_scalars(tagged, iteration)

    def after_epoch(self, run: Run) -> None:
        """Writes the metrics if the evaluation hook, called before, evaluated this epoch."""
        latest = run.state.last_evaluation
        if latest and latest["epoch"] == run.state.epoch and self._has_room():
            tagged = {f"eval/{key}": value for key, value in latest["metrics"].items()}
            self._writer.add_scalars(tagged, run.state.iteration)

    def close(self, run: Run) -> None:
        """Flushes the log."""
        with contextlib.suppress(OSError):  # of a disk that is full
            self._writer.close()


class ServiceHook(CurvesHook):
    """Curves for a service that knows a run by an id of its own.

    Args:
        folder: the run folder; it remembers the id.
        run_name: name of the run.
        resumed: go on with the run of an earlier process.

    Raises:
        ConfigError: the service's package is not installed, or the service cannot start a run.
    """

    id_file = ""
    """Where the run folder remembers the id."""

    def __init__(
        self,
        folder: str,
        log_iter: int,
        batch_format: BatchFormat,
        *,
        run_name: str,
        resumed: bool,
    ):
        file = Path(made(folder, "save_dir")) / self.id_file
        known = file.read_text().strip() if resumed and file.is_file() else None
        writer, run_id = self.start(folder, run_name, known)
        file.write_text(run_id)
        super().__init__(writer, folder, log_iter, batch_format)

    def start(self, folder: str, run_name: str, known: Optional[str]) -> tuple[CurveWriter, str]:
        """Starts a run, or goes on with the `known` one; returns its writer and id."""
        raise NotImplementedError


def made(folder: str, key: str) -> str:
    """`folder`, which now exists; a ConfigError that names `key` if it cannot be made."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{key} {folder}: {error.strerror}") from None
    return folder
