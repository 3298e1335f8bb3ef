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
    HALF_FILES,
    ONNX_FILE,
    PARAMS_FILE,
    PORTABLE_FILE,
    InferConfig,
    ModelFolder,
)
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.open_engine import open_engine
from ppdet_lite.runtime.engines.paddle_predictor import check_graph
from ppdet_lite.runtime.options import EngineOptions
from tests.runtime.conftest import without_checksums


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
    (tmp_path / "other" / "model.onnx").write_bytes(b"")
    with pytest.raises(DataError, match="this folder holds model.onnx: use `engine` onnxruntime$"):
        ModelFolder(tmp_path / "other")
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


def test_files_in_float16_are_asked_for(broken):
    for name in (ONNX_FILE, PORTABLE_FILE):
        (broken / name).write_bytes(b"")
    missing = "no model_fp16.onnx and no model_portable_fp16.onnx in it; .* with `precision` fp16$"
    with pytest.raises(DataError, match=missing):
        ModelFolder(broken, "onnxruntime", precision="fp16")
    for name in (ONNX_FILE, PORTABLE_FILE):
        (broken / HALF_FILES[name]).write_bytes(b"")
    for engine, first in (("onnxruntime", ONNX_FILE), ("openvino", PORTABLE_FILE)):
        assert ModelFolder(broken, engine).graph == broken / first
        assert ModelFolder(broken, engine, precision="fp16").graph == broken / HALF_FILES[first]


def test_files_in_int8_are_named_with_what_writes_them(broken):
    for engine, writer in (("openvino", "openvino"), ("tensorrt_rtx", "tensorrt")):
        with pytest.raises(DataError, match=f"quantize writes one, with `engine` {writer}$"):
            ModelFolder(broken, engine, precision="int8")
    (broken / "model_tensorrt_int8.onnx").write_bytes(b"")
    for engine in ("tensorrt", "tensorrt_rtx"):
        graph = ModelFolder(broken, engine, precision="int8").graph
        assert graph.name == "model_tensorrt_int8.onnx"


@pytest.mark.parametrize(
    ("text", "reason"), [("a: [", ":1: not valid YAML"), ("just text", ": the list 'Preprocess'")]
)
def test_infer_cfg_that_is_none(broken, text, reason):
    (broken / CONFIG_FILE).write_text(text)
    with pytest.raises(ConfigError, match=f"^{broken / CONFIG_FILE}{reason}"):
        ModelFolder(broken)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("label_list", None, "the list 'label_list' is missing"),
        ("format_version", FORMAT_VERSION + 1, "format_version 2, .* up to 1"),
        ("format_version", "new", "format_version: found 'new'"),
        ("draw_threshold", "high", "draw_threshold: found 'high'"),
        ("draw_threshold", 7, "draw_threshold: found 7"),
        ("min_subgraph_size", "few", "min_subgraph_size: found 'few'"),
        ("target", "toaster", "target: found 'toaster', allowed: any, cpu"),
        ("target", [1], "target: found .1., allowed: any, cpu"),
        ("stage", "foo", "stage: found 'foo', allowed: raw, decoded, nms, nms_fixed"),
        ("stage", [1], "stage: found .1., "),
        ("draw_threshold", True, "draw_threshold: found True"),
        ("draw_threshold", float("nan"), "draw_threshold: found nan"),
        ("format_version", float("nan"), "format_version: found nan"),
        ("min_subgraph_size", 2.5, "min_subgraph_size: found 2.5"),
        ("min_subgraph_size", float("nan"), "min_subgraph_size: found nan"),
        ("use_dynamic_shape", 5, "use_dynamic_shape: found 5, allowed: true or false"),
        ("batch_size", True, "batch_size: found True"),
        ("batch_size", 0, "batch_size: found 0, allowed: 1 to 1024, or -1"),
        ("image_shape", [3, True, True], "image_shape: found .3, True, True."),
        ("image_shape", "big", "image_shape: found 'big'"),
        ("NMS", 3, "NMS: found 3, allowed: a mapping"),
        ("Decode", [], "Decode: found .., allowed: a mapping"),
        ("arch", 3, "arch: found 3, allowed: text"),
        ("onnx_opset", True, "onnx_opset: found True"),
        ("label_list", ["a", {"b": 1}], "label_list.1: found .'b': '1'., allowed: text"),
        ("files", {"model.json": {"size": 3, "sha256": "x"}}, "files: found .*model.json"),
        ("files", ["model.json"], "files: found "),
        ("fp16", "yes", "fp16: found 'yes', allowed: a mapping"),
        (
            "image_shape",
            [3, 64, 64],
            "Preprocess.Resize.target_size: found .96, 128.,",
        ),
        *(
            ("category_ids", ids, "category_ids: found .*, allowed: 2 whole numbers")
            for ids in ([1], [1, 2, 3], [1, "two"], [1, True], [1, 2.0], {1: 2}, "ab")
        ),
        *(
            ("thresholds", scores, "thresholds: found .*, allowed: 2 scores from 0 to 1")
            for scores in ([0.5], [0.5, 2], [0.5, "high"], 0.5)
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
        thresholds=[0.25, 0.5],
        onnx_opset=19,
        files={"model.json": {"size": 3, "sha256": "0" * 64}},
    )
    config.write(tmp_path / CONFIG_FILE)
    found = InferConfig.read(tmp_path / CONFIG_FILE)
    assert replace(found, use_dynamic_shape=True) == config and not found.takes_any_size
    free = replace(config, input_hw=None, batch=None, category_ids=None, onnx_opset=None)
    free.write(tmp_path / CONFIG_FILE)
    assert InferConfig.read(tmp_path / CONFIG_FILE) == free and free.takes_any_size


