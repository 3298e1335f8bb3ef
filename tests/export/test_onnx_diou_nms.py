"""DIoU-NMS in ONNX operators gives the rows of Paddle's form, in the same order."""

import numpy as np
import paddle
import pytest

from ppdet_lite.ops import diou_nms
from ppdet_lite.runtime.engines.openvino import kept_core
from tests.ops.test_diou_nms import clustered

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

from ppdet_lite.export.onnx import diou_nms as onnx_nms  # noqa: E402
from ppdet_lite.export.onnx.fixed_nms import operators_not_static  # noqa: E402
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402
from ppdet_lite.export.onnx.nms import Decoded  # noqa: E402

SETTINGS = {
    "score_threshold": 0.2,
    "nms_threshold": 0.45,
    "beta": 0.6,
    "nms_top_k": -1,
    "keep_top_k": 100,
    "background_label": -1,
}


def graph(classes, arguments):
    """A model with the NMS alone."""
    g = OnnxGraph()
    boxes = g.input("boxes", "float32", ["batch", "cells", 4])
    scores = g.input("scores", "float32", ["batch", classes, "cells"])
    bbox, counts = onnx_nms.diou_nms(Decoded(g, boxes, scores, classes, arguments))
    g.output("bbox", bbox, "float32", ["detections", 6])
    g.output("bbox_num", counts, "int32", ["batch"])
    onnx.checker.check_model(g.model, full_check=True)
    return g.model.SerializeToString()


def run_onnx(model, feeds):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def run_openvino(model, feeds):
    openvino = pytest.importorskip("openvino", reason="needs the package openvino")
    compiled = kept_core(openvino).compile_model(
        kept_core(openvino).read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = compiled(feeds)
    return [results[0], results[1]]


@pytest.mark.parametrize("engine", [run_onnx, run_openvino])
@pytest.mark.parametrize(
    "changes, cut",
    [
        ({}, 1),
        ({"keep_top_k": 9}, 1),
        ({"keep_top_k": -1, "beta": 1.0}, 1),
        ({"nms_top_k": 12, "background_label": 1}, 1),
        ({"score_threshold": 0.9}, np.array([1, 0], np.float32)[:, None, None]),
        ({}, 0),
    ],
)
def test_equals_paddle(engine, changes, cut):
    boxes, scores = clustered(5)
    scores = (scores * cut).astype(np.float32)
    arguments = {**SETTINGS, **changes}
    model = graph(scores.shape[1], arguments)
    bbox, counts = engine(model, {"boxes": boxes, "scores": scores})
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(scores)
    expected, numbers, _ = diou_nms.diou_nms(*tensors, **arguments)
    np.testing.assert_array_equal(counts, numbers.numpy())
    assert bbox.shape == tuple(expected.shape)
    np.testing.assert_allclose(bbox, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "changes", [{}, {"keep_top_k": 9}, {"background_label": 0, "nms_top_k": 8}]
)
def test_fixed_size_gives_the_same_rows(changes):
    boxes, scores = clustered(6)
    scores[1] = 0
    arguments = {**SETTINGS, **changes}
    g = OnnxGraph()
    inputs = g.input("boxes", "float32", [2, 200, 4]), g.input("scores", "float32", [2, 3, 200])
    rows, counts = onnx_nms.fixed_diou_nms(Decoded(g, *inputs, 3, arguments))
    g.output("bbox", rows, "float32", [2, arguments["keep_top_k"], 6])
    g.output("bbox_num", counts, "int32", [2])
    onnx.checker.check_model(g.model, full_check=True)
    assert operators_not_static(g.model) == []
    bbox, found = run_onnx(g.model.SerializeToString(), {"boxes": boxes, "scores": scores})
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(scores)
    expected, numbers, _ = diou_nms.diou_nms(*tensors, **arguments)
    assert found.tolist() == numbers.numpy().tolist() and found[0] > 0 == found[1]
    np.testing.assert_allclose(bbox[0, : found[0]], expected.numpy(), rtol=1e-6)
    assert (bbox[0, found[0] :, 0] == -1).all() and (bbox[1, :, 0] == -1).all()
