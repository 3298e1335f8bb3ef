"""Curves for Weights & Biases."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.curves.hook import CurveWriter, ServiceHook


class WandbHook(ServiceHook):
    """A run of Weights & Biases, in the project `ppdet_lite` unless WANDB_PROJECT names another;
    WANDB_MODE=offline needs no account.
    """

    name, id_file = "W&B", "wandb_run.txt"

    def start(self, folder: str, run_name: str, known: Optional[str]) -> tuple[CurveWriter, str]:
        wandb: Any = require("wandb", "sending curves to W&B", "wandb", error=ConfigError)
        project = wandb.Settings().project or "ppdet_lite"
        identity = {"id": known, "resume": "allow"} if known else {}
        try:
            run = wandb.init(project=project, name=run_name, dir=folder, **identity)
        except wandb.errors.Error as error:
            raise ConfigError(
                f"loggers: wandb cannot start a run: {error}. Log in with `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error
        return _Writer(wandb, run), run.id


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
