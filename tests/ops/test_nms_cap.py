"""`nms_top_k: -1` means a cap: what a trained network scores must not notice it.

The scores here have the shape of a trained network's: each object a cluster of candidates whose
scores and overlaps fall off together, and tens of thousands of background candidates of which only
a few reach the threshold.
"""

import numpy as np
import paddle
import pytest

from ppdet_lite.metrics.coco import COCOMetric
from ppdet_lite.ops import nms

SIDE_PX = 640
CANDIDATES = 25_200  # 640 x 640, strides 8, 16 and 32, three anchors
ARGUMENTS = {"score_threshold": 0.01, "post_threshold": 0.01, "keep_top_k": 100}
UNLIMITED = CANDIDATES


def objects_of_class(rng, count):
    """Boxes x1, y1, x2, y2 in pixels of `count` objects, sizes from small to large."""
    sides = np.exp(rng.uniform(np.log(12), np.log(200), (count, 2)))
    corners = rng.uniform(0, SIDE_PX - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def candidates_of(rng, boxes_xyxy, per_object):
    """Candidates around every object, boxes [N, 4] and scores [N]: the further off, the lower."""
    count = len(boxes_xyxy)
    error = np.abs(rng.normal(0, 0.25, (count, per_object, 1)))
    error[:, 0] = 0.02  # the cell that is responsible
    sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)[:, None]
    moved = boxes_xyxy[:, None] + error * sides * rng.uniform(-0.5, 0.5, (count, per_object, 4))
    peak = rng.beta(2, 2, (count, 1, 1))  # from hardly seen to certain
    scores = peak * np.exp(-4 * error)
    return moved.reshape(-1, 4), scores.reshape(-1)


def network_output(rng, counts, classes, per_object):
    """Boxes [1, M, 4], scores [1, C, M] and the true boxes by class of one image."""
    boxes = objects_of_class(rng, CANDIDATES)
    scores = np.exp(rng.normal(-9.5, 1.4, (classes, CANDIDATES)))
    truth, used = {}, 0
    for label, count in counts.items():
        truth[label] = objects_of_class(rng, count)
        found, values = candidates_of(rng, truth[label], per_object)
        rows = slice(used, used + len(found))
        boxes[rows], scores[label, rows], used = found, values, rows.stop
    return boxes[None].astype(np.float32), scores[None].astype(np.float32), truth


def detect(boxes, scores, nms_top_k):
    detections, _, _ = nms.matrix_nms(
        paddle.to_tensor(boxes), paddle.to_tensor(scores), nms_top_k=nms_top_k, **ARGUMENTS
    )
    return detections.numpy()


@pytest.mark.parametrize("classes, kinds, most", [(80, 6, 8), (80, 2, 35), (3, 2, 90), (1, 1, 99)])
def test_a_trained_network_detects_the_same_with_and_without_the_cap(classes, kinds, most):
    """A few objects of some classes, and images full of one: `most` of a class."""
    rng = np.random.default_rng(most)
    for _ in range(2):
        labels = rng.choice(classes, kinds, replace=False)
        counts = {int(label): int(rng.integers(most // 2, most + 1)) for label in labels}
        boxes, scores, _ = network_output(rng, counts, classes, per_object=25)
        candidates = (scores > 0.01).sum(axis=2).max()
        assert 20 * max(counts.values()) < candidates < 30 * max(counts.values()) + 50
        capped, free = detect(boxes, scores, -1), detect(boxes, scores, UNLIMITED)
        assert len(capped) == 100
        np.testing.assert_array_equal(capped, free)


def test_ap_is_the_same_with_and_without_the_cap():
    """The AP of four images with up to 60 objects of a class, out of 20 classes."""
    rng = np.random.default_rng(1)
    images, annotations, outputs = [], [], []
    for number in range(4):
        boxes, scores, truth = network_output(rng, {0: 15 * number + 15, 7: 5}, 20, per_object=25)
        outputs.append((boxes, scores))
        images.append({"id": number, "width": SIDE_PX, "height": SIDE_PX})
        for label, true_boxes in truth.items():
            for x1, y1, x2, y2 in true_boxes.tolist():
                box = {"image_id": number, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                annotations.append({"id": len(annotations) + 1, **box})
    categories = [{"id": label, "name": f"class {label}"} for label in range(20)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    values = []
    for top_k in (-1, UNLIMITED):
        metric = COCOMetric(truth)
        for number, output in enumerate(outputs):
            rows = detect(*output, top_k)
            metric.update([number], rows, [len(rows)])
        values.append(metric.results())
    assert values[0] == values[1]
    assert 0.5 < values[0]["bbox/AP50"] < 1
