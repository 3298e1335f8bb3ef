"""The folder of an exported model: files of Paddle 2 and 3, and what is said of damaged ones."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import (
    CONFIG_FILE,
    FORMAT_VERSION,
    GRAPH_FILES,
    ONNX_FILE,
    PARAMS_FILE,
    PORTABLE_FILE,
    InferConfig,
    ModelFolder,
)
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.engines.paddle_predictor import check_graph
from ppdet_lite.runtime.options import EngineOptions


@pytest.mark.skipif(paddle.__version__[0] < "3", reason="there the other export is a model.pdmodel")
def test_files_of_paddle_2_load_as_well(small_config, trained, same_boxes, tmp_path):
    folder = export_model(load_config(small_config), tmp_path, ExportOptions(["paddle-legacy"]))
    detector = Detector(folder)
    assert detector.files.graph.name == "model.pdmodel"
    same_boxes(trained, detector, [built_in_image()])


def graph_of(folder):
    return next(path for path in folder.iterdir() if path.name in GRAPH_FILES["paddle"])


def change(folder, **keys):
    """Changes infer_cfg.yml; returns its path."""
    path = folder / CONFIG_FILE
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))
    return path


def refused(folder, key, **options):
    """Fails unless infer_cfg.yml is refused with its path and a key."""
    with pytest.raises(ConfigError) as caught:
        ModelFolder(folder, **options)
    assert str(caught.value).startswith(f"{folder / CONFIG_FILE}: {key}")


def test_wrong_folders_and_missing_files(broken, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    for name, reason in (
        ("gone", "no such folder"),
        ("file", "is a file"),
        ("other", "no model.json and no model.pdmodel"),
    ):
        with pytest.raises(DataError, match=f"^`model_dir` {tmp_path / name}: {reason}"):
            ModelFolder(tmp_path / name)
    with pytest.raises(DataError, match=f"^{broken / 'model.onnx'}: missing"):
        ModelFolder(broken, "onnxruntime", graph="model.onnx")
    (broken / PARAMS_FILE).unlink()
    with pytest.raises(DataError, match=f"^{broken / PARAMS_FILE}: missing"):
        ModelFolder(broken)


def test_a_file_other_than_the_first_may_be_named(broken):
    for name in (ONNX_FILE, PORTABLE_FILE):
        (broken / name).write_bytes(b"")
    for engine, first in (("onnxruntime", ONNX_FILE), ("openvino", PORTABLE_FILE)):
        assert ModelFolder(broken, engine).graph == broken / first
        for name in (ONNX_FILE, PORTABLE_FILE):
            assert ModelFolder(broken, engine, graph=name).graph == broken / name


@pytest.mark.parametrize(
    ("text", "reason"), [("a: [", "not a YAML file"), ("just text", "the list 'Preprocess'")]
)
def test_infer_cfg_that_is_none(broken, text, reason):
    (broken / CONFIG_FILE).write_text(text)
    refused(broken, reason)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("label_list", None, "the list 'label_list' is missing"),
        ("format_version", FORMAT_VERSION + 1, "format_version 2, .* up to 1"),
        ("format_version", "new", "format_version: found 'new'"),
        ("draw_threshold", "high", "draw_threshold: found 'high'"),
        ("draw_threshold", 7, "draw_threshold: found 7"),
        ("min_subgraph_size", "few", "min_subgraph_size: found 'few'"),
        ("target", "toaster", "target: found toaster, allowed: any, cpu"),
        (
            "image_shape",
            [3, 64, 64],
            "Preprocess.Resize.target_size: found .96, 128.,",
        ),
        *(
            ("category_ids", ids, "category_ids: found .*, allowed: 2 whole numbers")
            for ids in ([1], [1, 2, 3], [1, "two"], [1, True], [1, 2.0], {1: 2}, "ab")
        ),
    ],
)
def test_values_of_infer_cfg_that_cannot_be_used(broken, key, value, reason):
    path = change(broken, **{key: value})
    with pytest.raises(ConfigError, match=f"^{path}: {reason}"):
        ModelFolder(broken)


def test_what_is_written_is_read(tmp_path):
    config = InferConfig(
        [{"type": "Resize", "target_size": [64, 96], "keep_ratio": False}],
        ["a", "ü"],
        metric="VOC",
        arch="YOLO",
        min_subgraph_size=8,
        model_name="net",
        stage="decoded",
        target="cpu",
        input_hw=(64, 96),
        batch=4,
        nms={"name": "MatrixNMS"},
        decode={"name": "YOLOBox", "conf_thresh": 0.01},
        paddle_version="3.0.0",
        category_ids=[3, 1],
        onnx_opset=19,
    )
    config.write(tmp_path / CONFIG_FILE)
    found = InferConfig.read(tmp_path / CONFIG_FILE)
    assert replace(found, use_dynamic_shape=True) == config and not found.takes_any_size
    free = replace(config, input_hw=None, batch=None, category_ids=None, onnx_opset=None)
    free.write(tmp_path / CONFIG_FILE)
    assert InferConfig.read(tmp_path / CONFIG_FILE) == free and free.takes_any_size


def test_keys_and_their_order():
    """PaddleDetection's script reads the first ones; ours come behind."""
    content = InferConfig([], ["a"], category_ids=[1], onnx_opset=19).content()
    assert list(content) == [
        *("mode", "draw_threshold", "metric", "use_dynamic_shape", "arch", "min_subgraph_size"),
        *("Preprocess", "label_list", "format_version", "model_name", "stage", "target"),
        *("image_shape", "batch_size", "NMS", "Decode", "paddle_version"),
        *("category_ids", "onnx_opset"),
    ]
    assert content["image_shape"] == [3, -1, -1] and content["batch_size"] == -1


