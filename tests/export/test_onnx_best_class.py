"""One class per box in ONNX, with NMS and without, gives the rows of Paddle's form."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.modeling.post_process.top_scores import TopScores
from tests.export.nms_cases import assert_same_rows, clustered

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

import onnxruntime  # noqa: E402

from ppdet_lite.export.onnx.best_class_nms import best_class_nms  # noqa: E402
from ppdet_lite.export.onnx.fixed_nms import operators_not_static  # noqa: E402
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402
from ppdet_lite.export.onnx.nms import Decoded  # noqa: E402
from ppdet_lite.export.onnx.top_scores import fixed_top_scores, top_scores  # noqa: E402
from tests.export.test_fixed_nms import open_onnx  # noqa: E402


def graph(layer, form, rows):
    g = OnnxGraph()
    boxes = g.input("boxes", "float32", ["batch", "cells", 4])
    scores = g.input("scores", "float32", ["batch", 4, "cells"])
    bbox, counts = form(Decoded(g, boxes, scores, 4, layer.arguments))
    g.output("bbox", bbox, "float32", [*rows, 6])
    g.output("bbox_num", counts, "int32", ["batch"])
    onnx.checker.check_model(g.model, full_check=True)
    return g.model


def native(layer, boxes, scores):
    bbox, counts, _ = layer(paddle.to_tensor(boxes), paddle.to_tensor(scores))
    return bbox.numpy(), counts.numpy()


@pytest.mark.parametrize("arguments", [{}, {"keep_top_k": 7, "score_threshold": 0.3}], ids=str)
def test_rows_are_paddles(arguments):
    layer = TopScores(**arguments)
    model = graph(layer, top_scores, ["detections"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    fixed_model = graph(layer, fixed_top_scores, ["batch", layer.arguments["keep_top_k"]])
    assert operators_not_static(fixed_model) == []
    fixed = open_onnx(fixed_model)
    for seed, batch in ((0, 2), (1, 1), (2, 3)):
        boxes, scores = clustered(seed, batch, cells=90 * batch)
        boxes[0, 7, 2], boxes[0, 8, 1], scores[0, 1, 9] = np.inf, np.nan, np.nan
        expected = native(layer, boxes, scores)
        bbox, counts = session.run(None, {"boxes": boxes, "scores": scores})
        np.testing.assert_array_equal(counts, expected[1])
        np.testing.assert_array_equal(bbox, expected[0])
        assert_same_rows(fixed(boxes, scores), expected)
        nothing = {"boxes": boxes, "scores": np.zeros_like(scores)}
        assert session.run(None, nothing)[0].shape == (0, 6)
        assert fixed(**nothing)[1].tolist() == [0] * batch


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"score_threshold": 0.3, "nms_threshold": 0.3},
        {"class_agnostic": True},
        {"keep_top_k": 5},
        {"keep_top_k": 5, "class_agnostic": True},
    ],
    ids=str,
)
def test_rows_of_best_class_nms_are_paddles(arguments):
    layer = BestClassNMS(**arguments)
    model = graph(layer, best_class_nms, ["detections"])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for seed, batch in ((0, 2), (1, 1), (2, 3)):
        boxes, scores = clustered(seed, batch, cells=90 * batch)
        boxes[0, 7, 2], boxes[0, 8, 1], scores[0, 1, 9] = np.inf, np.nan, np.nan
        expected = native(layer, boxes, scores)
        bbox, counts = session.run(None, {"boxes": boxes, "scores": scores})
        np.testing.assert_array_equal(counts, expected[1])
        np.testing.assert_array_equal(bbox, expected[0])
        nothing = {"boxes": boxes, "scores": np.zeros_like(scores)}
        assert session.run(None, nothing)[0].shape == (0, 6)
