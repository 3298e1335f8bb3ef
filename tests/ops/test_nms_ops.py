"""NMS on inputs small enough to work out by hand, and on damaged ones."""

import numpy as np
import paddle
import pytest

from ppdet_lite.ops import nms

# Two boxes with IoU 1/3 (10 x 10, shifted by 5) and one far away.
BOXES = np.array([[[0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]]], dtype=np.float32)
SCORES = np.array([[[0.9, 0.8, 0.3]]], dtype=np.float32)


def _run(function, boxes=BOXES, scores=SCORES, **arguments):
    outputs = function(paddle.to_tensor(boxes), paddle.to_tensor(scores), **arguments)
    return tuple(output.numpy() for output in outputs)


def test_matrix_nms_by_hand():
    detections, counts, index = _run(
        nms.matrix_nms,
        score_threshold=0.1,
        post_threshold=0.1,
        nms_top_k=-1,
        keep_top_k=-1,
        normalized=True,
    )
    np.testing.assert_allclose(detections[:, 1], [0.9, 0.8 * (1 - 1 / 3), 0.3], rtol=1e-5)
    np.testing.assert_array_equal(counts, [3])
    np.testing.assert_array_equal(index[:, 0], [0, 1, 2])


@pytest.mark.parametrize("threshold, kept", [(0.3, [0, 2]), (0.4, [0, 1, 2])])
def test_multiclass_nms_by_hand(threshold, kept):
    detections, counts, index = _run(
        nms.multiclass_nms,
        score_threshold=0.1,
        nms_threshold=threshold,
        nms_top_k=-1,
        keep_top_k=-1,
    )
    np.testing.assert_array_equal(index[:, 0], kept)
    np.testing.assert_array_equal(detections[:, 2:], BOXES[0, kept])
    np.testing.assert_array_equal(counts, [len(kept)])


@pytest.mark.parametrize(
    "function, arguments",
    [
        (nms.matrix_nms, {"post_threshold": 0.0}),
        (nms.multiclass_nms, {"nms_threshold": 0.5}),
    ],
)
def test_not_a_number_yields_no_detection(function, arguments):
    common = {"score_threshold": 0.01, "nms_top_k": -1, "keep_top_k": 100, **arguments}
    boxes, scores = BOXES.copy(), SCORES.copy()
    boxes[0, 0, 1] = np.nan
    scores[0, 0, 1] = np.inf
    detections, counts, index = _run(function, boxes, scores, **common)
    np.testing.assert_array_equal(index[:, 0], [2])
    np.testing.assert_array_equal(detections[:, 2:], BOXES[0, 2:])
    nothing, counts, _ = _run(function, boxes * np.nan, scores * np.nan, **common)
    assert nothing.shape == (0, 6)
    np.testing.assert_array_equal(counts, [0])


@pytest.mark.parametrize(
    "classes, limit", [(1, 8944), (3, 5163), (20, 2000), (80, 1000), (365, 1000)]
)
def test_the_limit_behind_minus_one(classes, limit):
    assert nms.effective_top_k(-1, classes) == limit
    assert nms.effective_top_k(7, classes) == 7
    assert nms.effective_top_k(0, classes) == 0


def test_unlimited_means_the_stated_cap():
    cap, classes = 1000, 80
    count = cap + 50
    left = 20.0 * np.arange(count, dtype=np.float32)  # none of the boxes touch
    boxes = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)[None]
    scores = np.zeros((1, classes, count), np.float32)
    scores[0, 5] = np.linspace(0.9, 0.2, count)
    arguments = {"score_threshold": 0.1, "post_threshold": 0.1, "keep_top_k": -1}
    detections, counts, _ = _run(nms.matrix_nms, boxes, scores, nms_top_k=-1, **arguments)
    np.testing.assert_array_equal(counts, [cap])
    # What is kept has the scores that an NMS without any limit gives.
    free, _, _ = _run(nms.matrix_nms, boxes, scores, nms_top_k=count, **arguments)
    np.testing.assert_array_equal(detections, free[:cap])
