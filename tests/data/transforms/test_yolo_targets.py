"""Gt2YoloTarget on cases with values computed by hand: a 64 x 96 image, cells of 32 pixels."""

import numpy as np
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.data.transforms.yolo_targets import Gt2YoloTarget

SIZE_HW = (64, 96)


def targets(boxes_cxcywh, labels=None, scores=None, **arguments):
    """The only level's target [A, 6 + C, 2, 3] of one image; two anchors, three classes."""
    settings = {"anchors": [[24, 16], [48, 32]], "anchor_masks": [[0, 1]], **arguments}
    transform = Gt2YoloTarget(**settings, num_classes=3)
    count = len(boxes_cxcywh)
    boxes = np.array(boxes_cxcywh, np.float32).reshape(1, count, 4)
    labels = np.zeros(count, np.int32) if labels is None else np.array(labels, np.int32)
    scores = np.ones(count, np.float32) if scores is None else np.array(scores, np.float32)
    (target,) = transform.targets(boxes, labels[None], scores[None], SIZE_HW)
    return target[0]


def test_one_box():
    target = targets([[0.5, 0.75, 0.25, 0.5]], labels=[2], scores=[0.75])
    # Center (48, 48) px: the middle of cell (1, 1). 24 x 32 px overlap both anchors by a half
    # (384 / 768 and 768 / 1536), so the first is taken.
    expected = [0.5, 0.5, 0.0, np.log(2), 2 - 0.125, 0.75, 0, 0, 1]
    np.testing.assert_allclose(target[0, :, 1, 1], expected, atol=1e-6)
    assert np.count_nonzero(target[:, 5]) == 1


@pytest.mark.parametrize(
    "center, cell, offset",
    [
        ((1.0, 0.25), (0, 2), (1.0, 0.5)),
        ((0.5, 1.0), (1, 1), (0.5, 1.0)),
        ((1.0, 1.0), (1, 2), (1.0, 1.0)),
        ((0.0, 0.0), (0, 0), (0.0, 0.0)),
    ],
)
def test_a_center_on_the_border_belongs_to_the_last_cell(center, cell, offset):
    """PaddleDetection fails with an index error here for the right and the bottom border."""
    target = targets([[*center, 0.25, 0.25]])
    assert np.argwhere(target[:, 5]).tolist() == [[0, *cell]]
    np.testing.assert_allclose(target[0, :2, cell[0], cell[1]], offset, atol=1e-6)


def test_two_boxes_in_one_place_the_later_wins_but_both_classes_stay():
    target = targets([[0.5, 0.75, 0.25, 0.25], [0.55, 0.75, 0.25, 0.25]], [0, 2], [0.25, 0.5])
    np.testing.assert_allclose(
        target[0, :, 1, 1], [0.65, 0.5, 0, 0, 2 - 0.0625, 0.5, 1, 0, 1], atol=1e-6
    )


@pytest.mark.parametrize(
    "box, score", [((0.5, 0.5, 0, 0.2), 1), ((0.5, 0.5, 0.2, 0), 1), ((0.5, 0.5, 0.2, 0.2), 0)]
)
def test_boxes_without_size_or_score_leave_nothing(box, score):
    assert not targets([box], scores=[score]).any()


def test_no_boxes():
    assert not targets([]).any()


def test_other_anchors_that_fit_well_enough():
    box = [0.5, 0.75, 0.375, 0.375]  # 36 x 24 px: overlaps 384 / 864 and 864 / 1536
    assert np.argwhere(targets([box])[:, 5]).tolist() == [[1, 1, 1]]
    target = targets([box], iou_thresh=0.4)
    assert np.argwhere(target[:, 5]).tolist() == [[0, 1, 1], [1, 1, 1]]
    np.testing.assert_allclose(target[0, 2:4, 1, 1], np.log([1.5, 1.5]), atol=1e-6)
    assert np.count_nonzero(targets([box], iou_thresh=0.45)[:, 5]) == 1


def test_errors():
    with pytest.raises(ConfigError, match="anchors and anchor_masks are needed"):
        Gt2YoloTarget()
    with pytest.raises(ConfigError, match="downsample_ratios: found 2 values"):
        Gt2YoloTarget([[1, 1]], [[0]], [32, 16])
    small = Gt2YoloTarget([[1, 1]], [[0]], [32])
    with pytest.raises(ConfigError, match=r"downsample_ratios: found \[32\], .*here \[31, 64\]"):
        small.targets(np.zeros((1, 1, 4)), np.zeros((1, 1)), np.zeros((1, 1)), (31, 64))
