"""NMS of fixed size gives the rows of Paddle's operators, in static ONNX operators."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.ops import nms
from ppdet_lite.runtime.detector import detections_by_image
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

from ppdet_lite.export.onnx import fixed_nms  # noqa: E402
from ppdet_lite.export.onnx import nms as onnx_nms  # noqa: E402
from ppdet_lite.export.onnx.graph import OnnxGraph  # noqa: E402

FIXED = {"matrix": fixed_nms.fixed_matrix_nms, "greedy": fixed_nms.fixed_multiclass_nms}
FREE = {"matrix": onnx_nms.matrix_nms, "greedy": onnx_nms.multiclass_nms}
FIXED_CASES = [case for case in CASES if case[1].get("keep_top_k") not in (-1, 1000)]
SMALL = {"matrix": {**MATRIX, "keep_top_k": 20}, "greedy": {**GREEDY, "keep_top_k": 20}}


def graph(kind, classes, arguments, forms=FIXED):
    """A model with the NMS alone, any batch and number of boxes."""
    g = OnnxGraph()
    boxes = g.input("boxes", "float32", ["batch", "cells", 4])
    scores = g.input("scores", "float32", ["batch", classes, "cells"])
    rows, counts = forms[kind](onnx_nms.Decoded(g, boxes, scores, classes, arguments))
    is_fixed = forms is FIXED
    shape = ["batch", arguments["keep_top_k"], 6] if is_fixed else ["detections", 6]
    g.output("bbox", rows, "float32", shape)
    g.output("bbox_num", counts, "int32", ["batch"])
    onnx.checker.check_model(g.model, full_check=True)
    return g.model


def open_onnx(model):
    """boxes, scores -> detections of all images and counts; checks the places that are left."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)

    def run(boxes, scores):
        bbox, counts = session.run(None, {"boxes": boxes, "scores": scores})
        return together(bbox, counts)

    return run


def together(bbox, counts):
    if bbox.ndim == 3:
        assert len(bbox) == len(counts)
        for rows, count in zip(bbox, counts):
            assert (rows[count:] == nms.NO_DETECTION).all()
    return np.concatenate(detections_by_image(bbox, counts)), counts


def open_openvino(model):
    openvino = pytest.importorskip("openvino", reason="needs the package openvino")
    read = kept_core(openvino).read_model(model.SerializeToString())
    compiled = kept_core(openvino).compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(boxes, scores):
        results = compiled({"boxes": boxes, "scores": scores})
        return together(results[0], results[1])

    return run


@pytest.mark.parametrize(("kind", "change"), FIXED_CASES, ids=str)
def test_rows_are_paddles(kind, change):
    arguments = {**DEFAULTS[kind], **change}
    boxes, scores = clustered(seed=len(change))
    model = graph(kind, scores.shape[1], arguments)
    assert fixed_nms.operators_not_static(model) == []
    expected = run_native(kind, boxes, scores, arguments)
    assert len(expected[0]) > 40
    assert_same_rows(open_onnx(model)(boxes, scores), expected)


@pytest.mark.parametrize("kind", FIXED)
def test_rows_are_paddles_in_openvino(kind):
    run = open_openvino(graph(kind, 4, SMALL[kind]))
    for seed, batch in ((5, 2), (6, 1), (7, 3)):
        boxes, scores = clustered(seed, batch, cells=100 * batch)
        assert_same_rows(run(boxes, scores), run_native(kind, boxes, scores, SMALL[kind]))
        bbox, counts = run(boxes, np.zeros_like(scores))
        assert bbox.shape == (0, 6) and counts.tolist() == [0] * batch


@pytest.mark.parametrize("name", ["ppyolov2", "gaussian"])
def test_reference_rows_of_matrix_nms(golden, name):
    assert_reference("matrix", golden / "nms" / f"matrix_{name}.npz")


