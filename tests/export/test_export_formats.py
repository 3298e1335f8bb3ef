"""Every format and engine gives the trained model's boxes, with any batch and input size."""

import sys
import tempfile
from functools import partial

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.export.check import (
    ExportMismatch,
    built_in_image,
    outputs_by_image,
    trained_outputs,
)
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.formats.format import open_strictly
from ppdet_lite.export.formats.onnx_format import PACKAGES, OnnxFormat
from ppdet_lite.export.options import ExportOptions, Limits
from ppdet_lite.export.run import export_model
from tests.export.conftest import assert_damage_is_refused

for package in PACKAGES:
    pytest.importorskip(package, reason=f"needs the package {package}")
if paddle.__version__.startswith("2."):
    pytest.skip("the export to ONNX needs Paddle 3", allow_module_level=True)

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 25):
    reason = "needs ONNX Runtime 1.25, the first with deformable convolution"
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def free_size(small_config, mild_settings, tmp_path_factory):
    """An export of every file but Paddle 3's, with any input size."""
    options = ExportOptions(["paddle-legacy", "onnx"], input_size="dynamic", portable_dcn=True)
    folder = tmp_path_factory.mktemp("free")
    with pytest.MonkeyPatch.context() as patch:
        # The system's folder for temporary files may be a small one in memory.
        patch.setattr(tempfile, "tempdir", str(folder / "gone"))
        return export_model(load_config(small_config, mild_settings), folder, options)


@pytest.fixture(scope="module")
def cpu_exports(small_config, mild_settings, tmp_path_factory):
    """Every file of exports for CPUs, in which all that has another form is in it."""
    cfg, few = load_config(small_config, mild_settings), Limits(4, 1, 0, 0)
    options = partial(ExportOptions, target="cpu", cpu_limits=few)
    both = options(["paddle", "onnx"], portable_dcn=True)
    folder = export_model(cfg, tmp_path_factory.mktemp("cpu"), both)
    legacy = export_model(cfg, tmp_path_factory.mktemp("cpu"), options(["paddle-legacy"]))
    return {"paddle": folder, "onnx": folder, "paddle-legacy": legacy}


ENGINES = {
    "paddle": ("paddle", "", {"enable_mkldnn": False}),
    "onednn": ("paddle", "", {}),
    "onnx": ("onnxruntime", "model.onnx", {}),
    "portable": ("onnxruntime", "model_portable.onnx", {}),
    "openvino": ("openvino", "model_portable.onnx", {}),
    "plain openvino": ("openvino", "model.onnx", {}),
}
FILES_OF_ANY = ("paddle", "onednn", "onnx", "portable", "openvino")


def engine(name, folder):
    if "openvino" in name:
        pytest.importorskip("openvino", reason="needs the package openvino")
    kind, graph, options = ENGINES[name]
    return open_strictly(folder, kind, graph, **options)


def stack(samples):
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def preprocess(folder, height=96, width=128):
    ops = yaml.safe_load((folder / "infer_cfg.yml").read_text())["Preprocess"]
    ops[0]["target_size"] = [height, width]
    return Preprocess(ops)


def assert_same_detections(trained, sample, rows):
    """Within a thousandth of a pixel and a ten-thousandth of score, as many as there are."""
    expected = trained_outputs(trained, sample, "nms")
    assert len(expected) > 20 and len(np.unique(expected[:, 1])) > 10
    result = compare_detections(expected, rows, 0.01, 100)
    assert len(result.lost) == len(result.extra) == 0
    assert result.matched >= len(expected) - 1
    assert result.max_box_px < 1e-3 * max(1, np.abs(expected[:, 2:]).max() / 256)
    assert result.max_score < 1e-4


# ------------------------------------------------------------------------------------ the files
@pytest.mark.parametrize("name", ["model.onnx", "model_portable.onnx"])
def test_damaged_onnx_files_are_refused_by_name(free_size, name, tmp_path):
    assert_damage_is_refused(free_size, name, "onnxruntime", tmp_path)


