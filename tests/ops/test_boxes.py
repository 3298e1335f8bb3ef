"""Overlaps on tensors against values worked out by hand and against the numpy twin."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.ops import boxes, boxes_np

UNIT = [0.0, 0.0, 1.0, 1.0]
FAR = [2.0, 0.0, 3.0, 1.0]  # one unit right of UNIT's edge
WIDE = [0.0, 0.0, 2.0, 1.0]


def _tensor(*rows):
    return paddle.to_tensor(np.array(rows, dtype=np.float32))


@pytest.mark.parametrize(
    "function, second, expected",
    [
        (boxes.iou, UNIT, 1.0),
        (boxes.iou, FAR, 0.0),
        (boxes.iou, WIDE, 0.5),
        (boxes.giou, UNIT, 1.0),
        (boxes.giou, FAR, -1 / 3),  # hull 3, union 2
        (boxes.giou, WIDE, 0.5),  # the hull is the union
        (boxes.diou, UNIT, 1.0),
        (boxes.diou, FAR, -4 / 10),  # centers 2 apart, diagonal^2 10
        (boxes.diou, WIDE, 0.5 - 0.25 / 5),
    ],
)
def test_overlaps_by_hand(function, second, expected):
    assert function(_tensor(UNIT), _tensor(second)).item() == pytest.approx(expected, abs=1e-6)


def test_ciou_by_hand():
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    expected = 0.5 - 0.25 / 5 - v * v / (1 - 0.5 + v)
    assert boxes.ciou(_tensor(UNIT), _tensor(WIDE)).item() == pytest.approx(expected, abs=1e-6)
    assert boxes.ciou(_tensor(UNIT), _tensor(UNIT)).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("function", [boxes.iou, boxes.giou, boxes.diou, boxes.ciou])
def test_zero_area_gives_finite_values_and_gradients(function):
    predicted = _tensor([0.5, 0.5, 0.5, 0.5], UNIT)
    predicted.stop_gradient = False
    value = function(predicted, _tensor([0.5, 0.5, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2]))
    value.sum().backward()
    assert np.isfinite(value.numpy()).all()
    assert np.isfinite(predicted.grad.numpy()).all()


def test_twins_agree():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(size=(2, 7, 2, 2)), axis=2).reshape(2, 7, 4).astype(np.float32)
    first, second = paddle.to_tensor(corners[:1]), paddle.to_tensor(corners[1:])
    np.testing.assert_allclose(
        boxes.iou_matrix(first, second)[0].numpy(),
        boxes_np.iou_matrix(corners[0], corners[1]),
        atol=1e-5,
    )
    centers = paddle.to_tensor(boxes_np.xyxy_to_cxcywh(corners[:1]))
    np.testing.assert_allclose(boxes.cxcywh_to_xyxy(centers).numpy(), corners[:1], atol=1e-6)
    np.testing.assert_allclose(
        boxes.box_area(first).numpy(), boxes_np.box_area(corners[:1]), atol=1e-6
    )
