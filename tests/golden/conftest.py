"""Models of the reference set with their generated weights, built once for all golden tests."""

import json

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config


@pytest.fixture(scope="session")
def golden_config(repo):
    """Name of a config of the reference set -> the shipped configuration of that name."""
    files = {path.stem: path for path in (repo / "configs").rglob("*.yml")}
    return lambda name: load_config(files[name])


@pytest.fixture(scope="session")
def golden_description(golden):
    """Name of a config -> its state-dict file's content."""
    return lambda name: json.loads((golden / "state_dict" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def golden_model(golden, golden_fill, golden_description, golden_config):
    """Name of a config -> (model in evaluation mode, its filled state dict)."""
    built = {}

    def get(name):
        if name not in built:
            description = golden_description(name)
            cfg = golden_config(name)
            model = create(cfg.architecture, cfg)
            with np.load(golden / "stats" / f"{name}.npz") as stats:
                state = golden_fill.fill_state(description["shapes"], stats)
            built[name] = model, state
            load(model, state)
        model, state = built[name]
        model.eval()
        return model, state

    return get


def load(model, state):
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in state.items()})


@pytest.fixture(scope="session")
def reload_state():
    """Puts numpy values into a model."""
    return load


@pytest.fixture(scope="session")
def golden_yolov4(golden):
    """The reference set of darknet's YOLOv4."""
    folder = golden.parent / "golden_yolov4"
    if not folder.is_dir():
        pytest.skip("needs the reference outputs in ../shared/golden_yolov4")
    return folder


@pytest.fixture(scope="session")
def golden_asff(golden):
    """The reference set of YOLOv3 with ASFF."""
    folder = golden.parent / "golden_asff"
    if not folder.is_dir():
        pytest.skip("needs the reference outputs in ../shared/golden_asff")
    return folder