def test_every_file_is_there_and_described(free_size):
    names = {path.name for path in free_size.iterdir()}
    assert names - {"model.pdiparams.info"} == {
        "infer_cfg.yml",
        "model.pdmodel",
        "model.pdiparams",
        "tensorrt.json",
        "model.onnx",
        "model_portable.onnx",
    }
    described = yaml.safe_load((free_size / "infer_cfg.yml").read_text())
    assert described["image_shape"] == [3, -1, -1] and described["use_dynamic_shape"] is True
    assert (described["stage"], described["batch_size"], described["onnx_opset"]) == ("nms", -1, 19)
    assert described["Preprocess"][0]["target_size"] == [96, 128]  # of the reader


@pytest.mark.parametrize("name", ["model.onnx", "model_portable.onnx"])
def test_onnx_files_hold_standard_operators_only(free_size, name):
    model = onnx.load(str(free_size / name))
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 19)]
    kinds = {node.op_type for node in model.graph.node}
    assert ("DeformConv" in kinds) == (name == "model.onnx")
    assert ("GridSample" in kinds) == (name == "model_portable.onnx")
    assert not {"BatchNormalization", "NonMaxSuppression", "Loop", "If", "Constant"} & kinds
    shapes = {
        info.name: [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "image": ["batch", 3, "height", "width"],
        "im_shape": ["batch", 2],
        "scale_factor": ["batch", 2],
        "bbox": ["detections", 6],
        "bbox_num": ["batch"],
    }


# ------------------------------------------------------------------- equal to the trained model
@pytest.mark.parametrize("name", FILES_OF_ANY)
def test_any_batch_and_any_size_give_the_trained_models_boxes(mild_model, free_size, name):
    found_by = engine(name, free_size)
    image = built_in_image()
    for size, images in (
        ((96, 128), [image]),
        ((64, 160), [image, image[:, ::-1].copy()]),
        ((160, 96), [image[::-1].copy(), image, image[:200, :300].copy()]),
    ):
        samples = [preprocess(free_size, *size)(one) for one in images]
        found = outputs_by_image("nms", found_by.run(stack(samples)))
        for sample, rows in zip(samples, found):
            assert_same_detections(mild_model, sample, rows)


@pytest.mark.parametrize("name", FILES_OF_ANY)
def test_photos_give_the_trained_models_boxes(mild_model, free_size, name, shared_dir):
    found_by = engine(name, free_size)
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[8:16]
    samples = [preprocess(free_size)(decode_image(photo)) for photo in photos]
    found = outputs_by_image("nms", found_by.run(stack(samples)))
    for sample, rows in zip(samples, found):
        assert_same_detections(mild_model, sample, rows)
        assert_same_detections(mild_model, sample, found_by.run(stack([sample]))[0])


def test_no_boxes(small_config, mild_settings, tmp_path):
    cfg = load_config(small_config, [*mild_settings, "BBoxPostProcess.decode.conf_thresh=1.0"])
    folder = export_model(cfg, tmp_path, ExportOptions(["onnx"], portable_dcn=True))
    samples = [preprocess(folder)(built_in_image())] * 2
    for name in ("onnx", "portable", "openvino"):
        bbox, bbox_num = engine(name, folder).run(stack(samples))
        assert bbox.shape == (0, 6) and bbox_num.tolist() == [0, 0]


@pytest.mark.parametrize("stage", ["raw", "decoded"])
def test_earlier_stages(mild_config, mild_model, tmp_path, stage):
    options = ExportOptions(["paddle", "onnx"], (64, 96), 2, stage, portable_dcn=True)
    folder = export_model(mild_config, tmp_path, options)
    assert folder.name == f"small_{stage}"
    described = yaml.safe_load((folder / "infer_cfg.yml").read_text())
    assert (described["stage"], described["batch_size"]) == (stage, 2)
    assert described["image_shape"] == [3, 64, 96]
    image = built_in_image()
    samples = [preprocess(folder, 64, 96)(one) for one in (image, image[::-1].copy())]
    expected = [trained_outputs(mild_model, sample, stage) for sample in samples]
    for name in ("paddle", "onnx", "portable"):
        found = outputs_by_image(stage, engine(name, folder).run(stack(samples)))
        for wanted, outputs in zip(expected, found):
            assert len(wanted) == len(outputs) == (3 if stage == "raw" else 2)
            for one, other in zip(wanted, outputs):
                np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-4 * np.abs(one).max())
    inputs = {entry.name for entry in onnx.load(str(folder / "model.onnx")).graph.input}
    assert inputs == ({"image"} if stage == "raw" else {"image", "im_shape", "scale_factor"})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("paddle", "paddle"),
        ("paddle", "onednn"),
        ("paddle-legacy", "paddle"),
        ("paddle-legacy", "onednn"),
        ("onnx", "onnx"),
        ("onnx", "plain openvino"),
    ],
)
def test_exports_for_cpus_give_the_trained_models_boxes(mild_model, cpu_exports, file, name, batch):
    folder = cpu_exports[file]
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text())["target"] == "cpu"
    found_by = engine(name, folder)
    image = built_in_image()
    images = [image, image[:, ::-1].copy(), image[:200, :300].copy()][:batch]
    samples = [preprocess(folder)(one) for one in images]
    found = outputs_by_image("nms", found_by.run(stack(samples)))
    for sample, rows in zip(samples, found):
        assert_same_detections(mild_model, sample, rows)


