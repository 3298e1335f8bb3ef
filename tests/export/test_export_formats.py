"""Formats, sizes and stages of exports: each gives what the trained model gives."""

import functools
import sys

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import UserError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.data.pixels.image_ops import Preprocess, decode_image
from ppdet_lite.evaluate.trained_model import load_trained_model
from ppdet_lite.export import graph as export_graph
from ppdet_lite.export import run as export
from ppdet_lite.export import runners as export_runners
from ppdet_lite.export.check import (
    built_in_image,
    compare_detections,
    outputs_by_image,
    trained_outputs,
)
from ppdet_lite.export.onnx import decode as onnx_decode
from ppdet_lite.export.onnx import stages as onnx_stages
from ppdet_lite.export.rewrite.cpu_forms import Limits, for_cpu
from ppdet_lite.export.run import ExportMismatch, export_model
from ppdet_lite.export.runners import ExportedModel, OnnxRuntimeModel, OpenVinoModel
from ppdet_lite.weights.checkpoint import save_checkpoint

for package in ("onnx", "paddle2onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"needs the package {package}")
if paddle.__version__.startswith("2."):
    pytest.skip("the export to ONNX needs Paddle 3", allow_module_level=True)

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 25):
    reason = "needs ONNX Runtime 1.25, the first with deformable convolution"
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def settings(small_config, tmp_path_factory):
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
    save_checkpoint(str(folder), "even", state, {"class_names": ["square", "circle"]})
    return [f"weights={folder / 'even'}"]


@pytest.fixture
def cfg(small_config, settings):
    return load_config(small_config, settings)


@pytest.fixture(scope="module")
def trained(small_config, settings):
    return load_trained_model(load_config(small_config, settings))[0]


@pytest.fixture(scope="module")
def free_size(small_config, settings, tmp_path_factory):
    """An export of every file but Paddle 3's, with any input size."""
    return export_model(
        load_config(small_config, settings),
        tmp_path_factory.mktemp("free"),
        formats=["paddle-legacy", "onnx"],
        input_size="dynamic",
        portable_dcn=True,
    )


@pytest.fixture(scope="module")
def cpu_exports(small_config, settings, tmp_path_factory):
    """Every file of exports for CPUs, in which all that has another form is in it."""
    few = functools.partial(for_cpu, limits=Limits(4, 1, 0, 0))
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "for_cpu", few)
        for formats in (("paddle", "onnx"), ("paddle-legacy",)):
            folder = export_model(
                load_config(small_config, settings),
                tmp_path_factory.mktemp("cpu"),
                formats=formats,
                portable_dcn="onnx" in formats,
                target="cpu",
            )
            folders.update(dict.fromkeys(formats, folder))
    return folders


RUNNERS = {
    "paddle": ExportedModel,
    "onednn": lambda folder: ExportedModel(folder, onednn=True),
    "onnx": lambda folder: OnnxRuntimeModel(folder / "model.onnx"),
    "portable": lambda folder: OnnxRuntimeModel(folder / "model_portable.onnx"),
    "openvino": lambda folder: OpenVinoModel(folder / "model_portable.onnx"),
    "plain openvino": lambda folder: OpenVinoModel(folder / "model.onnx"),
}
FILES_OF_ANY = ("paddle", "onednn", "onnx", "portable", "openvino")


