"""Curves for TensorBoard, Weights & Biases and MLflow."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.train.hooks.curves.batch_format import BatchFormat
from ppdet_lite.train.hooks.curves.mlflow import MLflowHook
from ppdet_lite.train.hooks.curves.tensorboard import TensorBoardHook
from ppdet_lite.train.hooks.curves.wandb import WandbHook
from ppdet_lite.train.hooks.saving import EvalHook
from ppdet_lite.train.run import run_training
from tests.train.toy_hooks import FakeEvaluator


def run(toys, hook, scores=(0.25,)):
    toys.trainer([EvalHook(FakeEvaluator(scores), 1), hook], epochs=len(scores)).run()


def test_tensorboard_gets_scalars_images_and_metrics(toys, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(toys, TensorBoardHook(str(tmp_path), 3, BatchFormat()))
    log = accumulator.EventAccumulator(str(tmp_path))
    log.Reload()
    assert [event.step for event in log.Scalars("train/loss")] == [1, 3, 6]
    assert all(np.isfinite(event.value) for event in log.Scalars("train/loss"))
    assert [(e.step, e.value) for e in log.Scalars("eval/bbox_map")] == [(6, 0.25)]
    assert log.Tags()["images"] == ["train/0", "train/1"]
    (image,) = log.Images("train/0")
    assert (image.width, image.height) == (6, 6) and image.encoded_image_string[1:4] == b"PNG"


class FakeWandb:
    """What the hook uses of wandb, after its documentation."""

    class errors:
        class Error(Exception):
            pass

    Image = tuple
    broken = False

    def __init__(self):
        self.started, self.logged, self.finished = [], [], 0

    def Settings(self):
        return SimpleNamespace(project=None)

    def init(self, **options):
        if self.broken:
            raise self.errors.Error("no API key")
        self.started.append(options)
        finish = lambda: setattr(self, "finished", self.finished + 1)  # noqa: E731
        run = {"define_metric": lambda *_, **__: None, "log": self.logged.append}
        return SimpleNamespace(id="abc", finish=finish, **run)


def test_wandb_goes_on_with_the_run_of_an_earlier_process(toys, tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)

    def hook(resumed):
        return WandbHook(str(tmp_path), 3, BatchFormat(), run_name="tiny", resumed=resumed)

    run(toys, hook(False))
    assert wandb.started == [{"project": "ppdet_lite", "name": "tiny", "dir": str(tmp_path)}]
    assert [entry["iteration"] for entry in wandb.logged if "train/loss" in entry] == [1, 3, 6]
    assert wandb.logged[-1]["eval/bbox_map"] == 0.25 and wandb.finished == 1
    hook(True)
    assert (wandb.started[1]["id"], wandb.started[1]["resume"]) == ("abc", "allow")
    wandb.broken = True
    with pytest.raises(ConfigError, match="loggers: wandb .*no API key"):
        hook(False)


class FakeMLflow:
    """What the hook uses of mlflow, after its documentation."""

    class exceptions:
        class MlflowException(Exception):
            pass

    def __init__(self):
        self.places, self.runs, self.metrics, self.artifacts, self.ended = [], [], [], [], []

    def MlflowClient(self, tracking_uri):
        self.places.append(tracking_uri)
        return self

    def get_experiment_by_name(self, title):
        return None

    def create_experiment(self, title, artifact_location):
        self.places.append(artifact_location)
        return title

    def create_run(self, experiment, run_name):
        self.runs.append((experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(self.runs)}"))

    def log_metric(self, run, key, value, step):
        self.metrics.append((run, key, value, step))

    def log_artifact(self, run, path, folder):
        with open(path, "rb") as stream:
            self.artifacts.append((folder, os.path.basename(path), stream.read()[1:4]))

    def set_terminated(self, run):
        self.ended.append(run)


def test_mlflow_goes_on_with_the_run_of_an_earlier_process(toys, tmp_path, monkeypatch):
    mlflow = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def hook(resumed):
        return MLflowHook(str(tmp_path), 3, BatchFormat(), run_name="tiny", resumed=resumed)

    run(toys, hook(False), scores=[0.25, float("nan")])
    database, artifacts = tmp_path / "mlflow.db", tmp_path / "mlartifacts"
    assert mlflow.places == [f"sqlite:///{database}", artifacts.as_uri()]
    assert mlflow.runs == [("ppdet_lite", "tiny")] and mlflow.ended == ["run1"]
    assert [m[3] for m in mlflow.metrics if m[1] == "train/loss"] == [1, 3, 6, 9, 12]
    assert [m[2:] for m in mlflow.metrics if m[1] == "eval/bbox_map"] == [(0.25, 6)]
    assert mlflow.artifacts == [
        ("train/0", "iteration_1.png", b"PNG"),
        ("train/1", "iteration_1.png", b"PNG"),
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.com")
    hook(True)
    assert mlflow.places[2] == "http://example.com" and len(mlflow.runs) == 1


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_program_that_is_not_installed(name, config, monkeypatch):
    module = "tensorboard.summary.writer.event_file_writer" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install {name} or .*\.\[{name}\]"):
        run_training(config(f"loggers=[{name}]"))


def test_a_program_that_nobody_knows(config):
    with pytest.raises(ConfigError, match="loggers: found .*allowed: .*tensorboard"):
        config("loggers=[tensorbord]")
