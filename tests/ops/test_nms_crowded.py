"""Multiclass NMS in a graph, as in exports, limits the candidates of crowded images only."""

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

from ppdet_lite.ops import nms

ARGUMENTS = {"score_threshold": 0.001, "nms_threshold": 0.65, "nms_top_k": 10000, "keep_top_k": 20}
CLASSES, BOXES = 5, 400
LIMIT = 300
YOLOX = {"nms_top_k": 10000, "keep_top_k": 1000, "background_label": -1}


@pytest.fixture
def low_limit(monkeypatch):
    monkeypatch.setattr(nms, "MOST_CANDIDATES", LIMIT)
    monkeypatch.setattr(nms, "UNLIMITED_PAIRS", 0)


def in_graph(num_boxes):
    """The function traced for [B, M, 4] and [B, C, M]; `num_boxes` None leaves M free."""
    spec = [
        InputSpec([None, num_boxes, 4], "float32", "boxes"),
        InputSpec([None, CLASSES, num_boxes], "float32", "scores"),
    ]

    def function(boxes, scores):
        # Paddle 3.0 loses defaults of keyword-only arguments in a graph.
        defaults = {"nms_eta": 1.0, "background_label": -1, "normalized": True}
        return nms.multiclass_nms(boxes, scores, **{**defaults, **ARGUMENTS})

    return paddle.jit.to_static(function, input_spec=spec, full_graph=True)


def images():
    """Boxes [3, M, 4] and scores [3, C, M]: crowded, exactly at the limit, and nearly empty."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (3, BOXES, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 80, corners.shape)], axis=2)
    scores = rng.uniform(0.01, 1, (3, CLASSES, BOXES))
    scores[1].reshape(-1)[LIMIT:] = 5e-4
    scores[2, :, 3:] = 5e-4
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("num_boxes", [None, BOXES])
@pytest.mark.parametrize("chosen", [[0, 1, 2], [1, 2], [2]])
def test_detections_of_a_graph_are_those_of_evaluation(low_limit, num_boxes, chosen):
    boxes, scores = (paddle.to_tensor(array[chosen]) for array in images())
    expected = nms.multiclass_nms(boxes, scores, **ARGUMENTS)
    assert expected[1].numpy().tolist() == [{0: 20, 1: 20, 2: 15}[number] for number in chosen]
    for one, other in zip(in_graph(num_boxes)(boxes, scores), expected):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_only_crowded_images_lose_candidates():
    scores = paddle.to_tensor(images()[1])
    limited = nms._best_of_crowded(scores, 0.001, LIMIT)
    assert (limited > 0.001).sum(axis=[1, 2]).tolist() == [LIMIT, LIMIT, 15]
    best = np.sort(scores[0].numpy(), axis=None)[-LIMIT:]
    np.testing.assert_array_equal(np.sort(limited[0].numpy(), axis=None)[-LIMIT:], best)
    for chosen in ([1, 2], [2]):
        few = scores[chosen]
        np.testing.assert_array_equal(nms._best_of_crowded(few, 0.001, LIMIT).numpy(), few.numpy())


@pytest.mark.parametrize("in_a_graph", [False, True])
def test_places_that_stay_empty_do_not_bring_all_candidates_back(
    low_limit, monkeypatch, in_a_graph
):
    """All boxes in one place, and one class whose scores are never among the best."""
    boxes, scores = (array[:1] for array in images())
    boxes[:] = [10, 10, 60, 60]
    scores[:, 0] *= 0.01
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(scores)

    def classes_found():
        if in_a_graph:
            found = in_graph(BOXES)(*tensors)
        else:
            found = nms.multiclass_nms(*tensors, **ARGUMENTS)
        return found[0][:, 0].numpy().tolist()

    assert classes_found() == [1, 2, 3, 4]
    monkeypatch.setattr(nms, "MOST_CANDIDATES", CLASSES * BOXES)
    assert classes_found() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "classes", "num_boxes", "limit"),
    [
        ({}, 80, 8400, 40_000),  # YOLOX at 640 x 640
        ({}, 80, -1, 40_000),  # any size
        ({}, 3, 8400, None),  # 25,200 at most
        ({"keep_top_k": 5000}, 80, 8400, 50_000),
        ({"keep_top_k": -1}, 80, 8400, None),
        ({"background_label": 0}, 80, 8400, None),
        ({"nms_top_k": 1000, "keep_top_k": 100}, 80, 25_200, None),  # PP-YOLO tiny
    ],
)
def test_limits(change, classes, num_boxes, limit):
    assert nms.candidate_limit({**YOLOX, **change}, classes, num_boxes) == limit
