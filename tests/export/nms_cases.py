"""Boxes, scores and settings of NMS, and the rows of Paddle's own operators for them."""

import numpy as np
import paddle

from ppdet_lite.ops import nms

MATRIX = {
    "score_threshold": 0.01,
    "post_threshold": 0.01,
    "nms_top_k": -1,
    "keep_top_k": 100,
    "use_gaussian": False,
    "gaussian_sigma": 2.0,
    "normalized": False,
    "background_label": -1,
}
GREEDY = {
    "score_threshold": 0.01,
    "nms_top_k": 1000,
    "keep_top_k": 100,
    "nms_threshold": 0.45,
    "normalized": True,
    "nms_eta": 1.0,
    "background_label": -1,
}
DEFAULTS = {"matrix": MATRIX, "greedy": GREEDY}
NATIVE = {"matrix": nms.matrix_nms, "greedy": nms.multiclass_nms}

VARIANTS = {
    "matrix": [
        {},
        {"normalized": True},
        {"use_gaussian": True, "gaussian_sigma": 1.5},
        {"nms_top_k": 40, "keep_top_k": 30},
        {"keep_top_k": -1},
        {"background_label": 0},
        {"background_label": 3, "score_threshold": 0.5, "post_threshold": 0.3},
        {"score_threshold": 0.0, "post_threshold": 0.0},
    ],
    "greedy": [
        {},
        {"normalized": False},
        {"nms_top_k": 40, "keep_top_k": 30},
        {"keep_top_k": -1, "nms_top_k": -1},
        {"background_label": 0},
        {"background_label": 3, "score_threshold": 0.5, "nms_threshold": 0.65},
        {"keep_top_k": 1000, "nms_top_k": 10000},
        {"nms_threshold": 0.0},
    ],
}
CASES = [(kind, change) for kind, changes in VARIANTS.items() for change in changes]


def run_native(kind, boxes, scores, arguments):
    tensors = paddle.to_tensor(boxes), paddle.to_tensor(scores)
    bbox, counts, _ = NATIVE[kind](*tensors, **arguments)
    return bbox.numpy(), counts.numpy()


def assert_same_rows(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].shape == expected[0].shape and found[0].shape[1] == 6
    np.testing.assert_array_equal(found[0][:, 0], expected[0][:, 0])
    np.testing.assert_allclose(found[0][:, 1], expected[0][:, 1], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(found[0][:, 2:], expected[0][:, 2:])


def clustered(seed, batch=2, classes=4, cells=300, above=0.3):
    """Boxes around few centers, so that many overlap; a share `above` of the scores is not 0."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 300, (batch, 12, 2))[:, rng.integers(0, 12, cells)]
    centers = centers + rng.normal(0, 6, (batch, cells, 2))
    sides = rng.uniform(20, 90, (batch, cells, 2))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], 2).astype(np.float32)
    scores = rng.uniform(0, 1, (batch, classes, cells)).astype(np.float32)
    return boxes, scores * (rng.random(scores.shape) < above)
