"""`ppdet quantize`: files of INT8 beside an export, what stays in float, and what is refused."""

import errno
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.commands.quantize import build_parser, main
from ppdet_lite.core.errors import ConfigError, DataError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import ExportMismatch, load_images
from ppdet_lite.export.folder import exported_files
from ppdet_lite.quantize.accuracy import LabeledImages
from ppdet_lite.quantize.quantizer import Quantizer
from ppdet_lite.quantize.run import QUANTIZERS, QuantizeOptions, open_on_cpu, quantize_model
from ppdet_lite.runtime.contract import INT8_FILES, InferConfig, ModelFolder
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.weights.checkpoint import save_checkpoint
from ppdet_lite.weights.files import load_state
from tests.export.conftest import mild_settings  # noqa: F401

for package in ("onnx", "paddle2onnx", "onnxruntime", "openvino", "nncf", "ml_dtypes"):
    pytest.importorskip(package, reason=f"needs the package {package}")
if paddle.__version__.startswith("2."):
    pytest.skip("the export to ONNX needs Paddle 3", allow_module_level=True)

FEW = {"calib_images": 4, "repeats": 2}
DEFORMABLE = [f"backbone.res5.res5{x}.branch2b.conv{y}" for x in "ab" for y in ("", "_offset")]
HEAD = [f"yolo_head.yolo_output.{level}" for level in range(3)]
ENGINES = pytest.mark.parametrize("engine", INT8_FILES)
ON_CPUS = pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])


@pytest.fixture(scope="module")
def quantized(small_config, mild_settings, tiny_coco, tmp_path_factory):  # noqa: F811
    """The folder with the files of all engines, as the command writes them, and its reports."""
    root, reports = tmp_path_factory.mktemp("quantized"), {}
    train = f"{{name: COCODataSet, dataset_dir: {tiny_coco}, image_dir: images, "
    train += "anno_path: annotations/train.json}"
    for engine in INT8_FILES:
        arguments = ["-c", str(small_config), "--output_dir", str(root), "--engine", engine]
        arguments += ["--stage", "nms", "--calib_images", "4", "--repeats", "2", "--verify_dataset"]
        arguments += ["--json"]
        arguments += [str(root / f"{engine}.json"), "-o", f"TrainDataset={train}", *mild_settings]
        main(build_parser().parse_args(arguments))
        reports[engine] = json.loads((root / f"{engine}.json").read_text())
    return root / "small", reports


def listing(folder: Path) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --------------------------------------------------------------------------------------- files
@ENGINES
def test_files_stand_beside_those_of_float32_and_are_described(quantized, engine):
    folder, _ = quantized
    settings = yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))
    entry = settings["int8"][engine]
    assert entry["calibration"] == "4 images of TrainDataset"
    assert entry["float32_layers"] == sorted(DEFORMABLE + HEAD)
    assert entry["int8_layers"] > 40
    assert set(settings["files"]) == {p.name for p in folder.iterdir()} - {"infer_cfg.yml"}
    assert InferConfig.read(folder / "infer_cfg.yml").int8 == settings["int8"]
    assert set(INT8_FILES[engine]) <= exported_files()  # the next export removes them
    files = ModelFolder(folder, engine, precision="int8")
    names = [path.name for path in (files.graph, files.params) if path]
    assert tuple(names) == INT8_FILES[engine]


@ENGINES
def test_speed_and_ap_are_reported(quantized, engine):
    report = quantized[1][engine]
    is_timed = engine != "tensorrt"  # this machine's times say nothing about a GPU's
    assert set(report["results"]) == {"fp32", "int8"}
    assert (report["speed_up"] is not None) == is_timed
    for result in report["results"].values():
        assert len(result["times_ms"]) == (2 if is_timed else 0)
        assert 0 <= result["metrics"]["bbox/AP"] <= 1
    before, after = (report["results"][name]["metrics"]["bbox/AP50"] for name in ("fp32", "int8"))
    assert report["lost"]["bbox/AP50"] == pytest.approx(before - after)


