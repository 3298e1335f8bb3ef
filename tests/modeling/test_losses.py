"""Loss terms on one or two cells, against values worked out by hand."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.losses.cross_entropy import binary_cross_entropy
from ppdet_lite.modeling.losses.iou_loss import IouAwareLoss, IouLoss, SoftWeightIouAwareLoss
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss

LN2 = math.log(2)
CLASSES = 2
PLAIN = AnchorLevel(anchors=((32, 32),), stride=32, scale_x_y=1.0)
SENSITIVE = PLAIN._replace(scale_x_y=1.05)


def _target(objectness=1.0, tw=0.0, batch=1):
    """A 32 x 64 image of two cells; the left one holds a box of exactly the anchor's size."""
    target = np.zeros((batch, 1, 6 + CLASSES, 1, 2), dtype=np.float32)
    # tx, ty, tw, th, scale = 2 - area, objectness, classes
    target[0, 0, :, 0, 0] = [0.5, 0.5, tw, 0, 1.5, objectness, 0, 1]
    return target


def _batch(target, boxes=((0.25, 0.5, 0.5, 1.0),)):
    gt = np.zeros((target.shape[0], 5, 4), dtype=np.float32)
    gt[0, : len(boxes)] = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return {"target0": paddle.to_tensor(target), "gt_bbox": paddle.to_tensor(gt)}


def _raw(batch=1, iou_aware=False):
    return np.zeros((batch, 5 + CLASSES + iou_aware, 1, 2), dtype=np.float32)


def _terms(loss, raw, batch, level=PLAIN, iou_aware=False):
    output = paddle.to_tensor(raw, stop_gradient=False)
    terms = loss([output], batch, [level], iou_aware)
    return {name: float(value) for name, value in terms.items()}, terms["loss"], output


def test_terms_by_hand():
    terms, _, _ = _terms(YOLOv3Loss(CLASSES, iou_loss=IouLoss()), _raw(), _batch(_target()))
    assert terms == pytest.approx(
        {
            "loss_xy": 2 * LN2 * 1.5,
            "loss_wh": 0,
            "loss_iou": 0,
            "loss_obj": 2 * LN2,  # one cell towards 1, one towards 0
            "loss_cls": 2 * LN2,
            "loss": 2 * LN2 * 1.5 + 4 * LN2,
        },
        abs=1e-6,
    )


def test_grid_sensitive_center_by_hand():
    raw = _raw()
    raw[0, 0, 0, 0] = LN2  # sigmoid 2/3
    terms, _, _ = _terms(YOLOv3Loss(CLASSES), raw, _batch(_target()), SENSITIVE)
    offset = 1.05 * 2 / 3 - 0.025
    assert terms["loss_xy"] == pytest.approx(1.5 * (offset - 0.5), rel=1e-5)


def test_size_iou_and_iou_awareness_by_hand():
    raw = _raw(iou_aware=True)
    raw[0, 3, 0, 0] = -LN2  # iou logit, x, y, then w: half as wide
    loss = YOLOv3Loss(CLASSES, iou_loss=IouLoss(2.5), iou_aware_loss=IouAwareLoss(3.0))
    terms, _, _ = _terms(loss, raw, _batch(_target(objectness=0.4)), iou_aware=True)
    assert terms["loss_wh"] == pytest.approx(LN2 * 1.5 * 0.4, rel=1e-5)
    assert terms["loss_iou"] == pytest.approx(2.5 * (1 - 0.5**2) * 1.5 * 0.4, rel=1e-5)
    assert terms["loss_iou_aware"] == pytest.approx(3.0 * LN2 * 0.4, rel=1e-5)
    assert terms["loss_cls"] == pytest.approx(2 * LN2 * 0.4, rel=1e-5)
    assert terms["loss_obj"] == pytest.approx(LN2 * 0.4 + LN2, rel=1e-5)


