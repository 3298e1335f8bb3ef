"""Exports that end in an NMS of fixed size: the same detections from every engine."""

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.export.check import built_in_image, outputs_by_image
from ppdet_lite.export.compare import detections_agree
from ppdet_lite.export.formats.format import open_strictly
from ppdet_lite.export.formats.onnx_format import PACKAGES
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.ops.nms import NO_DETECTION, fixed_rows
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.weights.checkpoint import save_checkpoint
from tests.export.test_export_family import WHY_NO_ONNX, narrow, random_weights
from tests.export.test_export_formats import (
    FILES_OF_ANY,
    assert_same_detections,
    engine,
    preprocess,
    stack,
)

for package in PACKAGES:
    pytest.importorskip(package, reason=f"needs the package {package}")
if WHY_NO_ONNX:
    pytest.skip(WHY_NO_ONNX, allow_module_level=True)

import onnx  # noqa: E402

from ppdet_lite.export.onnx.fixed_nms import operators_not_static  # noqa: E402


@pytest.fixture(scope="module")
def fixed(small_config, mild_settings, tmp_path_factory):
    """An export of every file but Paddle 3's, with any input size and batch."""
    options = ExportOptions(
        ["paddle-legacy", "onnx"], input_size="dynamic", portable_dcn=True, stage="nms_fixed"
    )
    folder = tmp_path_factory.mktemp("fixed")
    return export_model(load_config(small_config, mild_settings), folder, options)


def test_the_files_say_what_they_are(fixed):
    assert fixed.name == "small_nms_fixed"
    described = yaml.safe_load((fixed / "infer_cfg.yml").read_text())
    assert described["stage"] == "nms_fixed" and described["NMS"]["candidates"] == 2048
    for name in ("model.onnx", "model_portable.onnx"):
        model = onnx.load(str(fixed / name))
        onnx.checker.check_model(model, full_check=True)
        assert operators_not_static(model) == []
        shapes = {
            info.name: [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
            for info in model.graph.output
        }
        assert shapes == {"bbox": ["batch", 100, 6], "bbox_num": ["batch"]}


@pytest.mark.parametrize("name", FILES_OF_ANY)
def test_any_batch_and_any_size_give_the_trained_models_boxes(mild_model, fixed, name):
    found_by, image = engine(name, fixed), built_in_image()
    for size, images in (
        ((96, 128), [image]),
        ((160, 96), [image[::-1].copy(), image, image[:200, :300].copy()]),
    ):
        samples = [preprocess(fixed, *size)(one) for one in images]
        bbox, counts = found_by.run(stack(samples))
        assert bbox.shape == (len(images), 100, 6)
        for rows, count in zip(bbox, counts):
            assert (rows[count:] == NO_DETECTION).all()
        for sample, rows in zip(samples, outputs_by_image("nms_fixed", [bbox, counts])):
            assert_same_detections(mild_model, sample, rows)


def test_a_fixed_batch_of_one_size_and_paddle_3(mild_config, mild_model, tmp_path):
    options = ExportOptions(["paddle", "onnx"], (64, 96), 2, "nms_fixed", portable_dcn=True)
    folder = export_model(mild_config, tmp_path, options)
    image = built_in_image()
    samples = [preprocess(folder, 64, 96)(one) for one in (image, image[::-1].copy())]
    for name in ("paddle", "onnx", "portable"):
        bbox, counts = engine(name, folder).run(stack(samples))
        assert bbox.shape == (2, 100, 6)
        for sample, rows in zip(samples, outputs_by_image("nms_fixed", [bbox, counts])):
            assert_same_detections(mild_model, sample, rows)
    shape = onnx.load(str(folder / "model.onnx")).graph.output[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [2, 100, 6]
    detector = Detector(folder, engine="onnxruntime")
    one, two = detector.predict([image]), detector.predict([image] * 2)
    assert len(one) == 1 and len(one[0]) > 20 and (np.diff(one[0][:, 1]) <= 0).all()
    np.testing.assert_array_equal(one[0], two[1])


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("yolov3/yolov3_darknet53_270e_coco", ["BBoxPostProcess.nms.keep_top_k=12"]),
        ("ppyolo/ppyolo_r50vd_dcn_1x_coco", ["BBoxPostProcess.nms.use_gaussian=true"]),
        ("yolox/yolox_nano_300e_coco", ["YOLOXHead.nms.keep_top_k=12"]),
        (
            "yolox/upstream/yolox_nano_upstream_coco",
            ["UpstreamYOLOXHead.nms={keep_top_k: 12, score_threshold: 0.0002}"],
        ),
        ("yolov4/yolov4_tiny_coco", ["BBoxPostProcess.nms.keep_top_k=12"]),
    ],
)
def test_export_equals_the_network(name, overrides, tmp_path, capsys):
    cfg = narrow(
        name,
        *overrides,
        f"weights={tmp_path / 'random'}",
        "TestReader.inputs_def.image_shape=[3, 64, 96]",
    )
    for step in cfg["TestReader"]["sample_transforms"]:
        for settings in step.values():
            settings.update({key: [64, 96] for key in ("target_size", "size") if key in settings})
    meta = {"class_names": ["ring", "cross", "star"]}
    save_checkpoint(str(tmp_path), "random", random_weights(cfg), meta)
    portable = "dcn" in name
    options = ExportOptions(["paddle", "onnx"], portable_dcn=portable, stage="nms_fixed")
    folder = export_model(cfg, tmp_path / "out", options)
    said = "".join(capsys.readouterr())
    assert said.count("export verified") >= (4 if portable else 3)
    model = onnx.load(str(folder / ("model_portable.onnx" if portable else "model.onnx")))
    assert operators_not_static(model) == []