def test_an_export_of_paddledetection(broken):
    """Its infer_cfg.yml has no keys of ours."""
    path = broken / CONFIG_FILE
    settings = yaml.safe_load(path.read_text())
    names = ("mode", "draw_threshold", "arch", "Preprocess", "label_list", "use_dynamic_shape")
    path.write_text(yaml.safe_dump({name: settings[name] for name in names}))
    files = ModelFolder(broken)
    assert files.config.stage == "nms" and files.config.input_hw is None
    with pytest.raises(ConfigError, match="`input_size`: .* one size only"):
        ModelFolder(broken, input_size=[64])


NAN = float("nan")
SIZE = {"type": "Resize", "target_size": [96, 128], "keep_ratio": False}
RATIO = {**SIZE, "keep_ratio": True}
NORMALIZE = {"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.2] * 3, "is_scale": True}


def pad(height, width):
    return {"type": "Pad", "size": [height, width]}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([RATIO, pad(96, 160)], "Pad.size: found [96, 160], allowed: [96, 128]"),
        (
            [{**RATIO, "target_size": [128, 128]}, pad(96, 128)],
            "Resize.target_size: found [128, 128], allowed: at most [96, 128]",
        ),
        ([RATIO], "Resize.keep_ratio: found true without Pad, allowed: false, or a Pad to [96, 12"),
        ([{"type": "Permute"}], "Resize: found none, allowed: a target_size of [96, 128]"),
        (
            [pad(96, 128), {**SIZE, "target_size": [32, 64]}],
            "Resize.target_size: found [32, 64], allowed: [96, 128]",
        ),
        ([pad(96, 128)], None),
        ([RATIO, pad(96, 128)], None),
        ([{**RATIO, "target_size": [64, 64]}, pad(96, 128)], None),
        ([pad(192, 256), RATIO], None),  # of a fixed shape, so its ratio is known
    ],
)
def test_preprocessing_that_gives_another_size(broken, steps, reason):
    """Also where it is the padding that does, or the shape of an image that is kept."""
    change(broken, Preprocess=steps)
    if reason is None:
        assert ModelFolder(broken).preprocess.output_hw == (96, 128)
    else:
        refused(broken, f"Preprocess.{reason}")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([{"type": "Fancy"}], "Preprocess.0.type: found 'Fancy'"),
        (["Resize"], "Preprocess.0.type: found 'Resize'"),
        ([{"type": "Resize"}], "Preprocess.0 (Resize): missing a required argument: 'target_size'"),
        ([{**SIZE, "target_size": 0}], "Preprocess.Resize.target_size: found 0"),
        (
            [{**SIZE, "target_size": [9.5, 12]}],
            "Preprocess.Resize.target_size: found [9.5, 12]",
        ),
        ([{**SIZE, "target_size": [96]}], "Preprocess.Resize.target_size: found [96]"),
        ([{**SIZE, "target_size": "big"}], "Preprocess.Resize.target_size: found 'big'"),
        ([{**SIZE, "keep_ratio": "no"}], "Preprocess.Resize.keep_ratio: found 'no'"),
        ([{**SIZE, "interp": [1]}], "Preprocess.Resize.interp: found [1]"),
        ([pad(96, -1)], "Preprocess.Pad.size: found [96, -1]"),
        ([SIZE, {**pad(96, 128), "fill_value": "gray"}], "Preprocess.Pad.fill_value: found 'gray'"),
        ([SIZE, {**NORMALIZE, "is_scale": "no"}], "Preprocess.NormalizeImage.is_scale: found 'no'"),
        (
            [SIZE, {**NORMALIZE, "mean": [0.5, NAN, 0.5]}],
            "Preprocess.NormalizeImage.mean: found [0.5, nan",
        ),
        (
            [SIZE, {**NORMALIZE, "std": [NAN, 1, 1]}],
            "Preprocess.NormalizeImage.std: found [nan, 1, 1]",
        ),
        ([NORMALIZE, SIZE], "Preprocess.1 (Resize): found after NormalizeImage"),
    ],
)
def test_values_that_no_preprocessing_can_use(broken, steps, reason):
    change(broken, Preprocess=steps)
    refused(broken, reason)


@pytest.mark.parametrize("kind", ["parameters", "graph"])
def test_a_cut_file_or_a_mismatch_is_said(broken, kind, capsys):
    graph = graph_of(broken)
    path = graph if kind == "graph" else broken / "model.pdiparams"
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(EngineError, match="model.pdiparams do not belong") as caught:
        Detector(broken)
    assert caught.value.graph == graph
    assert "oneDNN is off" not in capsys.readouterr().err


def test_a_graph_of_paddle_3_under_paddle_2(monkeypatch, tmp_path):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    check_graph(tmp_path / "model.pdmodel")
    with pytest.raises(UserError, match=f"^{tmp_path / 'model.json'}: .*Paddle 3, .*2.6.2"):
        check_graph(tmp_path / "model.json")
    monkeypatch.setattr(paddle, "__version__", "3.3.1")
    check_graph(tmp_path / "model.json")


def test_a_part_of_a_detector_is_refused(broken):
    change(broken, stage="raw")
    with pytest.raises(ConfigError, match=f"^`model_dir` {broken}: .*stage raw"):
        Detector(broken)


def test_earlier_stages_run_in_an_engine(small_config, tmp_path):
    folder = export_model(load_config(small_config), tmp_path, ExportOptions(stage="raw"))
    image = np.zeros((2, 3, 96, 128), np.float32)
    for onednn in (True, False):
        options = EngineOptions(enable_mkldnn=onednn, is_strict=True)
        levels = open_engine(ModelFolder(folder), options).run({"image": image})
        assert [level.shape[2:] for level in levels] == [(3, 4), (6, 8), (12, 16)]
