"""NMS of one class per box, of fixed size, gives the rows of Paddle's form."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from tests.export.nms_cases import assert_same_rows, clustered

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

from ppdet_lite.export.onnx.best_class_nms import fixed_best_class_nms  # noqa: E402
from ppdet_lite.export.onnx.fixed_nms import operators_not_static  # noqa: E402
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402
from ppdet_lite.export.onnx.nms import Decoded  # noqa: E402
from tests.export.test_fixed_nms import open_onnx, open_openvino  # noqa: E402

CASES = [
    {"keep_top_k": 40},
    {"keep_top_k": 20, "score_threshold": 0.3, "nms_threshold": 0.3},
    {"keep_top_k": 30, "class_agnostic": True},
]


def graph(layer, classes):
    g = OnnxGraph()
    boxes = g.input("boxes", "float32", ["batch", "cells", 4])
    scores = g.input("scores", "float32", ["batch", classes, "cells"])
    given = Decoded(g, boxes, scores, classes, layer.arguments)
    rows, counts = fixed_best_class_nms(given)
    g.output("bbox", rows, "float32", ["batch", layer.arguments["keep_top_k"], 6])
    g.output("bbox_num", counts, "int32", ["batch"])
    onnx.checker.check_model(g.model, full_check=True)
    assert operators_not_static(g.model) == []
    return g.model


def native(layer, boxes, scores):
    bbox, counts, _ = layer(paddle.to_tensor(boxes), paddle.to_tensor(scores))
    return bbox.numpy(), counts.numpy()


@pytest.mark.parametrize("engine", [open_onnx, open_openvino])
@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_rows_are_paddles(arguments, engine):
    layer = BestClassNMS(**arguments)
    run = engine(graph(layer, 4))
    total = 0
    for seed, batch in ((0, 2), (1, 1), (2, 3)):
        boxes, scores = clustered(seed, batch, cells=90 * batch)
        expected = native(layer, boxes, scores)
        assert_same_rows(run(boxes, scores), expected)
        total += len(expected[0])
    assert total > 60
    _, counts = run(boxes, np.zeros_like(scores))
    assert counts.tolist() == [0, 0, 0]


def test_numbers_that_are_not_finite_yield_no_detections():
    layer = BestClassNMS(keep_top_k=30)
    boxes, scores = clustered(seed=9, cells=50)
    boxes[0, 7, 2], boxes[0, 8, 1], scores[0, 1, 9] = np.inf, np.nan, np.nan
    boxes[1], scores[1] = np.nan, np.nan
    expected = native(layer, boxes, scores)
    assert expected[1][0] > 10 and expected[1][1] == 0
    assert_same_rows(open_onnx(graph(layer, 4))(boxes, scores), expected)
