"""Curves for Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.hook import CurvesHook, made

_ID_FILE = "wandb_run.txt"


class WandbHook(CurvesHook):
    """A run of Weights & Biases, in the project `ppdet_lite` unless WANDB_PROJECT names another;
    WANDB_MODE=offline needs no account.

    Args:
        folder: the run folder; it remembers the run's id.
        run_name: name of the run.
        resumed: go on with the run of an earlier process.

    Raises:
        ConfigError: the package wandb is not installed, or it cannot start a run.
    """

    name = "W&B"

    def __init__(
        self,
        folder: str,
        log_iter: int,
        batch_format: BatchFormat,
        *,
        run_name: str,
        resumed: bool,
    ):
        wandb: Any = require("wandb", "sending curves to W&B", "wandb", error=ConfigError)
        id_file = Path(made(folder, "save_dir")) / _ID_FILE
        known = id_file.read_text().strip() if resumed and id_file.is_file() else None
        settings = wandb.Settings()
        project = settings.project or "ppdet_lite"
        identity = {"id": known, "resume": "allow"} if known else {}
        try:
            run = wandb.init(project=project, name=run_name, dir=folder, **identity)
        except wandb.errors.Error as error:
            raise ConfigError(
                f"loggers: wandb cannot start a run: {error}. Log in with `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error
        id_file.write_text(run.id)
        super().__init__(_Writer(wandb, run), folder, log_iter, batch_format)


class _Writer:
    def __init__(self, wandb: Any, run: Any):
        self._image, self._run = wandb.Image, run
        run.define_metric("iteration")
        run.define_metric("*", step_metric="iteration")

    def add_scalars(self, values: dict[str, float], iteration: int) -> None:
        # Its own steps may not go back, as those of a resumed run do.
        self._run.log({"iteration": iteration, **values})

    def add_image(self, tag: str, image: np.ndarray, iteration: int) -> None:
        self._run.log({"iteration": iteration, tag: self._image(image)})

    def close(self) -> None:
        self._run.finish()