def test_an_export_for_cpus_needs_no_portable_file(cpu_exports):
    folder = cpu_exports["onnx"]
    assert not (folder / "model_portable.onnx").exists()
    kinds = [node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node]
    assert "DeformConv" not in kinds and "Gather" in kinds
    sizes = [tuple(t.dims) for t in onnx.load(str(folder / "model.onnx")).graph.initializer]
    assert sum(size[0] == 36 for size in sizes if len(size) == 4) > 10  # Winograd's filters


def test_an_export_for_cpus_in_which_nothing_changes(quick_export, mild_config, capsys):
    folder = quick_export(cfg=mild_config, target="cpu")
    assert "the export is that of target any" in capsys.readouterr().err
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text())["target"] == "any"


# ------------------------------------------------------------------------------------ the check
class Shifted(OnnxFormat):
    """Every box is moved by a pixel."""

    name = "shifted-onnx"

    def write(self, network, folder, options):
        super().write(network, folder, options)
        model = onnx.load(str(folder / "model.onnx"))
        graph = model.graph
        (last,) = (node for node in graph.node if node.output[0] == "bbox")
        last.output[0] = "unmoved"
        step = np.array([[0, 0, 1, 1, 1, 1]], np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(step, "step"))
        graph.node.append(onnx.helper.make_node("Add", ["unmoved", "step"], ["bbox"]))
        onnx.save(model, str(folder / "model.onnx"))


def test_a_differing_onnx_file_is_refused_and_nothing_is_left(mild_config, tmp_path):
    with pytest.raises(ExportMismatch, match=r"\(ONNX Runtime, model.onnx\) differs from"):
        export_model(mild_config, tmp_path, ExportOptions(["shifted-onnx"]))
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_runs_in_every_engine_that_is_here(free_size, monkeypatch, capsys):
    pytest.importorskip("openvino", reason="needs the package openvino")
    trials = OnnxFormat().trials(free_size)
    assert [(trial.name, trial.may_fail) for trial in trials] == [
        ("ONNX Runtime, model.onnx", True),  # beside the other file it may be for newer releases
        ("ONNX Runtime, model_portable.onnx", False),
        ("OpenVINO, model_portable.onnx", True),
    ]
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert OnnxFormat().trials(free_size)[-1].name == "ONNX Runtime, model_portable.onnx"
    assert "OpenVINO is not installed" in capsys.readouterr().err


def test_openvino_is_not_asked_to_run_deformable_convolutions(free_size, tmp_path):
    (tmp_path / "model.onnx").symlink_to(free_size / "model.onnx")
    (trial,) = OnnxFormat().trials(tmp_path)
    assert (trial.name, trial.may_fail) == ("ONNX Runtime, model.onnx", False)
