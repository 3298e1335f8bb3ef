"""DIoU-NMS in Paddle's operators against its definition in numpy, and by hand."""

import numpy as np
import paddle
import pytest

from ppdet_lite.ops.boxes_np import iou_matrix
from ppdet_lite.ops.diou_nms import diou_nms, suppression_measure
from ppdet_lite.ops.diou_nms_np import diou_measure, greedy_nms

CELLS = 200
SETTINGS = {
    "score_threshold": 0.3,
    "nms_threshold": 0.4,
    "beta": 0.6,
    "nms_top_k": -1,
    "keep_top_k": -1,
}


def clustered(seed, batch=2, classes=3, cells=CELLS):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 300, (batch, 10, 2))[:, rng.integers(0, 10, cells)]
    centers = centers + rng.normal(0, 8, (batch, cells, 2))
    sides = rng.uniform(20, 90, (batch, cells, 2))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], 2).astype(np.float32)
    return boxes, rng.uniform(0, 1, (batch, classes, cells)).astype(np.float32)


def run(boxes, scores, **changes):
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(scores)
    return [x.numpy() for x in diou_nms(*tensors, **{**SETTINGS, **changes})]


def expected_rows(boxes, scores, **changes):
    """Of each image: class, score, corners, number of the box; best first."""
    settings = {**SETTINGS, **changes}
    images = []
    for own, given in zip(boxes, scores):
        candidates = np.where(given > settings["score_threshold"], given, 0).T
        measure = diou_measure(settings["beta"])
        kept = greedy_nms(own, candidates, settings["nms_threshold"], measure)
        cell, label = np.nonzero(kept)
        most = settings["keep_top_k"] if settings["keep_top_k"] >= 0 else len(cell)
        order = np.argsort(-candidates[cell, label], kind="stable")[:most]
        images.append([(c, given[c, i], *own[i], i) for c, i in zip(label[order], cell[order])])
    return images


def check(found, images):
    bbox, counts, index = found
    assert counts.tolist() == [len(rows) for rows in images]
    rows = np.array([row for image in images for row in image]).reshape(-1, 7)
    np.testing.assert_allclose(bbox, rows[:, :6], rtol=1e-6)
    image = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_array_equal(index.ravel(), rows[:, 6] + image * CELLS)


@pytest.mark.parametrize("beta", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("keep_top_k", [-1, 20])
def test_equals_the_definition(beta, keep_top_k):
    boxes, scores = clustered(0)
    changes = {"beta": beta, "keep_top_k": keep_top_k}
    check(run(boxes, scores, **changes), expected_rows(boxes, scores, **changes))


def test_measure_by_hand():
    a = paddle.to_tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    b = paddle.to_tensor([[2.0, 0.0, 6.0, 4.0], [0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    # IoU 8 / 24; distance 2, hull 6 x 4.
    expected = [8 / 24 - 4 / 52, 1, 0]
    np.testing.assert_allclose(suppression_measure(a, b, 1.0).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        suppression_measure(a, b, 0.5).numpy(), [8 / 24 - np.sqrt(4 / 52), 1, 0], atol=1e-6
    )


def test_distance_keeps_what_iou_alone_drops():
    boxes = np.array([[[0, 0, 10, 10], [3, 0, 13, 10]]], np.float32)
    scores = np.array([[[0.9, 0.8]]], np.float32)
    kept = greedy_nms(boxes[0], scores[0].T, 0.5, iou_matrix)
    assert kept.ravel().tolist() == [True, False]
    assert run(boxes, scores, nms_threshold=0.5)[1].tolist() == [2]
    assert run(boxes, scores, nms_threshold=0.5, beta=4.0)[1].tolist() == [1]


@pytest.mark.parametrize("filled", [(False, False), (True, False), (False, True)])
def test_images_without_candidates(filled):
    boxes, scores = clustered(1)
    scores *= np.array(filled, np.float32)[:, None, None]
    found = run(boxes, scores)
    check(found, expected_rows(boxes, scores))
    assert [count > 0 for count in found[1]] == list(filled)
    assert found[0].shape[1:] == (6,) and found[2].shape[1:] == (1,)


def test_limits():
    boxes, scores = clustered(2)
    best = np.sort(scores, axis=2)[..., -7:-6]
    limited = np.where(scores >= best, scores, 0)
    check(run(boxes, scores, nms_top_k=7), expected_rows(boxes, limited))
    without = scores.copy()
    without[:, 1] = 0
    check(run(boxes, scores, background_label=1), expected_rows(boxes, without))


def test_what_is_not_finite_is_no_candidate():
    boxes, scores = clustered(3)
    scores[0, 0, 5], boxes[1, 7, 2] = np.nan, np.inf
    clean = np.nan_to_num(scores)
    clean[1, :, 7] = 0
    finite = np.where(np.isfinite(boxes), boxes, 0)
    check(run(boxes, scores), expected_rows(finite, clean))
