"""Curves for MLflow."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any, Optional

import cv2
import numpy as np

from ppdet_lite.core.errors import ConfigError, require
from ppdet_lite.train.hooks.curves.hook import CurveWriter, ServiceHook
from ppdet_lite.utils.logger import get_logger


class MLflowHook(ServiceHook):
    """A run of MLflow, in the experiment `ppdet_lite` unless MLFLOW_EXPERIMENT_NAME names another;
    without MLFLOW_TRACKING_URI it goes into `mlflow.db` and `mlartifacts` of the run folder.
    """

    name, id_file = "MLflow", "mlflow_run.txt"

    def start(self, folder: str, run_name: str, known: Optional[str]) -> tuple[CurveWriter, str]:
        mlflow: Any = require("mlflow", "sending curves to MLflow", "mlflow", error=ConfigError)
        place, artifacts = os.environ.get("MLFLOW_TRACKING_URI", ""), None
        if not place:  # MLflow refuses folders in its newer versions
            place = f"sqlite:///{Path(folder, 'mlflow.db').resolve()}"
            artifacts = Path(folder, "mlartifacts").resolve().as_uri()
        try:
            client = mlflow.MlflowClient(tracking_uri=place)
            run_id = known or _new_run(client, run_name, artifacts)
        except mlflow.exceptions.MlflowException as error:
            raise ConfigError(f"loggers: mlflow at {place} cannot start a run: {error}") from error
        get_logger().info("MLflow: mlflow ui --backend-store-uri %s", place)
        return _Writer(client, run_id), run_id


def _new_run(client: Any, run_name: str, artifacts: Optional[str]) -> str:
    title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ppdet_lite")
    experiment = client.get_experiment_by_name(title)
    if experiment is None:
        number = client.create_experiment(title, artifact_location=artifacts)
    else:
        number = experiment.experiment_id
    return str(client.create_run(number, run_name=run_name).info.run_id)


class _Writer:
    def __init__(self, client: Any, run_id: str):
        self._client, self._run_id = client, run_id

    def add_scalars(self, values: dict[str, float], iteration: int) -> None:
        for tag, value in values.items():
            if math.isfinite(value):
                self._client.log_metric(self._run_id, tag, value, step=iteration)

    def add_image(self, tag: str, image: np.ndarray, iteration: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"iteration_{iteration}.png")
            path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
            self._client.log_artifact(self._run_id, str(path), tag)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)