def test_float16_files_are_static_as_well(mild_config, tmp_path):
    options = ExportOptions(["onnx"], (64, 96), 1, "nms_fixed", portable_dcn=True, precision="fp16")
    folder = export_model(mild_config, tmp_path, options)
    names = sorted(path.name for path in folder.glob("*fp16*.onnx"))
    assert len(names) == 2
    sample = stack([preprocess(folder, 64, 96)(built_in_image())])
    for name in names:
        model = onnx.load(str(folder / name))
        assert operators_not_static(model) == []
        types = {tensor.data_type for tensor in model.graph.initializer}
        assert onnx.TensorProto.FLOAT16 in types
        bbox, counts = open_strictly(folder, "onnxruntime", name).run(sample)
        assert bbox.dtype == np.float32 and bbox.shape == (1, 100, 6) and counts[0] > 20


def test_no_boxes(small_config, mild_settings, tmp_path):
    cfg = load_config(small_config, [*mild_settings, "BBoxPostProcess.decode.conf_thresh=1.0"])
    options = ExportOptions(["onnx"], portable_dcn=True, stage="nms_fixed")
    folder = export_model(cfg, tmp_path, options)
    samples = [preprocess(folder)(built_in_image())] * 2
    for name in ("onnx", "portable", "openvino"):
        bbox, counts = engine(name, folder).run(stack(samples))
        assert (bbox == NO_DETECTION).all() and counts.tolist() == [0, 0]
    detector = Detector(folder, engine="onnxruntime")
    assert [rows.shape for rows in detector.predict([built_in_image()])] == [(0, 6)]


@pytest.mark.parametrize("keep_top_k", [-1, 3841])
def test_rows_must_have_a_number(small_config, mild_settings, tmp_path, keep_top_k):
    settings = [*mild_settings, f"BBoxPostProcess.nms.keep_top_k={keep_top_k}"]
    with pytest.raises(ConfigError, match=f"MatrixNMS.keep_top_k: found {keep_top_k}, allowed"):
        export_model(
            load_config(small_config, settings), tmp_path, ExportOptions(stage="nms_fixed")
        )


def test_rows_of_each_image():
    rows = np.arange(30, dtype=np.float32).reshape(5, 6)
    found = fixed_rows(paddle.to_tensor(rows), paddle.to_tensor([2, 0, 3], "int32"), 3).numpy()
    assert found.shape == (3, 3, 6)
    np.testing.assert_array_equal(found[0], [*rows[:2], NO_DETECTION])
    np.testing.assert_array_equal(found[1], [NO_DETECTION] * 3)
    np.testing.assert_array_equal(found[2], rows[2:])


def test_rows_below_the_candidates_left_out_do_not_count():
    """Of three candidates two enter, so what ends below 0.3 may differ."""
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], np.float32)
    scores = np.array([[0.9, 0.8, 0.3]], np.float32)
    expected = np.concatenate([np.zeros((3, 1)), scores.T, boxes], 1).astype(np.float32)
    nms = {"score_threshold": 0.01, "keep_top_k": 3}
    for candidates, allowed in ((2, True), (3, False), (None, False)):
        config = InferConfig(
            [], ["a"], nms={**nms, "candidates": candidates}, decode={"conf_thresh": 0.0}
        )
        found = detections_agree(expected, expected[:2], config, lambda: (boxes, scores))
        assert (found.complaint is None) == allowed
    lost = detections_agree(expected, expected[1:], config, lambda: (boxes, scores))
    assert lost.complaint is not None