@pytest.mark.parametrize("name", ["tiny", "yolov3", "yolox"])
def test_reference_rows_of_greedy_nms(golden, name):
    assert_reference("greedy", golden / "nms" / f"multiclass_{name}.npz")


def assert_reference(kind, path):
    with np.load(path) as data:
        given = {key[4:]: data[key].item() for key in data.files if key.startswith("arg_")}
        for key in ("nms_top_k", "keep_top_k", "background_label"):
            given[key] = int(given.get(key, DEFAULTS[kind][key]))
        run = open_onnx(graph(kind, data["scores_full"].shape[1], {**DEFAULTS[kind], **given}))
        for half in ("full", "half", "empty"):
            found = run(data["boxes"], data[f"scores_{half}"])
            assert_same_rows(found, (data[f"bbox_{half}"], data[f"bbox_num_{half}"]))


def test_many_crowds_with_equal_scores_and_boxes_are_sorted_out_exactly():
    """Corners on a grid of 8 px and scores in twentieths: equal scores, equal boxes, and overlaps
    that are exactly the threshold."""
    arguments = {**GREEDY, "keep_top_k": 40, "nms_threshold": 0.5}
    run = open_onnx(graph("greedy", 3, arguments))
    rng = np.random.default_rng(0)
    kept = 0
    for cells in range(1, 200, 3):
        low = 8 * rng.integers(0, 12, (2, cells, 2))
        boxes = np.concatenate([low, low + 8 * rng.integers(1, 6, (2, cells, 2))], 2)
        boxes = boxes.astype(np.float32)
        scores = (rng.integers(0, 20, (2, 3, cells)) / 20).astype(np.float32)
        expected = run_native("greedy", boxes, scores, arguments)
        found = run(boxes, scores)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])
        kept += len(expected[0])
    assert kept > 2000


def test_a_chain_of_boxes_is_followed_to_its_end():
    """Equal scores along a row of cells, as an untrained network gives: each box that stays takes
    its neighbor away, by which the next one stays."""
    low = np.stack([np.arange(300) * 8.0, np.zeros(300)], 1)
    boxes = np.concatenate([low, low + 40], 1).astype(np.float32)[None]
    scores = np.full((1, 1, 300), 0.1, np.float32)
    arguments = {**GREEDY, "nms_threshold": 0.65, "keep_top_k": 160}
    bbox, counts = open_onnx(graph("greedy", 1, arguments))(boxes, scores)
    assert counts.tolist() == [150]
    np.testing.assert_array_equal(bbox[:, 2], np.arange(0, 300, 2) * 8)


@pytest.mark.parametrize("kind", FIXED)
def test_equal_scores_come_in_the_order_of_the_form_without_fixed_size(kind):
    """Where Paddle's matrix NMS leaves the order of equal scores to chance."""
    fixed, free = (open_onnx(graph(kind, 4, SMALL[kind], forms)) for forms in (FIXED, FREE))
    rng = np.random.default_rng(3)
    for seed in range(8):
        boxes, scores = clustered(seed, cells=int(rng.integers(1, 150)))
        boxes = np.round(boxes / 16) * 16
        scores = np.round(scores * 10) / 10
        found, expected = fixed(boxes, scores), free(boxes, scores)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("kind", FIXED)
def test_fewer_candidates_than_rows(kind):
    boxes, scores = clustered(seed=1, classes=2, cells=9, above=1.0)
    arguments = {**DEFAULTS[kind], "nms_top_k": 3}  # 6 candidates, 100 rows
    expected = run_native(kind, boxes, scores, arguments)
    assert expected[1].min() >= 2
    assert_same_rows(open_onnx(graph(kind, 2, arguments))(boxes, scores), expected)