def test_iou_awareness_reaches_only_its_logit():
    raw = _raw(iou_aware=True)
    raw[0, 3, 0, 0] = -LN2
    output = paddle.to_tensor(raw, stop_gradient=False)
    loss = YOLOv3Loss(CLASSES, iou_aware_loss=IouAwareLoss())
    loss([output], _batch(_target()), [PLAIN], True)["loss_iou_aware"].backward()
    gradient = output.grad.numpy()
    assert gradient[0, 0, 0, 0] == pytest.approx(0.5 - 0.5, abs=1e-6)  # sigmoid(0) - IoU
    raw[0, 3, 0, 0] = 0
    output = paddle.to_tensor(raw, stop_gradient=False)
    loss([output], _batch(_target()), [PLAIN], True)["loss_iou_aware"].backward()
    gradient = output.grad.numpy()
    assert gradient[0, 0, 0, 0] == pytest.approx(0.5 - 1, abs=1e-6)
    gradient[0, 0, 0, 0] = 0
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize("logit, probability", [(0.0, 1 / 2), (LN2, 2 / 3), (-math.log(4), 1 / 5)])
def test_soft_weight_iou_awareness_by_hand(logit, probability):
    """-IoU ln(p), with its gradient IoU (p - 1): towards 1 whatever the IoU is."""
    raw = _raw(iou_aware=True)
    raw[0, 0, 0, 0] = logit
    raw[0, 3, 0, 0] = -LN2  # half as wide: IoU 1/2
    output = paddle.to_tensor(raw, stop_gradient=False)
    loss = YOLOv3Loss(CLASSES, iou_aware_loss=SoftWeightIouAwareLoss(3.0))
    term = loss([output], _batch(_target(objectness=0.4)), [PLAIN], True)["loss_iou_aware"]
    assert term.item() == pytest.approx(3.0 * 0.5 * -math.log(probability) * 0.4, rel=1e-5)
    term.backward()
    gradient = output.grad.numpy()
    assert gradient[0, 0, 0, 0] == pytest.approx(3.0 * 0.5 * (probability - 1) * 0.4, rel=1e-5)
    gradient[0, 0, 0, 0] = 0  # neither the box nor the empty cell learns from it
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize("threshold, counted", [(0.7, 1), (0.2, 0)])
def test_cells_near_an_object_are_ignored(threshold, counted):
    raw = _raw()
    raw[0, 2, 0, 1] = math.log(3)  # the right cell's box: x from 0 to 96, twice the image's half
    boxes = [(0.25, 0.5, 0.5, 1.0)]  # overlap with it: 32 x 32 of 96 x 32
    loss = YOLOv3Loss(CLASSES, ignore_thresh=threshold)
    terms, _, _ = _terms(loss, raw, _batch(_target(), boxes))
    assert terms["loss_obj"] == pytest.approx(LN2 * (1 + counted), rel=1e-5)


def test_label_smoothing_by_hand():
    raw = _raw()
    raw[0, 5:, 0, 0] = [1.0, 2.0]
    delta = 1 / 40
    terms, _, _ = _terms(YOLOv3Loss(CLASSES, label_smooth=True), raw, _batch(_target()))

    def entropy(logit, label):
        p = 1 / (1 + math.exp(-logit))
        return -label * math.log(p) - (1 - label) * math.log(1 - p)

    assert terms["loss_cls"] == pytest.approx(entropy(1, delta) + entropy(2, 1 - delta), rel=1e-5)


def test_mean_over_images_sum_over_levels():
    loss = YOLOv3Loss(CLASSES)
    one, _, _ = _terms(loss, _raw(), _batch(_target()))
    two, _, _ = _terms(loss, _raw(batch=2), _batch(_target(batch=2)))
    assert two["loss_cls"] == pytest.approx(one["loss_cls"] / 2, rel=1e-6)
    batch = _batch(_target())
    batch["target1"] = batch["target0"]
    raw = paddle.to_tensor(_raw())
    both = loss([raw, raw], batch, [PLAIN, PLAIN], False)
    assert float(both["loss"]) == pytest.approx(2 * one["loss"], rel=1e-6)