def test_the_file_for_tensorrt_is_rounded_as_its_explicit_quantization_wants(quantized):
    """Zero points of 0, weights per channel, biases in float; only inputs of convolutions."""
    import onnx

    graph = onnx.load(str(quantized[0] / "model_tensorrt_int8.onnx")).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in pairs:
        zero_point = values[node.input[2]]
        assert zero_point.dtype == np.int8 and not zero_point.any()
    rounded = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in makers]
    assert len(rounded) == quantized[1]["tensorrt"]["int8_layers"]
    for node in rounded:
        weights = makers[node.input[1]]
        numbers = values[weights.input[0]]
        assert weights.op_type == "DequantizeLinear" and numbers.dtype == np.int8
        assert np.abs(numbers).reshape(len(numbers), -1).max(axis=1).tolist() == [127] * len(
            numbers
        )
        assert values[weights.input[1]].shape == (len(numbers),)
        assert all(values[name].dtype == np.float32 for name in node.input[2:])
    after = {name for node in rounded for name in node.output}
    assert not any(node.op_type == "QuantizeLinear" and node.input[0] in after for node in pairs)


def test_tensorrts_roundings_run_on_the_cpu(quantized):
    photos = ModelFolder(quantized[0], "tensorrt")
    sample = photos.preprocess(list(load_images().values())[0])
    inputs = {name: array[None] for name, array in sample.items()}
    kind = QUANTIZERS["tensorrt"]()
    exact, rounded = (
        open_on_cpu(quantized[0], kind, precision).run(inputs)[0] for precision in ("fp32", "int8")
    )
    assert 1e-5 < np.abs(exact[:10, 1] - rounded[:10, 1]).max() < 0.15


@ON_CPUS
def test_deployment_runs_the_files(quantized, engine):
    images = list(load_images().values())
    exact = Detector(quantized[0], engine=engine).predict(images[:1])[0]
    detector = Detector(quantized[0], engine=engine, precision="int8")
    rounded = detector.predict(images[:1])[0]
    assert len(exact) > 10 and len(rounded) > 10
    gap = np.abs(exact[:10, 1] - rounded[:10, 1]).max()
    assert 1e-5 < gap < 0.15  # random weights spread less over the steps than trained ones
    in_a_batch = detector.predict(images)
    np.testing.assert_allclose(in_a_batch[0][:5], rounded[:5], rtol=1e-3, atol=1e-3)
    assert len(in_a_batch[1]) > 10


def test_a_damaged_file_is_refused(quantized, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(quantized[0], folder)
    with open(folder / "model_int8.bin", "r+b") as stream:
        stream.write(b"damaged")
    with pytest.raises(DataError, match="model_int8.bin.*SHA-256"):
        Detector(folder, engine="openvino", precision="int8")
    (folder / "model_int8.bin").unlink()
    with pytest.raises(DataError, match="model_int8.bin: missing"):
        Detector(folder, engine="openvino", precision="int8")
    (folder / "model_int8.xml").unlink()
    with pytest.raises(DataError, match="no model_int8.xml.*quantize"):
        Detector(folder, engine="openvino", precision="int8")


@pytest.mark.parametrize(
    "options, found",
    [
        ({"engine": "paddle"}, "`precision` int8"),
        ({"engine": "tensorrt"}, "`engine` tensorrt needs `device` GPU"),
        ({"engine": "openvino", "device": "GPU"}, "found `device` GPU and `engine` openvino"),
        ({"engine": "onnxruntime", "device": "GPU"}, "found `provider` cuda, allowed: tensorrt"),
    ],
)
def test_engines_without_int8_files(quantized, options, found):
    with pytest.raises(UserError, match=found):
        Detector(quantized[0], precision="int8", **options)


def test_images_without_objects_are_known(small_config, tiny_coco):
    path = tiny_coco / "annotations" / "train.json"
    cfg = load_config(small_config, [f"EvalDataset.anno_path={path}"])
    labeled = LabeledImages(cfg, cfg.settings.weights)
    assert [labeled.has_objects(i) for i in range(8)] == [i != 5 for i in range(8)]


# ------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "options, found",
    [
        ({"engine": "paddle"}, "`engine` paddle"),
        ({"engine": "tensorrt_rtx"}, "`engine`: found tensorrt_rtx"),
        ({"stage": "boxes"}, "`stage`: found boxes"),
        ({"calib_images": -1}, "`calib_images`: found -1"),
        ({"calib_images": 0}, "`calib_images`: found 0"),
        ({"repeats": 0}, "`repeats`: found 0"),
        ({"max_drop": 0.0}, "`max_drop`: found 0.0"),
        ({"max_drop": 1.0, "engine": "onnxruntime"}, "`max_drop` needs `engine` openvino"),
        ({"verify_dataset": True, "stage": "raw"}, "found raw"),
    ],
)
def test_options_that_cannot_be(options, found):
    with pytest.raises(UserError, match=found):
        QuantizeOptions(**options)