@pytest.mark.parametrize("kind", FIXED)
def test_nothing_above_the_threshold_and_numbers_that_are_not_finite(kind):
    run = open_onnx(graph(kind, 4, SMALL[kind]))
    boxes, scores = clustered(seed=9, batch=3, cells=50)
    boxes[0, 7, 2], boxes[0, 8, 1], scores[0, 1, 9] = np.inf, np.nan, np.nan
    boxes[1], scores[1] = np.nan, np.nan
    scores[2] *= 0.01
    expected = run_native(kind, boxes, scores, SMALL[kind])
    assert expected[1][0] > 10 and expected[1][1:].tolist() == [0, 0]
    assert_same_rows(run(boxes, scores), expected)


@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("normalized", [False, True])
def test_boxes_that_touch_are_swapped_or_have_no_area(kind, normalized):
    boxes = np.array(
        [
            [40, 40, 60, 60],
            [61, 40, 80, 60],  # a pixel beside it
            [60.5, 40, 80, 60],  # half a pixel
            [60, 40, 80, 60],  # shares its edge
            [10, 10, 10, 10],  # a point
            [30, 30, 20, 20],  # swapped corners
            [19, 19, 31, 31],
        ],
        np.float32,
    )
    scores = np.linspace(0.9, 0.3, len(boxes), dtype=np.float32)[None]
    arguments = {**SMALL[kind], "normalized": normalized}
    found, expected = (
        open_onnx(graph(kind, 1, arguments, forms))(boxes[None], scores[None])
        for forms in (FIXED, FREE)
    )
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", FIXED)
def test_rows_above_the_candidates_left_out_are_right(kind, monkeypatch):
    """60 candidates of 1,500 enter: what ends above the score of the 61st is as without a limit."""
    monkeypatch.setattr(nms, "FIXED_CANDIDATES", 60)
    monkeypatch.setattr(nms, "FIRST_SHARE", 1)
    boxes, scores = clustered(seed=4, batch=1, classes=5, above=1.0)
    arguments = {**SMALL[kind], "keep_top_k": 50}
    limit = np.sort(scores, axis=None)[-61]
    rows, counts = open_onnx(graph(kind, 5, arguments))(boxes, scores)
    expected, _ = run_native(kind, boxes, scores, arguments)
    found, expected = (part[part[:, 1] > limit] for part in (rows, expected))
    assert len(expected) > 5
    assert_same_rows((found, counts), (expected, counts))


@pytest.mark.parametrize("kind", FIXED)
def test_more_candidates_than_one_topk_may_give(kind, monkeypatch):
    """Parts of 70, where TensorRT takes 3840."""
    monkeypatch.setattr(fixed_nms, "MOST_SORTED", 70)
    boxes, scores = clustered(seed=8, classes=2, cells=100)
    model = graph(kind, 2, {**SMALL[kind], "nms_top_k": 90})
    sizes = {
        onnx.numpy_helper.to_array(x).item()
        for node in model.graph.node
        for x in model.graph.initializer
        if node.op_type == "TopK" and node.input[1] == x.name
    }
    assert {70, 20, 40} <= sizes  # 90 of each class, 180 in all
    expected = run_native(kind, boxes, scores, {**SMALL[kind], "nms_top_k": 90})
    assert_same_rows(open_onnx(model)(boxes, scores), expected)


def test_operators_that_are_not_static_are_named():
    g = OnnxGraph()
    x = g.input("x", "float32", ["n"])
    g.op("TopK", x, x.size(0), outputs=2)
    g.op("TopK", x, [3841], outputs=2)
    g.op("TopK", x, [3840], outputs=2)
    g.op("NonZero", x)
    found = [name.split()[0] for name in fixed_nms.operators_not_static(g.model)]
    assert found == ["TopK", "TopK", "NonZero"]
    free = fixed_nms.operators_not_static(graph("greedy", 3, GREEDY, FREE))
    assert {name.split()[0] for name in free} == {"TopK", "NonZero", "NonMaxSuppression"}


def test_a_changing_threshold_has_no_onnx_form():
    with pytest.raises(ConfigError, match=r"MultiClassNMS.nms_eta: found 0.9, allowed in ONNX: 1"):
        graph("greedy", 3, {**GREEDY, "nms_eta": 0.9})
