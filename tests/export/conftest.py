"""Models, exports and a quick format that the tests of exports share."""

import functools
import re
import shutil
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import DataError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.formats.format import Format, Trial
from ppdet_lite.export.graph import DetectorUpTo
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.weights.checkpoint import save_checkpoint

CLASS_NAMES = {"class_names": ["square", "circle"]}


@pytest.fixture(scope="session")
def trained(small_config):
    """The model of `small_config`, from which `exported` was made."""
    return load_trained_model(load_config(small_config))[0]


@pytest.fixture(scope="session")
def mild_settings(small_config, tmp_path_factory):
    """Overrides of `small_config` with weights whose raw outputs are of the size of trained ones.

    Scores that are all 1.0 would leave the order within NMS, and with it the result, to chance.
    """
    model = load_trained_model(load_config(small_config))[0]
    rng = np.random.default_rng(2)
    for key, value in model.state_dict().items():
        if key.endswith("conv_offset.weight"):  # they start at zero, without any offset
            value.set_value(rng.normal(0, 0.01, value.shape).astype(np.float32))
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    sample = Preprocess(create("TestReader", load_config(small_config)).preprocess_config())(
        built_in_image()
    )
    with paddle.no_grad():
        maps = model.neck(model.backbone(paddle.to_tensor(sample["image"][None])))
    for i, level in enumerate(maps):
        spread = float((level**2).sum(axis=1).mean() ** 0.5)
        state[f"yolo_head.yolo_output.{i}.weight"] *= 4 / spread
    folder = tmp_path_factory.mktemp("weights")
    save_checkpoint(str(folder), "even", state, CLASS_NAMES)
    return [f"weights={folder / 'even'}"]


@pytest.fixture
def mild_config(small_config, mild_settings):
    return load_config(small_config, mild_settings)


@pytest.fixture(scope="session")
def mild_model(small_config, mild_settings):
    return load_trained_model(load_config(small_config, mild_settings))[0]


@pytest.fixture
def changed_config(small_config, tmp_path):
    """changed_config(change, overrides...): `small_config` after `change(head)`."""

    def make(change, *overrides):
        model = load_trained_model(load_config(small_config))[0]
        change(model.yolo_head)
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        save_checkpoint(str(tmp_path / "changed"), "changed", state, CLASS_NAMES)
        weights = f"weights={tmp_path / 'changed' / 'changed'}"
        return load_config(small_config, [weights, *overrides])

    return make


def assert_damage_is_refused(exported, name, engine, tmp_path):
    """A copy of an export is refused, by the name of the file, for each of 20 bit flips and 20
    truncations of one file, and loads again once the file is whole."""
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    content, rng = (exported / name).read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(content), 20):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(0, 8))
        for damaged in (flipped, content[:place]):
            (folder / name).write_bytes(damaged)
            with pytest.raises(DataError, match=f"{re.escape(name)}: found .*, allowed: "):
                ModelFolder(folder, engine, graph=None if name.endswith("params") else name)
    (folder / name).write_bytes(content)
    assert ModelFolder(folder, engine).config.files.keys() >= {name}


def run_network(network, stage, inputs):
    """A network in the place of an engine that runs its export."""
    tensors = {key: paddle.to_tensor(value) for key, value in inputs.items()}
    with evaluation_mode(network):
        return [output.numpy() for output in DetectorUpTo(network, stage)(tensors)]


@pytest.fixture
def network_engine():
    """network_engine(network, stage): an engine of it."""

    def make(network, stage="nms"):
        return SimpleNamespace(run=functools.partial(run_network, network, stage))

    return make


@pytest.fixture
def quick_export(small_config, tmp_path):
    """quick_export(write=..., run=..., parent=..., cfg=..., options...): an export in a format that
    is one small file and what `write(network, folder)` adds to it; `run(inputs)` is its engine."""

    def export(write=lambda network, folder: None, run=None, parent=tmp_path, cfg=None, **more):
        class Quick(Format):
            name, files = "quick", ("quick.txt",)

            def write(self, network, folder, options):
                (folder / "quick.txt").write_text("new")
                write(network, folder)

            def trials(self, folder):
                return [Trial("a quick engine", lambda: SimpleNamespace(run=run))] if run else []

        options = ExportOptions(formats=["quick"], **more)
        return export_model(cfg or load_config(small_config), parent, options)

    return export