def test_keys_and_their_order():
    """PaddleDetection's script reads the first ones; ours come behind."""
    content = InferConfig([], ["a"], category_ids=[1], thresholds=[0.5], onnx_opset=19).content()
    assert list(content) == [
        *("mode", "draw_threshold", "metric", "use_dynamic_shape", "arch", "min_subgraph_size"),
        *("Preprocess", "label_list", "format_version", "model_name", "stage", "target"),
        *("image_shape", "batch_size", "NMS", "Decode", "paddle_version"),
        *("category_ids", "thresholds", "onnx_opset"),
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
        ([SIZE, {**NORMALIZE, "mean": [1e39, 1, 1]}], "Preprocess.NormalizeImage.mean: found "),
        ([NORMALIZE, SIZE], "Preprocess.1 (Resize): found after NormalizeImage"),
    ],
)
def test_values_that_no_preprocessing_can_use(broken, steps, reason):
    change(broken, Preprocess=steps)
    refused(broken, reason)


def test_class_names_stay_text(broken):
    """As PaddleDetection writes them, without quotes."""
    path = change(broken, label_list=["a", "b"], category_ids=None)
    path.write_text(path.read_text().replace("- a\n- b\n", "- no\n- 007\n- 1e3\n- ~\n"))
    assert ModelFolder(broken).config.class_names == ["no", "007", "1e3", "~"]


def test_a_size_that_no_memory_holds(broken):
    change(broken, Preprocess=[{**SIZE, "target_size": [9000, 9000]}], image_shape=None)
    refused(broken, "Preprocess.Resize.target_size: found [9000, 9000], allowed: at most [8192")


# --------------------------------------------------------------------------- damaged model files
def with_checksums(folder):
    """Writes the sizes and checksums of the folder's files into infer_cfg.yml."""
    path = folder / CONFIG_FILE
    InferConfig.read(path).with_files(folder).write(path)
    return folder


ENGINE_FILES = [
    ("paddle", "graph"),
    ("paddle", PARAMS_FILE),
    ("onnxruntime", ONNX_FILE),
    ("openvino", PORTABLE_FILE),
]


@pytest.mark.parametrize(("engine", "name"), ENGINE_FILES)
@pytest.mark.parametrize("damage", ["cut", "longer", "flipped"])
def test_checksums_find_every_damage(broken, engine, name, damage):
    for file in (ONNX_FILE, PORTABLE_FILE):
        (broken / file).write_bytes(bytes(5000))
    path = graph_of(broken) if name == "graph" else broken / name
    ModelFolder(with_checksums(broken), engine)
    whole = path.read_bytes()
    made = {"cut": [whole[:-1], whole[: len(whole) // 2], b""], "longer": [whole + b"\0"]}
    made["flipped"] = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
        for at, bit in ((0, 0), (len(whole) // 3, 5), (len(whole) - 1, 7))
    ]
    for content in made[damage]:
        path.write_bytes(content)
        found = "SHA-256" if damage == "flipped" else f"{len(content)} bytes"
        with pytest.raises(DataError, match=f"^{path}: found {found}.*allowed: .*{path.name}"):
            Detector(broken, engine=engine)


def test_files_that_are_not_listed_are_not_compared(broken):
    """An .onnx that was made from the export later on, for instance."""
    with_checksums(broken)
    (broken / ONNX_FILE).write_bytes(b"made later")
    assert ModelFolder(broken, "onnxruntime").graph.name == ONNX_FILE


@pytest.mark.parametrize("kind", ["paddle", "paddle-legacy"])
def test_parameters_of_another_size_without_checksums(small_config, tmp_path, kind):
    """Exports of PaddleDetection have no checksums; both kinds of graphs name their shapes."""
    options = ExportOptions([kind])
    folder = without_checksums(export_model(load_config(small_config), tmp_path, options))
    path = folder / PARAMS_FILE
    whole = path.read_bytes()
    Detector(folder).predict([built_in_image()])
    for content in (whole[:-1], whole[:20000], whole[: len(whole) // 2], b"", whole + bytes(9)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: "):
            Detector(folder)
    first = int.from_bytes(whole[16:20], "little") + 20  # the header of the first tensor
    path.write_bytes(whole[:first] + bytes([whole[first] ^ 1]) + whole[first + 1 :])
    Detector(folder)  # a value cannot be told from another one


def test_a_cut_graph_without_checksums(broken, capsys):
    graph = graph_of(broken)
    graph.write_bytes(graph.read_bytes()[:20000])
    with pytest.raises(DataError, match=f"^{graph}: not a graph of Paddle"):
        Detector(broken)
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
