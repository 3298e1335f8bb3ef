"""YOLOX as its authors wrote it, small: start, L1 term, candidate rules, post-processing by hand.

Numbers of their own code are in tests/golden/test_yolox_upstream.py.
"""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.assigners.ground_truth import pad_ground_truth
from ppdet_lite.modeling.assigners.upstream_sim_ota import UpstreamSimOTA
from ppdet_lite.modeling.backbones.darknet import DarkNet
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.heads.upstream_yolox_head import UpstreamYOLOXHead
from ppdet_lite.modeling.losses.upstream_yolox_loss import UpstreamYOLOXLoss
from ppdet_lite.modeling.necks.yolox_fpn import YOLOXFPN
from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.modeling.post_process.product_cell_box import ProductCellBox


def test_scores_are_products():
    raw = np.zeros((1, 5 + 2, 1, 2), np.float32)
    raw[0, 4:, 0, 1] = 0, 0, math.log(9)
    boxes, scores = ProductCellBox()(
        [paddle.to_tensor(raw)], [CellLevel(8)], None, paddle.to_tensor([[0.5, 0.5]])
    )
    np.testing.assert_allclose(scores.numpy()[0, :, 1], [0.25, 0.5 * 0.9], rtol=1e-6)
    np.testing.assert_allclose(boxes.numpy()[0, 1], [8, -8, 24, 8], rtol=1e-6)


def test_an_untrained_head_says_one_percent_and_boxes_of_about_a_cell():
    paddle.seed(0)
    head = UpstreamYOLOXHead(3, 0.25, in_channels=[8, 8, 8])
    for classes, box in zip(head.conv_cls, head.conv_reg):
        np.testing.assert_allclose(classes[-1].bias.numpy(), math.log(0.01 / 0.99), rtol=1e-6)
        *sides, objectness = box[-1].bias.numpy()
        assert objectness == pytest.approx(math.log(0.01 / 0.99))
        assert len(set(sides)) == 4 and np.abs(sides).max() <= 64**-0.5
        assert 0 < np.abs(box[-1].weight.numpy()).max() <= 64**-0.5
    assert isinstance(head.nms, BestClassNMS) and isinstance(head.loss, UpstreamYOLOXLoss)


def test_l1_compares_raw_outputs():
    regression = paddle.to_tensor(np.float32([[[0.5], [0.25], [0.0], [1.0]]]))
    target = paddle.to_tensor(np.float32([[[16, 8, 32, 16]]]))  # center 24, 12; size 16, 8
    cells, sides = paddle.to_tensor(np.float32([[2], [1]])), paddle.to_tensor(np.float32([8]))
    found = UpstreamYOLOXLoss().l1_distance(regression, target, target, cells, sides)
    # |0.5 - (3 - 2)| + |0.25 - (1.5 - 1)| + |0 - ln 2| + |1 - ln 1|
    assert found.item() == pytest.approx(0.5 + 0.25 + math.log(2) + 1, rel=1e-6)


