"""NMS in ONNX operators gives the rows of Paddle's own operators, in the same order."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.ops import nms
from ppdet_lite.runtime.engines.openvino import kept_core
from tests.export.nms_cases import (
    CASES,
    DEFAULTS,
    GREEDY,
    MATRIX,
    assert_same_rows,
    clustered,
    run_native,
)

onnx = pytest.importorskip("onnx", reason="needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")

from ppdet_lite.export.onnx import nms as onnx_nms  # noqa: E402
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402

FUNCTIONS = {"matrix": onnx_nms.matrix_nms, "greedy": onnx_nms.multiclass_nms}


def graph(kind, classes, arguments):
    """Bytes of a model with the NMS alone."""
    g = OnnxGraph()
    boxes = g.input("boxes", "float32", ["batch", "cells", 4])
    scores = g.input("scores", "float32", ["batch", classes, "cells"])
    bbox, counts = FUNCTIONS[kind](onnx_nms.Decoded(g, boxes, scores, classes, arguments))
    g.output("bbox", bbox, "float32", ["detections", 6])
    g.output("bbox_num", counts, "int32", ["batch"])
    onnx.checker.check_model(g.model, full_check=True)
    return g.model.SerializeToString()


def run_onnx(kind, boxes, scores, arguments):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = graph(kind, scores.shape[1], arguments)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"boxes": boxes, "scores": scores})


def run_openvino(kind, boxes, scores, arguments):
    openvino = pytest.importorskip("openvino", reason="needs the package openvino")
    model = kept_core(openvino).read_model(graph(kind, scores.shape[1], arguments))
    compiled = kept_core(openvino).compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled({"boxes": boxes, "scores": scores})
    return [results[0], results[1]]


@pytest.mark.parametrize(("kind", "change"), CASES, ids=str)
def test_rows_are_paddles(kind, change):
    arguments = {**DEFAULTS[kind], **change}
    boxes, scores = clustered(seed=len(change))
    expected = run_native(kind, boxes, scores, arguments)
    assert len(expected[0]) > 40
    assert_same_rows(run_onnx(kind, boxes, scores, arguments), expected)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_rows_are_paddles_in_openvino(kind):
    boxes, scores = clustered(seed=5)
    expected = run_native(kind, boxes, scores, DEFAULTS[kind])
    assert_same_rows(run_openvino(kind, boxes, scores, DEFAULTS[kind]), expected)
    nothing = np.zeros_like(scores)
    bbox, counts = run_openvino(kind, boxes, nothing, DEFAULTS[kind])
    assert bbox.shape == (0, 6) and counts.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["ppyolov2", "ppyolov2_all", "gaussian", "topk50", "keepall"])
def test_reference_rows_of_matrix_nms(golden, name):
    assert_reference("matrix", golden / "nms" / f"matrix_{name}.npz")


@pytest.mark.parametrize("name", ["tiny", "yolov3", "yolox", "topk50"])
def test_reference_rows_of_greedy_nms(golden, name):
    assert_reference("greedy", golden / "nms" / f"multiclass_{name}.npz")


def assert_reference(kind, path):
    with np.load(path) as data:
        given = {key[4:]: data[key].item() for key in data.files if key.startswith("arg_")}
        for key in ("nms_top_k", "keep_top_k", "background_label"):
            given[key] = int(given.get(key, DEFAULTS[kind][key]))
        arguments = {**DEFAULTS[kind], **given}
        for half in ("full", "half", "empty"):
            found = run_onnx(kind, data["boxes"], data[f"scores_{half}"], arguments)
            assert_same_rows(found, (data[f"bbox_{half}"], data[f"bbox_num_{half}"]))


def test_rows_of_every_width_are_compared_rightly():
    """Classes with 3, 60, 64, 65, 500, 512, 513 and 700 candidates: all groups, and their ends."""
    counts = [3, 60, 64, 65, 500, 512, 513, 700]
    boxes, scores = clustered(seed=3, batch=2, classes=len(counts), cells=800, above=1.0)
    scores = scores * 0.98 + 0.02
    for index, count in enumerate(counts):
        scores[0, index, count:] = 0
        scores[1, -1 - index, count:] = 0
    arguments = {**MATRIX, "keep_top_k": -1}
    expected = run_native("matrix", boxes, scores, arguments)
    assert set(expected[0][:, 0]) == set(range(len(counts)))
    assert_same_rows(run_onnx("matrix", boxes, scores, arguments), expected)


@pytest.mark.parametrize("run", [run_onnx, run_openvino])
def test_only_the_best_of_a_crowded_image_enter_greedy_nms(monkeypatch, run):
    """Three images: crowded with rows to spare, at the limit, and nearly empty."""
    monkeypatch.setattr(nms, "MOST_CANDIDATES", 300)
    monkeypatch.setattr(nms, "UNLIMITED_PAIRS", 0)
    boxes, scores = clustered(seed=6, batch=3, classes=5, above=1.0)
    scores = scores * 0.98 + 0.02
    scores[:, 0] *= 0.5  # in the first image few of this class are among the best
    scores[1].reshape(-1)[300:] = 0
    scores[2, :, 3:] = 0
    arguments = {**GREEDY, "keep_top_k": 30}
    for chosen in ([0, 1, 2], [1, 2]):
        crowd = boxes[chosen], scores[chosen]
        expected = run_native("greedy", *crowd, arguments)
        assert_same_rows(run("greedy", *crowd, arguments), expected)
    boxes[0] = [10, 10, 60, 60]  # one detection of each class that enters
    scores[0, 0] *= 0.1
    pair = boxes[:1], scores[:1]
    expected = run_native("greedy", *pair, arguments)
    assert expected[0][:, 0].tolist() == [1, 2, 3, 4]
    assert_same_rows(run("greedy", *pair, arguments), expected)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_equal_boxes(kind):
    """A copy of a box, and a copy of the copy: the linear decay must not divide zero by zero."""
    boxes = np.array([[10, 10, 50, 50]] * 3 + [[12, 12, 50, 52], [100, 100, 120, 120]], np.float32)
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]], np.float32)
    pair = boxes[None], scores[None]
    expected = run_native(kind, *pair, DEFAULTS[kind])
    found = run_onnx(kind, *pair, DEFAULTS[kind])
    assert np.isfinite(found[0]).all()
    assert_same_rows(found, expected)


@pytest.mark.parametrize(
    ("kind", "normalized"),
    [("matrix", False), ("matrix", True)] + [("greedy", False), ("greedy", True)],
)
def test_boxes_that_touch_or_nearly_touch(kind, normalized):
    boxes = np.array(
        [
            [40, 40, 60, 60],
            [61, 40, 80, 60],  # a pixel beside it
            [60.5, 40, 80, 60],  # half a pixel
            [60, 40, 80, 60],  # shares its edge
            [10, 10, 10, 10],  # a point
            [10, 5, 10, 15],  # a line through it
        ],
        np.float32,
    )
    if (
        kind == "greedy"
    ):  # Paddle's takes the overlap of nothing with nothing, 0 / 0, for a large one
        boxes = boxes[:-1]
    scores = np.linspace(0.9, 0.3, len(boxes), dtype=np.float32)[None]
    arguments = {**DEFAULTS[kind], "normalized": normalized}
    pair = boxes[None], scores[None]
    expected = run_native(kind, *pair, arguments)
    assert_same_rows(run_onnx(kind, *pair, arguments), expected)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_swapped_corners_overlap_nothing(kind):
    """What clipping leaves of a box wholly outside the image. (Paddle's operators multiply its
    negative sides, which makes an overlap of more than 1.)
    """
    boxes = np.array([[30, 30, 20, 20], [19, 19, 31, 31], [20, 20, 32, 32]], np.float32)
    scores = np.array([[0.9, 0.8, 0.7]], np.float32)
    both, _ = run_onnx(kind, boxes[None], scores[None], DEFAULTS[kind])
    alone, _ = run_onnx(kind, boxes[None, 1:], scores[None, :, 1:], DEFAULTS[kind])
    np.testing.assert_array_equal(both[0], [0, np.float32(0.9), 30, 30, 20, 20])
    np.testing.assert_array_equal(both[1:], alone)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_numbers_that_are_not_finite_yield_no_detections(kind):
    boxes, scores = clustered(seed=9, cells=50)
    boxes[0, 7, 2] = np.inf
    boxes[0, 8, 1] = np.nan
    scores[0, 1, 9] = np.nan
    boxes[1], scores[1] = np.nan, np.nan
    expected = run_native(kind, boxes, scores, DEFAULTS[kind])
    assert expected[1][0] > 10 and expected[1][1] == 0
    assert_same_rows(run_onnx(kind, boxes, scores, DEFAULTS[kind]), expected)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_nothing_above_the_threshold(kind):
    boxes, scores = clustered(seed=0)
    bbox, counts = run_onnx(kind, boxes, scores * 0.01, DEFAULTS[kind])
    assert bbox.shape == (0, 6) and counts.tolist() == [0, 0]
    scores[0] = 0
    expected = run_native(kind, boxes, scores, DEFAULTS[kind])
    assert expected[1][0] == 0 < expected[1][1]
    assert_same_rows(run_onnx(kind, boxes, scores, DEFAULTS[kind]), expected)


def test_a_changing_threshold_has_no_onnx_form():
    with pytest.raises(ConfigError, match=r"MultiClassNMS.nms_eta: found 0.9, allowed in ONNX: 1"):
        graph("greedy", 3, {**GREEDY, "nms_eta": 0.9})