@pytest.mark.parametrize("padding", [5, 0])
def test_images_without_objects(padding):
    loss = YOLOv3Loss(CLASSES, iou_loss=IouLoss(), iou_aware_loss=IouAwareLoss())
    batch = {
        "target0": paddle.zeros([2, 1, 6 + CLASSES, 1, 2]),
        "gt_bbox": paddle.zeros([2, padding, 4]),
    }
    terms, total, output = _terms(loss, _raw(batch=2, iou_aware=True), batch, iou_aware=True)
    for name in ("loss_xy", "loss_wh", "loss_iou", "loss_iou_aware", "loss_cls"):
        assert terms[name] == 0
    assert terms["loss_obj"] == pytest.approx(2 * LN2, rel=1e-6)
    total.backward()
    assert np.isfinite(output.grad.numpy()).all()


def test_wild_size_of_an_empty_cell_stays_finite():
    raw = _raw(iou_aware=True)
    raw[0, 3:5, 0, 1] = 200.0  # exp overflows
    loss = YOLOv3Loss(CLASSES, iou_loss=IouLoss(), iou_aware_loss=IouAwareLoss())
    terms, total, output = _terms(loss, raw, _batch(_target()), iou_aware=True)
    assert np.isfinite(list(terms.values())).all()
    total.backward()
    assert np.isfinite(output.grad.numpy()).all()


def test_terms_that_are_not_finite_are_returned_as_they_are():
    raw = _raw()
    raw[0, 5, 0, 0] = np.nan
    terms, _, _ = _terms(YOLOv3Loss(CLASSES), raw, _batch(_target()))
    assert math.isnan(terms["loss_cls"])
    assert math.isnan(terms["loss"])
    assert math.isfinite(terms["loss_xy"])


def test_half_precision_outputs_are_computed_in_float32():
    raw = paddle.to_tensor(_raw()).astype("float16")
    with paddle.amp.auto_cast(level="O2", dtype="bfloat16"):
        terms = YOLOv3Loss(CLASSES)([raw], _batch(_target()), [PLAIN], False)
    assert {value.dtype for value in terms.values()} == {paddle.float32}


def test_targets_that_do_not_fit():
    batch = _batch(_target())
    with pytest.raises(ConfigError, match=r"target0 of the batch has shape \[1, 1, 8, 1, 2\], "):
        YOLOv3Loss(3)([paddle.zeros([1, 8, 1, 2])], batch, [PLAIN], False)


def test_iou_aware_loss_needs_an_iou_aware_head():
    loss = YOLOv3Loss(CLASSES, iou_aware_loss=IouAwareLoss())
    with pytest.raises(ConfigError, match="YOLOv3Loss.iou_aware_loss is set, but YOLOv3Head.iou"):
        loss([paddle.to_tensor(_raw())], _batch(_target()), [PLAIN], False)


@pytest.mark.parametrize("logit", [-30.0, -1.0, 0.0, 2.0, 30.0])
@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_cross_entropy_and_its_gradient(logit, label):
    x = paddle.to_tensor([logit], stop_gradient=False)
    value = binary_cross_entropy(x, paddle.to_tensor([label]))
    value.sum().backward()
    probability = 1 / (1 + math.exp(-logit))
    expected = math.log1p(math.exp(logit)) - logit * label
    assert value.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert x.grad.item() == pytest.approx(probability - label, abs=1e-6)


FAR = ([[0.0, 0, 1, 1]], [[2.0, 0, 3, 1]])


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"loss_weight": 2.0}, 2.0),
        ({"loss_weight": 1.0, "giou": True, "loss_square": False}, 1 + 1 / 3),
        ({"loss_weight": 1.0, "giou": True}, 1 + 1 / 9),  # the square keeps the sign
        ({"loss_weight": 1.0, "diou": True, "loss_square": False}, 1.4),
        ({"loss_weight": 1.0, "ciou": True, "loss_square": False}, 1.4),
    ],
)
def test_iou_losses_of_boxes_far_apart(arguments, expected):
    value = IouLoss(**arguments)(*(paddle.to_tensor(box) for box in FAR))
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [IouLoss, IouAwareLoss])
def test_only_one_overlap(kind):
    with pytest.raises(ConfigError, match="found giou and ciou true, allowed: at most one of them"):
        kind(giou=True, ciou=True)
