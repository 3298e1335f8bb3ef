"""The modules of deploy/python, which lie outside the package, and models for them."""

import importlib
import shutil
import sys
from types import SimpleNamespace

import pytest

MODULES = (
    "infer",
    "infer_run",
    "detector",
    "model_folder",
    "engine_paddle",
    "engine_onnx",
    "engine_process",
    "tensorrt_config",
    "frame_sources",
    "frame_results",
    "frame_pipeline",
    "stage_times",
)


@pytest.fixture(scope="session")
def deploy(repo):
    """The scripts as modules: `deploy.detector.Detector` and so on."""
    sys.path.insert(0, str(repo / "deploy/python"))
    return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})


@pytest.fixture(scope="session")
def trained(small_config):
    """The trained model that `exported` was made from."""
    from ppdet_lite.core.workspace import load_config
    from ppdet_lite.engine.predictor import Predictor

    return Predictor.from_config(load_config(small_config))


@pytest.fixture
def broken(exported, tmp_path):
    """A copy of the export that a test may damage."""
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    return folder