def test_the_stage_is_one_that_the_engine_takes():
    ends = {engine: QuantizeOptions(engine, verify_dataset=True).end for engine in QUANTIZERS}
    assert ends == {"openvino": "nms", "onnxruntime": "nms", "tensorrt": "nms_fixed"}
    assert QuantizeOptions("tensorrt", stage="raw").end == "raw"


def test_few_images(small_config, tiny_coco, tmp_path, capsys):
    cfg, photos = load_config(small_config), tiny_coco / "images"
    with pytest.raises(DataError, match="found 12 images, allowed: 100 or more"):
        quantize_model(cfg, tmp_path, QuantizeOptions(calib_dir=photos))
    broken = tmp_path / "photos"
    broken.mkdir()
    for name in ("train_0.jpg", "train_1.jpg"):
        shutil.copy(photos / name, broken)
    (broken / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match="found 2 that can be read of 3 images, allowed: 3"):
        quantize_model(cfg, tmp_path, QuantizeOptions(calib_dir=broken, calib_images=3))
    assert "text.jpg" in capsys.readouterr().err
    with pytest.raises(DataError, match="`calib_dir`.*no such folder"):
        quantize_model(cfg, tmp_path, QuantizeOptions(calib_dir=tmp_path / "none"))
    with pytest.raises(DataError, match="TrainDataset"):
        quantize_model(cfg, tmp_path, QuantizeOptions())
    assert not (tmp_path / "small").exists()


def test_missing_package(small_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UserError, match=r"nncf.*\[int8\]"):
        quantize_model(load_config(small_config), tmp_path, QuantizeOptions(**FEW))


@pytest.fixture
def copy_of_export(quantized, tmp_path):
    shutil.copytree(quantized[0], tmp_path / "small")
    return tmp_path / "small"


def test_an_export_of_other_weights(small_config, tiny_coco, copy_of_export, tmp_path):
    cfg = load_config(small_config)
    weights = load_state(cfg.settings.weights)
    other = {key: value * 1.1 for key, value in weights.items()}
    save_checkpoint(str(tmp_path), "other", other, {"class_names": ["square", "circle"]})
    cfg = load_config(small_config, [f"weights={tmp_path}/other"])
    before = listing(copy_of_export)
    options = QuantizeOptions(calib_dir=tiny_coco / "images", **FEW)
    with pytest.raises(ExportMismatch, match="other weights"):
        quantize_model(cfg, tmp_path, options)
    assert listing(copy_of_export) == before


@ON_CPUS
def test_an_export_for_paddle(small_config, tiny_coco, exported, tmp_path, engine):
    pytest.importorskip({"openvino": "nncf"}.get(engine, engine))
    shutil.copytree(exported, tmp_path / "small")
    options = QuantizeOptions(engine, calib_dir=tiny_coco / "images", **FEW)
    with pytest.raises(DataError, match="no model.*again in the format onnx with portable-dcn"):
        quantize_model(load_config(small_config), tmp_path, options)


def test_an_export_for_cpus(small_config, tiny_coco, copy_of_export, tmp_path):
    path = copy_of_export / "infer_cfg.yml"
    path.write_text(re.sub("target: any", "target: cpu", path.read_text()))
    options = QuantizeOptions(calib_dir=tiny_coco / "images", **FEW)
    with pytest.raises(ConfigError, match="target cpu"):
        quantize_model(load_config(small_config), tmp_path, options)


@pytest.mark.parametrize(
    "failure, kind",
    [
        (OSError(errno.ENOSPC, "No space left on device"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_is_there_stays(
    small_config,
    mild_settings,  # noqa: F811
    tiny_coco,
    copy_of_export,
    tmp_path,
    monkeypatch,
    failure,
    kind,  # noqa: F811
):
    """A disk that gets full and Ctrl-C in the middle of the work."""

    class Failing(Quantizer):
        engine = checked_by = "openvino"

        def requirements(self):
            pass

        def write(self, graph, images, folder, control=None):
            (folder / INT8_FILES["openvino"][0]).write_text("half of it")
            raise failure

    monkeypatch.setitem(QUANTIZERS, "openvino", Failing)
    before, beside = listing(copy_of_export), set(tmp_path.iterdir())
    with pytest.raises(kind, match="No space left" if kind is UserError else None):
        options = QuantizeOptions(calib_dir=tiny_coco / "images", **FEW)
        quantize_model(load_config(small_config, mild_settings), tmp_path, options)
    assert listing(copy_of_export) == before
    assert set(tmp_path.iterdir()) == beside
