"""Decoding, deformable convolution and the tidied network in ONNX operators."""

import shutil
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from paddle.vision.ops import deform_conv2d

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.post_process.box_decoders import CellBox, YOLOBox
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS
from ppdet_lite.modeling.post_process.scaled_yolo_box import ScaledYOLOBox
from ppdet_lite.runtime.engines.openvino import kept_core

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
pytest.importorskip("paddle2onnx", reason="needs the package paddle2onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

from ppdet_lite.export.onnx.deform_conv import (  # noqa: E402
    has_deform_conv,
    without_deform_conv,
)
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402
from ppdet_lite.export.onnx.network import convert_network, tidy  # noqa: E402
from ppdet_lite.export.onnx.write import DECODERS, NMS, form_of  # noqa: E402

CLASSES = 3
LEVELS = (
    AnchorLevel(((116, 90), (156, 198), (373, 326)), 32, 1.05),
    AnchorLevel(((30, 61), (62, 45), (59, 119)), 16, 1.2),
)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


# ------------------------------------------------------------------------------------- decoding
def detector(decoder, levels=()):
    """What the decoding asks of a model."""
    head = SimpleNamespace(levels=levels, num_classes=CLASSES)
    return SimpleNamespace(post_process=SimpleNamespace(decode=decoder), head=head)


def decode_onnx(model, raw, im_shape, scale_factor):
    g = OnnxGraph()
    maps = [
        g.input(f"raw_{i}", "float32", ["batch", level.shape[1], f"rows_{i}", f"columns_{i}"])
        for i, level in enumerate(raw)
    ]
    sizes = {name: g.input(name, "float32", ["batch", 2]) for name in ("im_shape", "scale_factor")}
    boxes, scores = DECODERS[type(model.post_process.decode)](g, model, maps, sizes)
    g.output("boxes", boxes, "float32", ["batch", "cells", 4])
    g.output("scores", scores, "float32", ["batch", CLASSES, "cells"])
    onnx.checker.check_model(g.model, full_check=True)
    feeds = {f"raw_{i}": level for i, level in enumerate(raw)}
    return run(g.model, {**feeds, "im_shape": im_shape, "scale_factor": scale_factor})


def raw_maps(channels, sizes, seed=0, spread=1.5):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, spread, (2, channels, *size)).astype(np.float32) for size in sizes]


SHAPES = np.array([[64, 96], [40, 96]], np.float32)  # the second with padding
SCALES = np.array([[0.5, 0.75], [0.3, 0.3]], np.float32)


@pytest.mark.parametrize("factor", [None, 0.4])
@pytest.mark.parametrize("clip", [True, False])
def test_yolo_boxes_are_paddles(factor, clip):
    decoder = YOLOBox(CLASSES, conf_thresh=0.3, clip_bbox=clip)
    raw = raw_maps(3 * (5 + CLASSES + (factor is not None)), [(2, 3), (4, 6)])
    tensors = [paddle.to_tensor(level) for level in raw]
    sizes = [paddle.to_tensor(SHAPES), paddle.to_tensor(SCALES)]
    levels = [level._replace(iou_aware_factor=factor) for level in LEVELS]
    expected = [out.numpy() for out in decoder(tensors, levels, *sizes)]
    found = decode_onnx(detector(decoder, levels), raw, SHAPES, SCALES)
    is_dropped = ~expected[0].any(axis=2)
    assert 0.2 < is_dropped.mean() < 0.95  # the threshold is at work
    np.testing.assert_array_equal(~found[0].any(axis=2), is_dropped)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("clip", [True, False])
def test_scaled_yolo_boxes_are_those_of_the_model(clip):
    decoder = ScaledYOLOBox(CLASSES, conf_thresh=0.3, clip_bbox=clip)
    raw = [1 / (1 + np.exp(-level)) for level in raw_maps(3 * (5 + CLASSES), [(2, 3), (4, 6)])]
    levels = [level._replace(new_coords=True) for level in LEVELS]
    sizes = [paddle.to_tensor(SHAPES), paddle.to_tensor(SCALES)]
    expected = [out.numpy() for out in decoder([paddle.to_tensor(x) for x in raw], levels, *sizes)]
    found = decode_onnx(detector(decoder, levels), raw, SHAPES, SCALES)
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_cell_boxes_are_those_of_the_model():
    raw = raw_maps(5 + CLASSES, [(8, 12), (4, 6)])
    levels = [CellLevel(8), CellLevel(16)]
    tensors = [paddle.to_tensor(x) for x in raw]
    expected = CellBox()(tensors, levels, None, paddle.to_tensor(SCALES))
    found = decode_onnx(detector(CellBox(), levels), raw, SHAPES, SCALES)
    assert found[0].shape == (2, 8 * 12 + 4 * 6, 4)
    np.testing.assert_allclose(found[0], expected[0].numpy(), rtol=2e-6, atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1].numpy(), atol=1e-6)


