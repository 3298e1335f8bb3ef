"""Multiclass NMS that looks at the best candidates first detects what the operator alone does."""

import numpy as np
import paddle
import pytest

from ppdet_lite.ops import nms

ARGUMENTS = {"score_threshold": 0.001, "nms_threshold": 0.65, "nms_top_k": 10000}


@pytest.fixture
def calls(monkeypatch):
    """Candidates above the threshold at every call of the operator."""
    seen, native = [], nms._native_multiclass_nms

    def counting(boxes, scores, attributes):
        above = (scores > attributes["score_threshold"]).astype("int32").sum(axis=[1, 2])
        seen.append(above.numpy().tolist())
        return native(boxes, scores, attributes)

    monkeypatch.setattr(nms, "_native_multiclass_nms", counting)
    return seen


def candidates(seed, batch=2, classes=5, cells=400, sites=None):
    """Random scores of boxes all over the image, or close to `sites` places only."""
    rng = np.random.default_rng(seed)
    if sites is None:
        corners = rng.uniform(0, 300, (batch, cells, 2))
        size = rng.uniform(10, 80, (batch, cells, 2))
    else:
        corners = rng.uniform(0, 300, (batch, sites, 2)).repeat(cells // sites, axis=1)
        corners += rng.uniform(0, 1, corners.shape)
        size = np.full_like(corners, 60)
    boxes = np.concatenate([corners, corners + size], axis=2)
    scores = rng.uniform(0.01, 1, (batch, classes, cells))
    return boxes.astype(np.float32), scores.astype(np.float32)


def both_ways(boxes, scores, keep_top_k):
    boxes, scores = paddle.to_tensor(boxes), paddle.to_tensor(scores)
    found = nms.multiclass_nms(boxes, scores, keep_top_k=keep_top_k, **ARGUMENTS)
    attributes = {
        "score_threshold": 0.001,
        "nms_top_k": 10000,
        "keep_top_k": keep_top_k,
        "nms_threshold": 0.65,
        "normalized": True,
        "nms_eta": 1.0,
        "background_label": -1,
    }
    plain = nms._native_multiclass_nms(boxes, scores, attributes)
    for one, other in zip(found, plain):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    return found[1].numpy().tolist()


def test_a_tenth_is_enough_where_boxes_are_spread(calls):
    counts = both_ways(*candidates(0), keep_top_k=20)
    assert counts == [20, 20]
    assert calls[:-1] == [[200, 200]]


def test_more_are_taken_until_the_places_are_full(calls):
    boxes, scores = candidates(1, sites=8)
    scores[:, 1:] *= 0.5  # so that the best are all of one class, at eight places
    scores[:, 0] = 0.5 + 0.5 * scores[:, 0]
    counts = both_ways(boxes, scores, keep_top_k=11)
    assert counts == [11, 11]
    assert calls[:-1] == [[110, 110], [440, 440]]


def test_all_are_taken_when_the_places_stay_empty(calls):
    counts = both_ways(*candidates(2, sites=2), keep_top_k=40)
    assert counts == [10, 10]  # two places, five classes
    assert [calls[i] for i in (0, 1, 2)] == [[400, 400], [1600, 1600], [2000, 2000]]


def test_an_image_with_few_candidates_does_not_ask_for_more(calls):
    boxes, scores = candidates(3)
    scores[1] *= 1e-3
    scores[1, :, :3] = 0.5
    counts = both_ways(boxes, scores, keep_top_k=20)
    assert counts[0] == 20 and 3 <= counts[1] <= 15
    assert len(calls) == 2


@pytest.mark.parametrize("keep_top_k", [-1, 200])
def test_without_a_limit_or_with_few_candidates_the_operator_runs_once(calls, keep_top_k):
    both_ways(*candidates(4, batch=1), keep_top_k=keep_top_k)
    assert calls == [[2000], [2000]]


def test_equal_scores_everywhere_are_no_burden(calls):
    boxes, scores = candidates(5)
    scores[:] = 0.01
    found = nms.multiclass_nms(
        paddle.to_tensor(boxes), paddle.to_tensor(scores), keep_top_k=20, **ARGUMENTS
    )
    assert found[1].numpy().tolist() == [20, 20]
    assert calls == [[200, 200]]