def candidates_of(assigner):
    """Cells of a 4 x 4 map of stride 8 that an object takes which every cell predicts exactly."""
    box = [4.0, 12.0, 32.0, 20.0]  # center (18, 16); holds the centers in column 0 to 3 of row 1
    rows, columns = np.mgrid[:4, :4]
    centers = ((np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * 8).astype(np.float32)
    truth = pad_ground_truth([paddle.to_tensor(np.float32([box]))], [paddle.to_tensor([[0]])])
    arrays = (
        np.full((1, 2, 16), 0.5, np.float32),
        np.tile(np.float32(box), (1, 16, 1)),
        centers,
        np.full(16, 8, np.float32),
    )
    found = assigner(*map(paddle.to_tensor, arrays), truth).numpy()[0]
    return np.flatnonzero(found >= 0).tolist()


def test_both_candidate_rules():
    # The centers in rows 1 and 2 lie at y 12 and 20: on the border of the box, so not inside.
    # released: within 20 px of (18, 16), all 16 cells, of which 10 are taken, none preferred.
    assert len(candidates_of(UpstreamSimOTA("box_or_center"))) == 10
    # later: within 12 px of (18, 16): columns 1 to 3 (x 12, 20, 28), rows 1 and 2 (y 12, 20)
    assert candidates_of(UpstreamSimOTA("center")) == [5, 6, 7, 9, 10, 11]
    assert candidates_of(UpstreamSimOTA("center", center_radius=0.6)) == [6, 10]
    assert UpstreamSimOTA().center_radius == 2.5 and UpstreamSimOTA().outside == 1e5


def test_neck_of_darknet():
    backbone = DarkNet(width_mult=0.125)
    neck = YOLOXFPN([shape.channels for shape in backbone.out_shape], width_mult=0.125)
    maps = neck(backbone(paddle.zeros([1, 3, 64, 96])))
    assert [tuple(x.shape) for x in maps] == [(1, 16, 8, 12), (1, 32, 4, 6), (1, 64, 2, 3)]
    assert [tuple(shape) for shape in neck.out_shape] == [(16, 8), (32, 16), (64, 32)]
    assert not any(".tip." in key for key in neck.state_dict())


# Post-processing

BOXES = [
    [[0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [0, 0, 10, 8]],
    [[0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10], [0, 0, 10, 8]],
]
SCORES = [
    [[0.5, 0.3, 0.2, 0.005], [0.4, 0.6, 0.9, 0.001]],
    [[0.001, 0.002, 0.003, 0.01], [0.0, 0.0, 0.0, 0.0]],
]


def suppress(boxes=BOXES, scores=SCORES, **settings):
    tensors = (paddle.to_tensor(np.float32(values)) for values in (boxes, scores))
    bbox, counts, index = BestClassNMS(**settings)(*tensors)
    rows = bbox.numpy().astype(np.float64).round(4).tolist()
    return rows, counts.tolist(), index.numpy().ravel().tolist()


def test_one_class_per_box_sorted_by_score():
    bbox, counts, index = suppress()
    assert [row[:2] for row in bbox] == [[1, 0.9], [1, 0.6], [0, 0.5], [0, 0.01]]
    assert counts == [3, 1] and index == [2, 1, 0, 7]


def test_small_scores_are_sorted_in_all_images_of_a_batch():
    rng = np.random.default_rng(0)
    corner = 20.0 * np.arange(60).reshape(1, 60, 1).repeat(8, axis=0)
    boxes = np.concatenate([corner, corner, corner + 10, corner + 10], axis=2)
    bbox, counts, index = suppress(boxes, 0.01 + 1e-6 * rng.random((8, 2, 60)))
    scores = np.float32(0.01 + 1e-6 * np.random.default_rng(0).random((8, 2, 60))).max(axis=1)
    assert counts == [60] * 8
    assert (np.diff(scores.ravel()[index].reshape(8, 60), axis=1) <= 0).all()


def test_boxes_of_other_classes_suppress_when_asked():
    bbox, counts, index = suppress(class_agnostic=True)
    assert [row[:2] for row in bbox] == [[1, 0.9], [1, 0.6], [0, 0.01]]
    assert counts == [2, 1] and index == [2, 1, 7]


def test_limits():
    assert suppress(keep_top_k=1)[2] == [2, 7]
    assert suppress(score_threshold=0.55)[1:] == ([2, 0], [2, 1])
    assert suppress(nms_threshold=0.95)[1] == [3, 1]
    bbox, counts, index = suppress(score_threshold=0.99)
    assert bbox == [] and counts == [0, 0] and index == []


def test_nothing_that_is_not_finite_is_found():
    boxes, scores = np.float32(BOXES), np.float32(SCORES)
    boxes[0, 2, 1], scores[0, 1, 1] = np.nan, np.inf
    bbox, counts, _ = suppress(boxes, scores)
    assert [row[:2] for row in bbox] == [[0, 0.5], [0, 0.01]] and counts == [1, 1]
