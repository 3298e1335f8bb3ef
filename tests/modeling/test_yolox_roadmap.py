"""The steps of YOLOX's roadmap by hand: anchors, assignments, losses, the branch without NMS."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.assigners.best_anchor import BestAnchorAssigner
from ppdet_lite.modeling.assigners.center import CenterAssigner
from ppdet_lite.modeling.assigners.ground_truth import pad_ground_truth
from ppdet_lite.modeling.backbones.darknet import DarkNet
from ppdet_lite.modeling.detectors.anchor_yolox import AnchorYOLOX
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.geometry.anchor_grid import anchor_grid, flatten_anchors
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.heads.anchor_yolox_heads import CoupledAnchorHead, DecoupledAnchorHead
from ppdet_lite.modeling.heads.end_to_end_heads import (
    EndToEndCoupledHead,
    EndToEndDecoupledHead,
    EndToEndYOLOXHead,
)
from ppdet_lite.modeling.losses.anchor_yolox_loss import AnchorYOLOXLoss
from ppdet_lite.modeling.losses.single_loss import SingleLoss
from ppdet_lite.modeling.necks.yolox_fpn import YOLOXFPN
from ppdet_lite.modeling.post_process.anchor_cell_box import AnchorCellBox
from ppdet_lite.modeling.post_process.end_to_end_boxes import SingleCellBox
from ppdet_lite.modeling.post_process.top_scores import TopScores

# One level of 2 x 3 cells of 8 px with two anchors.
LEVEL = AnchorLevel(((8, 8), (24, 8)), 8, 1.0)
HEADS = (CoupledAnchorHead, DecoupledAnchorHead, EndToEndCoupledHead, EndToEndDecoupledHead)


def truth(boxes, labels):
    boxes, labels = np.float32(boxes).reshape(-1, 4), np.int32(labels).reshape(-1, 1)
    return pad_ground_truth([paddle.to_tensor(boxes)], [paddle.to_tensor(labels)])


def raw(level=LEVEL, classes=2, more=0):
    """Zeros [1, A (5 + C) + more, 2, 3], of which a view [A, 5 + C, 2, 3] comes too."""
    anchors = len(level.anchors)
    array = np.zeros((1, more + anchors * (5 + classes), 2, 3), np.float32)
    return array, array[0, more:].reshape(anchors, 5 + classes, 2, 3)


# Anchors


def test_predictions_of_anchors_by_hand():
    array, view = raw()
    view[1, :, 1, 2] = 0, math.log(3), math.log(2), 0, 0, 0, math.log(9)
    scale = paddle.to_tensor([[0.5, 0.25]])  # y, x
    boxes, scores = AnchorCellBox()([paddle.to_tensor(array)], [LEVEL], None, scale)
    # center (2 + 1/2, 1 + 3/4) * 8 = (20, 14), size 48 x 8; prediction 6 + 5
    expected = np.float32([-4 / 0.25, 10 / 0.5, 44 / 0.25, 18 / 0.5])
    np.testing.assert_allclose(boxes.numpy()[0, 11], expected, rtol=1e-5)
    np.testing.assert_allclose(scores.numpy()[0, :, 11], [0.25, 0.45], rtol=1e-6)
    np.testing.assert_allclose(boxes.numpy()[0, 0], [0, 0, 32, 16], atol=1e-5)


def test_predicted_iou_is_part_of_the_score():
    level = LEVEL._replace(iou_aware_factor=0.5)
    array, view = raw(level, more=2)
    array[0, 1, 0, 0] = math.log(1 / 3)  # IoU 1/4 of the second anchor in the first cell
    view[1, 4:, 0, 0] = 0, 0, math.log(9)
    tensors = [paddle.to_tensor(array)], [level], None, paddle.ones([1, 2])
    _, scores = AnchorCellBox()(*tensors)
    confidence = math.sqrt(0.5 * 0.25)
    np.testing.assert_allclose(scores.numpy()[0, :, 6], [confidence / 2, confidence * 0.9], 1e-6)
    flat = flatten_anchors([paddle.to_tensor(array)], [level], 2)
    assert flat.iou.numpy()[0, 6] == pytest.approx(math.log(1 / 3))


def test_an_object_takes_the_best_anchor_in_its_cell():
    outputs = [paddle.zeros([1, 14, 2, 3]), paddle.zeros([1, 7, 1, 2])]
    levels = [LEVEL, AnchorLevel(((16, 16),), 16, 1.0)]
    grid = anchor_grid(outputs, levels)
    assert grid.cells.shape == [2, 14] and grid.strides.numpy().tolist() == [8] * 12 + [16] * 2
    boxes = [
        [0, 0, 9, 7],  # like 8 x 8, cell (0, 0): prediction 0
        [2, 8, 22, 16],  # like 24 x 8, cell (1, 1): 6 + 4
        [16, 0, 32, 14],  # like 16 x 16, cell (1, 0) of the second level: 12 + 1
        [1, 9, 23, 15],  # the same as the second: the later has it
    ]
    predicted = paddle.full([1, 14, 4], 900.0)
    matched, ignored = BestAnchorAssigner()(predicted, grid, truth(boxes, [0, 0, 0, 0]))
    found = matched.numpy()[0]
    assert {i: int(n) for i, n in enumerate(found) if n >= 0} == {0: 0, 10: 3, 13: 2}
    assert not ignored.numpy().any()


def test_good_boxes_without_an_object_are_ignored():
    grid = anchor_grid([paddle.zeros([1, 14, 2, 3])], [LEVEL])
    predicted = np.full((1, 12, 4), 900, np.float32)
    predicted[0, 0] = predicted[0, 3] = 0, 0, 8, 8
    predicted[0, 4] = 0, 0, 8, 5.5  # IoU 0.69
    matched, ignored = BestAnchorAssigner(0.7)(
        paddle.to_tensor(predicted), grid, truth([[0, 0, 8, 8]], [0])
    )
    assert np.flatnonzero(matched.numpy()[0] >= 0).tolist() == [0]
    assert np.flatnonzero(ignored.numpy()[0]).tolist() == [3]


def test_loss_with_anchors_by_hand():
    level = LEVEL._replace(iou_aware_factor=0.5)
    array, view = raw(level, more=2)
    view[:, 4] = -100  # objectness
    view[0, 4, 0, 0] = 0
    view[1, 4, 0, 1] = 0  # a false alarm
    view[0, 5:, 0, 0] = math.log(3), 0
    batch = {
        "gt_bbox": paddle.to_tensor(np.float32([[[0, 0, 8, 4]]])),  # IoU 1/2 with 0, 0, 8, 8
        "gt_class": paddle.to_tensor([[[0]]]),
    }
    terms = AnchorYOLOXLoss()([paddle.to_tensor(array)], batch, [level], 2)
    values = {name: float(value) for name, value in terms.items()}
    half = math.log(2)
    assert values["loss_iou"] == pytest.approx(0.75, rel=1e-5)
    assert values["loss_obj"] == pytest.approx(2 * half, rel=1e-5)
    assert values["loss_cls"] == pytest.approx(-math.log(0.75) + half, rel=1e-5)
    assert values["loss_iou_aware"] == pytest.approx(half, rel=1e-5)
    total = 5 * 0.75 + values["loss_obj"] + values["loss_cls"] + values["loss_iou_aware"]
    assert values["loss"] == pytest.approx(total, rel=1e-5)


# Anchor-free


def positives(boxes, reach, size=(32, 40)):
    """Level -> row and column -> object, on strides 8, 16 and 32 of a size."""
    centers, strides, places = [], [], []
    for stride in (8, 16, 32):
        for row in range(-(-size[0] // stride)):
            for column in range(-(-size[1] // stride)):
                centers.append([(column + 0.5) * stride, (row + 0.5) * stride])
                strides.append(stride)
                places.append((stride, row, column))
    arrays = (np.zeros((1, 2, len(places))), np.zeros((1, len(places), 4)), centers, strides)
    tensors = (paddle.to_tensor(np.float32(array)) for array in arrays)
    found = CenterAssigner(reach)(*tensors, truth(boxes, [0] * len(boxes))).numpy()[0]
    return {place: int(n) for place, n in zip(places, found) if n >= 0}


def test_one_cell_on_the_level_of_the_size():
    boxes = [[8, 8, 16, 20], [-30, -30, 50, 40], [0, 0, 128, 8], [-200, 0, 80, 30]]
    found = positives(boxes[:2], reach=0)
    # center (12, 14), longer half 6; center (10, 5), longer half 40: both finest
    assert found == {(8, 1, 1): 0, (8, 0, 1): 1}
    assert positives([[-60, 0, 69, 20]], reach=0) == {(16, 0, 0): 0}  # longer half 64.5
    assert positives([[-64, 0, 64, 20]], reach=0) == {(8, 1, 0): 0}  # 64: still the finest
    assert positives([[-150, 0, 200, 20]], reach=0) == {(32, 0, 0): 0}  # 175


def test_three_by_three_cells_and_the_smaller_object():
    found = positives([[8, 8, 16, 20]], reach=1)
    assert set(found) == {(8, row, column) for row in range(3) for column in range(3)}
    found = positives([[0, 0, 30, 30], [16, 16, 24, 24]], reach=1)
    # centers (15, 15) and (20, 20): cells (1, 1) and (2, 2), shared by rows and columns 1 and 2
    assert {place[1:] for place, n in found.items() if n == 0} == {
        (0, 0), (0, 1), (0, 2), (1, 0), (2, 0)
    }  # fmt: skip
    assert positives([], reach=1) == {}


# Without NMS


def test_single_logit_multiplies_the_scores():
    array = np.zeros((1, 1 + 5 + 2, 1, 2), np.float32)
    array[0, 0, 0] = 0, math.log(3)
    outputs, levels = [paddle.to_tensor(array)], [CellLevel(8)]
    _, scores = SingleCellBox()(outputs, levels, None, paddle.ones([1, 2]))
    np.testing.assert_allclose(scores.numpy()[0, 0], [0.125, 0.1875], rtol=1e-6)


def test_loss_of_one_prediction_for_an_object_by_hand():
    box = [0.0, 0.0, 12.0, 8.0]
    boxes = paddle.to_tensor(np.float32([[[0, 0, 11, 8], box, box, [900, 900, 910, 910]]]))
    scores = paddle.to_tensor(np.float32([[[0.5, 0.5, 0.5, 0.25]]]), stop_gradient=False)
    logits = paddle.to_tensor(np.float32([[0, 0, 0, 0]]), stop_gradient=False)
    matched = paddle.to_tensor([[0, 0, -1, -1]])  # the third is as good, but not the object's
    loss = SingleLoss()(logits, scores, boxes, matched, truth([box], [0]))
    # The second has the object: -ln(0.25); the others have none: -ln(0.75) twice, -ln(0.875).
    assert float(loss) == pytest.approx(-math.log(0.25 * 0.75**2 * 0.875), rel=1e-5)
    loss.backward()
    assert scores.grad is None and (logits.grad.numpy()[0] * [1, -1, 1, 1] > 0).all()
    nothing = SingleLoss()(logits, scores, boxes, paddle.full_like(matched, -1), truth([], []))
    assert float(nothing) == pytest.approx(-math.log(0.75**3 * 0.875), rel=1e-5)


BOXES = [[[0, 0, 10, 10], [0, 0, 10, 9], [50, 0, 60, 10]]] * 2
SCORES = [[[0.5, 0.3, 0.2], [0.4, 0.6, 0.9]], [[0.001, 0.0, 0.01], [0.0, 0.0, 0.0]]]


def top_scores(**settings):
    tensors = (paddle.to_tensor(np.float32(values)) for values in (BOXES, SCORES))
    bbox, counts, index = TopScores(**settings)(*tensors)
    rows = bbox.numpy().astype(np.float64).round(4)
    return rows[:, :2].tolist(), counts.tolist(), index.numpy().ravel().tolist()


def test_top_scores_by_hand():
    rows, counts, index = top_scores()
    assert rows == [[1, 0.9], [1, 0.6], [0, 0.5], [0, 0.01]]
    assert counts == [3, 1] and index == [2, 1, 0, 5]
    assert top_scores(keep_top_k=1)[1:] == ([1, 1], [2, 5])
    assert top_scores(score_threshold=0.95) == ([], [0, 0], [])


# Detectors


def detector(head_class):
    paddle.seed(3)
    backbone = DarkNet(width_mult=0.125)
    neck = YOLOXFPN([shape.channels for shape in backbone.out_shape], width_mult=0.125)
    channels = [shape.channels for shape in neck.out_shape]
    head = head_class(3, 0.125, in_channels=channels, act="leaky")
    kind = YOLOX if head_class is EndToEndYOLOXHead else AnchorYOLOX
    return kind(backbone, neck, head, size_range=None)


def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(2, 3, 64, 96)).astype(np.float32),
        "gt_bbox": [np.float32([[10, 10, 50, 40], [60, 20, 90, 60]]), np.zeros((0, 4), np.float32)],
        "gt_class": [np.int32([[0], [2]]), np.zeros((0, 1), np.int32)],
    }


@pytest.mark.parametrize("head_class", [*HEADS, EndToEndYOLOXHead])
def test_the_branch_teaches_nothing_but_itself(head_class):
    model = detector(head_class)
    model.train()
    terms = model(batch())
    assert all(math.isfinite(float(value)) for value in terms.values())
    is_single = head_class.__name__.startswith("EndToEnd")
    assert ("loss_single" in terms) == is_single
    if is_single:
        terms["loss_single"].backward()
        trained = [(k, p) for k, p in model.named_parameters() if not p.stop_gradient]
        for key, parameter in trained:
            taught = parameter.grad is not None and np.abs(parameter.grad.numpy()).max() > 0
            assert taught == ("conv_single" in key), key


@pytest.mark.parametrize("head_class", [CoupledAnchorHead, DecoupledAnchorHead])
def test_an_untrained_head_says_one_percent_and_boxes_like_its_anchors(head_class):
    model = detector(head_class)
    model.eval()
    for conv in [*getattr(model.head, "outputs", []), *getattr(model.head, "reg_preds", [])]:
        conv.weight.set_value(paddle.zeros_like(conv.weight))
    for conv in getattr(model.head, "cls_preds", []):
        conv.weight.set_value(paddle.zeros_like(conv.weight))
    outputs = model.raw_outputs(paddle.zeros([1, 3, 64, 96]))
    assert [x.shape[1] for x in outputs] == [3 * 9] * 3
    flat = flatten_anchors(outputs, model.head.levels, 3)
    for logits in (flat.objectness, flat.classes):
        np.testing.assert_allclose(logits.numpy(), math.log(0.01 / 0.99), rtol=1e-5)
    assert np.abs(flat.iou.numpy()).max() == 0 and np.abs(flat.box.numpy()).max() == 0
    boxes, _ = model.decode(outputs, None, paddle.ones([1, 2]))
    sizes = (boxes[0, :, 2:] - boxes[0, :, :2]).numpy().round(3)
    assert {tuple(map(float, size)) for size in sizes} == {
        tuple(map(float, anchor)) for level in model.head.levels for anchor in level.anchors
    }


def test_heads_and_detectors_that_do_not_fit():
    head = DecoupledAnchorHead(2, 0.125, in_channels=[16, 32, 64])
    with pytest.raises(
        ConfigError, match="head: found 'DecoupledAnchorHead', allowed: an anchor-f"
    ):
        YOLOX(head=head)
    with pytest.raises(ConfigError, match="head: found 'EndToEndYOLOXHead', allowed: a head with"):
        AnchorYOLOX(head=EndToEndYOLOXHead(2, 0.125, in_channels=[16, 32, 64]))
    with pytest.raises(ConfigError, match="loss_weight: found .*l1.*, allowed: cls, obj"):
        AnchorYOLOXLoss(loss_weight={"l1": 1.0})