def runner(name, folder):
    if "openvino" in name:
        pytest.importorskip("openvino", reason="needs the package openvino")
    return RUNNERS[name](folder)


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
def test_every_file_is_there_and_described(free_size):
    names = {path.name for path in free_size.iterdir()}
    assert names - {"model.pdiparams.info"} == {
        "infer_cfg.yml",
        "model.pdmodel",
        "model.pdiparams",
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
def test_any_batch_and_any_size_give_the_trained_models_boxes(trained, free_size, name):
    run = runner(name, free_size)
    image = built_in_image()
    for size, images in (
        ((96, 128), [image]),
        ((64, 160), [image, image[:, ::-1].copy()]),
        ((160, 96), [image[::-1].copy(), image, image[:200, :300].copy()]),
    ):
        samples = [preprocess(free_size, *size)(one) for one in images]
        found = outputs_by_image("nms", run(stack(samples)))
        for sample, rows in zip(samples, found):
            assert_same_detections(trained, sample, rows)


@pytest.mark.parametrize("name", FILES_OF_ANY)
def test_photos_give_the_trained_models_boxes(trained, free_size, name, shared_dir):
    run = runner(name, free_size)
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").glob("*.jpg"))[8:16]
    samples = [preprocess(free_size)(decode_image(photo)) for photo in photos]
    found = outputs_by_image("nms", run(stack(samples)))
    for sample, rows in zip(samples, found):
        assert_same_detections(trained, sample, rows)
        assert_same_detections(trained, sample, run(stack([sample]))[0])


def test_no_boxes(small_config, settings, tmp_path, capsys):
    silent = [*settings, "BBoxPostProcess.decode.conf_thresh=1.0"]
    folder = export_model(
        load_config(small_config, silent), tmp_path, formats=["onnx"], portable_dcn=True
    )
    said = capsys.readouterr().err
    assert "2 images, 0 of 0 boxes matched, largest difference 0 px, 0 score" in said
    assert "the model finds nothing on the images compared, so equality of boxes was not" in said
    samples = [preprocess(folder)(built_in_image())] * 2
    for name in ("onnx", "portable", "openvino"):
        bbox, bbox_num = runner(name, folder)(stack(samples))
        assert bbox.shape == (0, 6) and bbox_num.tolist() == [0, 0]


@pytest.mark.parametrize("stage", ["raw", "decoded"])
def test_earlier_stages(cfg, trained, tmp_path, capsys, stage):
    folder = export_model(
        cfg,
        tmp_path,
        formats=["paddle", "onnx"],
        batch=2,
        input_size=(64, 96),
        stage=stage,
        portable_dcn=True,
    )
    assert folder.name == f"small_{stage}"
    described = yaml.safe_load((folder / "infer_cfg.yml").read_text())
    assert (described["stage"], described["batch_size"]) == (stage, 2)
    assert described["image_shape"] == [3, 64, 96]
    said = capsys.readouterr().err
    for engine in ("plain kernels", "oneDNN kernels", "ONNX Runtime, model.onnx"):
        assert f"export verified ({engine}): 2 images, " in said
    image = built_in_image()
    samples = [preprocess(folder, 64, 96)(one) for one in (image, image[::-1].copy())]
    expected = [trained_outputs(trained, sample, stage) for sample in samples]
    for name in ("paddle", "onnx", "portable"):
        found = outputs_by_image(stage, runner(name, folder)(stack(samples)))
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
def test_exports_for_cpus_give_the_trained_models_boxes(trained, cpu_exports, file, name, batch):
    folder = cpu_exports[file]
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text())["target"] == "cpu"
    run = runner(name, folder)
    image = built_in_image()
    images = [image, image[:, ::-1].copy(), image[:200, :300].copy()][:batch]
    samples = [preprocess(folder)(one) for one in images]
    found = outputs_by_image("nms", run(stack(samples)))
    for sample, rows in zip(samples, found):
        assert_same_detections(trained, sample, rows)


def test_an_export_for_cpus_needs_no_portable_file(cpu_exports):
    folder = cpu_exports["onnx"]
    assert not (folder / "model_portable.onnx").exists()
    kinds = [node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node]
    assert "DeformConv" not in kinds and "Gather" in kinds
    sizes = [tuple(t.dims) for t in onnx.load(str(folder / "model.onnx")).graph.initializer]
    assert sum(size[0] == 36 for size in sizes if len(size) == 4) > 10  # Winograd's filters


def test_an_export_for_cpus_in_which_nothing_changes(cfg, tmp_path, capsys):
    folder = export_model(cfg, tmp_path, target="cpu", stage="raw")
    said = capsys.readouterr().err
    assert "--target cpu: no layer of this network is large enough to gain" in said
    assert "the export is that of --target any, for every device" in said
    assert yaml.safe_load((folder / "infer_cfg.yml").read_text())["target"] == "any"


# ------------------------------------------------------------------------------------ refusals
def test_a_differing_onnx_file_is_refused_and_nothing_is_left(cfg, tmp_path, monkeypatch):
    def shifted(g, *arguments):
        boxes, scores, classes = onnx_decode.decode(g, *arguments)
        return boxes + 1.0, scores, classes

    monkeypatch.setattr(onnx_stages, "decode", shifted)
    with pytest.raises(ExportMismatch) as caught:
        export_model(cfg, tmp_path, formats=["onnx"])
    text = str(caught.value)
    assert text.startswith("the exported model (ONNX Runtime, model.onnx) differs from the trained")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "paddle2onnx"])
def test_missing_packages_are_named(cfg, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package} .*pip install"):
        export_model(cfg, tmp_path, formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_openvino_is_not_needed(free_size, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    runners = [trial.make() for trial in export_runners.trials(free_size)]
    assert [type(runner) for runner in runners] == [ExportedModel] * 2 + [OnnxRuntimeModel] * 2
    said = capsys.readouterr().err
    assert "OpenVINO is not installed, so it has not tried model_portable.onnx" in said


def test_an_older_onnx_runtime_is_told_from_a_wrong_file(free_size, monkeypatch):
    def refuse(*arguments, **settings):
        raise Exception("NOT_IMPLEMENTED : Could not find an implementation for DeformConv(19)")

    monkeypatch.setattr(sys.modules["onnxruntime"], "InferenceSession", refuse)
    with pytest.raises(UserError, match=r"cannot run model\.onnx: .*; it has DeformConv since"):
        OnnxRuntimeModel(free_size / "model.onnx")


def test_a_paddle_that_cannot_write_the_old_format_says_so(trained, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise TypeError("sigmoid(): argument must be Value,\nbut got Variable")

    monkeypatch.setattr(paddle.jit, "save", refuse)
    options = export_graph.ExportOptions(("paddle-legacy",), input_hw=(64, 64))
    with pytest.raises(UserError) as caught:
        export_graph.save_paddle_graph(trained, tmp_path, options, legacy=True)
    assert str(caught.value) == (
        f"--format paddle-legacy: Paddle {paddle.__version__} cannot write this network as "
        "model.pdmodel (sigmoid(): argument must be Value, but got Variable); use --format paddle, "
        "or export with Paddle 2.6"
    )
