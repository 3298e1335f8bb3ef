"""Exports of --input-size dynamic: which sizes they may be run at, and how one is chosen."""

import json

import pytest
import yaml

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.detector import Detector


@pytest.fixture(scope="module")
def open_export(small_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    return export_model(load_config(small_config), folder, ExportOptions(input_size="dynamic"))


def settings_of(folder, **changes):
    """Changes infer_cfg.yml; returns its path."""
    path = folder / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return path


def resize(size, keep_ratio=False):
    return {"type": "Resize", "target_size": size, "keep_ratio": keep_ratio}


def pad(size):
    return {"type": "Pad", "size": size}


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ([resize([250, 256])], "Resize.target_size: found [250, 256], allowed: multiples of 32"),
        ([resize([64, 64], True), pad([64, 65])], "Pad.size: found [64, 65], allowed: multiples"),
        ([pad([64, 64]), resize([32, 33])], "Resize.target_size: found [32, 33], allowed: multi"),
        ([resize([64, 64], True)], "Resize.keep_ratio: found true without Pad"),
        ([pad([64, 65]), resize([32, 64])], None),
        ([resize([50, 50], True), pad([64, 64])], None),
        ([resize([64, 96])], None),
        ([{"type": "Permute"}], None),
    ],
)
def test_sizes_that_the_network_cannot_take(broken, ops, reason):
    path = settings_of(broken, image_shape=[3, -1, -1], Preprocess=ops)
    if reason is None:
        ModelFolder(broken)
        return
    with pytest.raises(ConfigError) as caught:
        ModelFolder(broken)
    assert str(caught.value).startswith(f"{path}: Preprocess.{reason}")


def test_another_size_of_the_network_input(open_export, tiny_coco, tmp_path, monkeypatch):
    """For images here, and for videos in the network's process, with what infer_cfg.yml says put
    aside."""
    detector = Detector(open_export, input_size=[64, 160])
    assert detector.preprocess(built_in_image())["image"].shape == (3, 64, 160)
    expected = detector.predict([built_in_image()])[0]
    assert len(expected) > 3
    both = Detector(open_export, own_process=True, input_size=[64])
    try:
        assert both.preprocess(built_in_image())["image"].shape == (3, 64, 64)
        assert both.predict([built_in_image()])[0].shape[1] == 6
    finally:
        both.close()
    image = str(tiny_coco / "images" / "val_0.jpg")
    arguments = ["--model_dir", str(open_export), "--image_file", image, "--threshold", "0"]
    found = []
    for number, size in enumerate(([], ["--input_size", "64", "160"], ["--input-size", "64"])):
        out = tmp_path / str(number)
        main([*arguments, *size, "--save_images", "false", "--output_dir", str(out)])
        found.append(json.loads((out / "val_0.json").read_text())["detections"])
    assert found[0] != found[1] != found[2]


def test_a_size_that_an_export_cannot_take(exported, open_export):
    for size in ([60, 64], [64, 64, 64], [0]):
        with pytest.raises(ConfigError, match=f"^`input_size`: found .{size[0]}.*, allowed: "):
            ModelFolder(open_export, input_size=size)
    with pytest.raises(ConfigError, match="^`input_size`: .*model.* takes one size only"):
        ModelFolder(exported, input_size=[64])