def test_the_onnx_form_is_that_of_the_class_or_of_its_base():
    class Own(MatrixNMS):
        pass

    assert form_of(Own(), "nms", NMS, "decoded") is NMS[MatrixNMS]
    with pytest.raises(ConfigError, match="post_process.decode: MatrixNMS .* YOLOBox.*raw"):
        form_of(MatrixNMS(), "decode", DECODERS, "raw")


# ----------------------------------------------------------------------- deformable convolution
def deformable_model(stride, padding, bias, mask=True, groups=1, channels=6, parts=1):
    """(model, weight, bias) of one DeformConv with 3x3 taps, 6 to 5 channels; with `parts` of the
    channels that have offsets of their own, 6 to 6, as Paddle wants it."""
    rng, outputs = np.random.default_rng(1), 5 if parts == 1 else 6
    g = OnnxGraph()
    x = g.input("x", "float32", ["batch", channels, "height", "width"])
    offset = g.input("offset", "float32", ["batch", 18 * parts, "rows", "columns"])
    inputs = [x, rng.normal(0, 1, (outputs, channels // groups, 3, 3)).astype(np.float32), offset]
    values = rng.normal(0, 1, outputs).astype(np.float32) if bias else None
    inputs.append(values)
    if mask:
        inputs.append(g.input("mask", "float32", ["batch", 9 * parts, "rows", "columns"]))
    out = g.op(
        "DeformConv",
        *inputs,
        kernel_shape=[3, 3],
        strides=[stride, stride],
        pads=[padding] * 4,
        group=groups,
        offset_group=parts,
    )
    g.output("out", out, "float32", ["batch", outputs, "rows", "columns"])
    return g.model, inputs[1], values


def deformable_feeds(stride, padding, height=7, width=9, parts=1):
    """Offsets far enough to leave the map on every side."""
    rng = np.random.default_rng(2)
    rows, columns = ((n + 2 * padding - 3) // stride + 1 for n in (height, width))
    return {
        "x": rng.normal(0, 1, (2, 6, height, width)).astype(np.float32),
        "offset": rng.normal(0, 3, (2, 18 * parts, rows, columns)).astype(np.float32),
        "mask": rng.uniform(0, 1, (2, 9 * parts, rows, columns)).astype(np.float32),
    }


def paddles(feeds, weight, bias, stride, padding):
    tensors = {key: paddle.to_tensor(value) for key, value in feeds.items()}
    x, offset, mask = (tensors.get(key) for key in ("x", "offset", "mask"))
    bias = None if bias is None else paddle.to_tensor(bias)
    weight = paddle.to_tensor(weight)
    size = {"stride": stride, "padding": padding, "deformable_groups": offset.shape[1] // 18}
    out = deform_conv2d(x, offset, weight, bias, mask=mask, **size)
    return out.numpy()


@pytest.mark.parametrize(
    ("stride", "padding", "bias"), [(1, 1, True), (2, 1, False), (1, 0, True), (2, 2, True)]
)
def test_the_portable_form_is_paddles_deformable_convolution(stride, padding, bias):
    model, weight, bias = deformable_model(stride, padding, bias)
    feeds = deformable_feeds(stride, padding)
    portable = without_deform_conv(model)
    assert has_deform_conv(model) and not has_deform_conv(portable)
    expected = paddles(feeds, weight, bias, stride, padding)
    np.testing.assert_allclose(run(portable, feeds)[0], expected, atol=2e-5)


@pytest.mark.parametrize(("parts", "mask"), [(2, True), (3, False)])
def test_channels_with_offsets_of_their_own(parts, mask):
    model, weight, bias = deformable_model(2, 1, True, mask, parts=parts)
    feeds = deformable_feeds(2, 1, parts=parts)
    if not mask:
        del feeds["mask"]
    found = run(without_deform_conv(model), feeds)[0]
    np.testing.assert_allclose(found, paddles(feeds, weight, bias, 2, 1), atol=2e-5)


def test_the_portable_form_in_openvino():
    openvino = pytest.importorskip("openvino", reason="needs the package openvino")
    model, weight, bias = deformable_model(2, 1, True)
    feeds = deformable_feeds(2, 1)
    graph = kept_core(openvino).read_model(without_deform_conv(model).SerializeToString())
    compiled = kept_core(openvino).compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(feeds)[0], paddles(feeds, weight, bias, 2, 1), atol=2e-5)


def test_the_operator_itself_is_paddles_deformable_convolution():
    model, weight, bias = deformable_model(2, 1, True)
    feeds = deformable_feeds(2, 1)
    try:
        found = run(model, feeds)[0]
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} has no DeformConv yet")
    np.testing.assert_allclose(found, paddles(feeds, weight, bias, 2, 1), atol=2e-5)


def test_without_mask_every_tap_counts_fully():
    model, weight, bias = deformable_model(1, 1, True, mask=False)
    feeds = deformable_feeds(1, 1)
    expected = paddles({**feeds, "mask": np.ones_like(feeds["mask"])}, weight, bias, 1, 1)
    feeds.pop("mask")
    np.testing.assert_allclose(run(without_deform_conv(model), feeds)[0], expected, atol=2e-5)


def test_grouped_deformable_convolutions_are_refused():
    model, *_ = deformable_model(1, 1, True, groups=2)
    with pytest.raises(UserError, match="DeformConv with .* groups has no portable form here"):
        without_deform_conv(model)


# ------------------------------------------------------------------------------------- tidying
def kinds(model):
    return sorted(node.op_type for node in model.graph.node)


def test_tidying_keeps_what_is_computed_only():
    g = OnnxGraph()
    x = g.input("x", "float32", ["batch", 2, 4, 4])
    weight = np.random.default_rng(0).normal(0, 1, (3, 2, 1, 1)).astype(np.float32)
    bias = g.op("Identity", g.constant([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1))
    y = g.op("Identity", g.op("Conv", g.op("Identity", x), weight)) + bias
    y = g.op("Relu", y) * g.op("Add", 1.0, 2.0)
    g.op("Exp", g.op("Log", y))  # nobody needs them
    g.output("y", y, "float32", ["batch", 3, 4, 4])
    feeds = {"x": np.random.default_rng(1).normal(0, 1, (1, 2, 4, 4)).astype(np.float32)}
    expected = run(g.model, feeds)
    tidy(g.model)
    onnx.checker.check_model(g.model)
    assert kinds(g.model) == ["Conv", "Identity", "Mul", "Relu"]
    (conv,) = (node for node in g.model.graph.node if node.op_type == "Conv")
    values = {t.name: onnx.numpy_helper.to_array(t) for t in g.model.graph.initializer}
    np.testing.assert_array_equal(values[conv.input[2]], [1, 2, 3])
    assert len(values) == 3  # weight, bias, factor
    np.testing.assert_allclose(run(g.model, feeds)[0], expected[0], rtol=1e-6)


def test_a_convolution_that_others_look_at_keeps_its_bias_outside():
    g = OnnxGraph()
    x = g.input("x", "float32", [1, 1, 2, 2])
    conv = g.op("Conv", x, np.ones((1, 1, 1, 1), np.float32))
    g.output("y", (conv + np.full((1, 1, 1, 1), 5, np.float32)) * conv, "float32", [1, 1, 2, 2])
    tidy(g.model)
    assert kinds(g.model) == ["Add", "Conv", "Identity", "Mul"]
    feeds = {"x": np.full((1, 1, 2, 2), 3, np.float32)}
    np.testing.assert_array_equal(run(g.model, feeds)[0], np.full((1, 1, 2, 2), 24))


def test_a_network_that_paddle2onnx_does_not_know(exported, tmp_path):
    """It logs the reason and ends the process. Here it is a file that is no graph."""
    if (exported / "model.pdmodel").is_file():
        pytest.skip("needs Paddle 3")
    shutil.copy(exported / "model.pdiparams", tmp_path)
    (tmp_path / "model.json").write_text((exported / "model.json").read_text()[:9000])
    with pytest.raises(UserError, match=r"(?s)paddle2onnx cannot convert .*parse error"):
        convert_network(tmp_path / "model.json", tmp_path / "model.pdiparams")
