"""Gaussian YOLO: layout, scores and loss by hand, gradients by finite differences."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.geometry.gaussian_layout import split_gaussian
from ppdet_lite.modeling.heads.gaussian_yolo_head import GaussianYOLOHead
from ppdet_lite.modeling.heads.yolov4_head import YOLOv4Head
from ppdet_lite.modeling.losses.anchor_box_losses import CellPlaces, DarknetBoxLoss, IouBoxLoss
from ppdet_lite.modeling.losses.gaussian_box_losses import DarknetGaussianLoss, GaussianBoxLoss
from ppdet_lite.modeling.losses.yolov4_loss import YOLOv4Loss
from ppdet_lite.modeling.post_process.box_decoders import YOLOBox
from ppdet_lite.modeling.post_process.gaussian_yolo_box import GaussianYOLOBox

ANCHORS, CLASSES, STRIDE, SCALE = ((12, 16), (40, 28)), 3, 8, 1.2
LEVEL = AnchorLevel(ANCHORS, STRIDE, SCALE, gaussian=True)
GRID = np.array([4.0, 3.0])  # of an image of 32 x 24 pixels
CELLS = np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 2.0]])
OWN = np.array([[12, 16], [40, 28], [12, 16]]) / (GRID * STRIDE)
TRUTH = np.array([[0.35, 0.4, 0.3, 0.5], [0.55, 0.2, 0.9, 0.8], [0.9, 0.9, 0.1, 0.1]])
WEIGHT = np.array([1.0, 0.5, 2.0])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def raw_rows(seed=0):
    return np.random.default_rng(seed).normal(0, 0.7, (3, 8))


def activated(raw):
    """Means, of the offset in the cell and of the logarithm of the side, and deviations."""
    offset = SCALE * sigmoid(raw[:, :2]) - (SCALE - 1) / 2
    return np.concatenate([offset, raw[:, 2:4]], axis=1), sigmoid(raw[:, 4:])


def likelihood(means, deviations):
    """The paper's loss, with the 0.3 of its code, in float64."""
    truth = np.concatenate([TRUTH[:, :2] * GRID - CELLS, np.log(TRUTH[:, 2:] / OWN)], axis=1)
    density = np.exp(-(((truth - means) / deviations) ** 2) / 2)
    density /= math.sqrt(2 * math.pi) * (deviations + 0.3)
    scale = 2 - TRUTH[:, 2] * TRUTH[:, 3]
    return -(np.log(density + 1e-9).sum(axis=1) * WEIGHT * scale / 2).sum()


def slopes(function, point, step=1e-6):
    found = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        change = np.zeros_like(point)
        change[index] = step
        found[index] = (function(point + change) - function(point - change)) / (2 * step)
    return found


def value_and_gradient(loss, raw):
    tensor = paddle.to_tensor(raw.astype(np.float32), stop_gradient=False)
    rows = (paddle.to_tensor(a.astype(np.float32)) for a in (CELLS, OWN, GRID, TRUTH, WEIGHT))
    cells, own, grid, truth, weight = rows
    value = loss(tensor, CellPlaces(cells, own, grid, LEVEL, 0), truth, weight)
    value.backward()
    return float(value), tensor.grad.numpy()


def test_likelihood_and_its_true_gradient():
    raw = raw_rows()
    value, gradient = value_and_gradient(GaussianBoxLoss(2.0), raw)
    assert value == pytest.approx(2 * likelihood(*activated(raw)), rel=1e-5)
    expected = slopes(lambda at: 2 * likelihood(*activated(at)), raw)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


def test_the_deltas_of_darknet_are_the_slopes_by_mean_and_deviation():
    raw = raw_rows(1)
    means, deviations = activated(raw)
    loss = DarknetGaussianLoss(0.5, 0.25, max_delta=None)
    value, gradient = value_and_gradient(loss, raw)
    assert value == pytest.approx(0.25 * likelihood(means, deviations), rel=1e-5)
    by_mean = slopes(lambda at: likelihood(at, deviations), means)
    by_deviation = slopes(lambda at: likelihood(means, at), deviations)
    np.testing.assert_allclose(gradient[:, :4], 0.5 * by_mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradient[:, 4:], 0.25 * by_deviation, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [GaussianBoxLoss, DarknetGaussianLoss])
def test_another_loss_may_teach_the_means(kind):
    raw, own = raw_rows(2), DarknetBoxLoss(0.07)
    value, gradient = value_and_gradient(kind(box_loss=own), raw)
    alone, of_deviations = value_and_gradient(kind(), raw)
    only, of_means = value_and_gradient(own, raw[:, :4])
    assert value == pytest.approx(alone + only, rel=1e-5)
    np.testing.assert_allclose(gradient[:, :4], of_means, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient[:, 4:], of_deviations[:, 4:], rtol=1e-5)


@pytest.mark.parametrize("kind", [GaussianBoxLoss, DarknetGaussianLoss])
@pytest.mark.parametrize("logit", [-200.0, -20.0, 200.0])
def test_extreme_deviations(kind, logit):
    raw = raw_rows()
    raw[:, 4:] = logit
    value, gradient = value_and_gradient(kind(), raw)
    assert math.isfinite(value) and np.isfinite(gradient).all()


def test_deltas_have_a_limit():
    raw = raw_rows()
    raw[:, 4:] = -2.5  # surprised by the error
    _, free = value_and_gradient(DarknetGaussianLoss(max_delta=None), raw)
    _, limited = value_and_gradient(DarknetGaussianLoss(max_delta=[3.0, 9.0, 9.0]), raw)
    assert np.abs(free).max() > 6.01
    np.testing.assert_allclose(
        limited, np.clip(free / WEIGHT[:, None], -3, 3) * WEIGHT[:, None], rtol=1e-5
    )


def test_layout():
    channels = 2 * (9 + CLASSES)
    output = paddle.arange(channels, dtype="float32").reshape([1, channels, 1, 1])
    plain, deviations = split_gaussian(output, 2, CLASSES)
    own = [0, 2, 4, 6, 8, 9, 10, 11]
    assert plain.flatten().tolist() == own + [12 + channel for channel in own]
    assert deviations.flatten().tolist() == [1, 3, 5, 7, 13, 15, 17, 19]


def test_deviations_lower_the_scores_only():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1, (2, 2, 9 + CLASSES, 3, 4)).astype(np.float32)
    keep = [0, 2, 4, 6, *range(8, 9 + CLASSES)]
    size, ones = paddle.to_tensor([[24.0, 32.0]] * 2), paddle.ones([2, 2])
    plain_level = LEVEL._replace(gaussian=False)
    plain = paddle.to_tensor(raw[:, :, keep].reshape(2, -1, 3, 4))
    boxes, scores = YOLOBox(CLASSES, 0.3)([plain], [plain_level], size, ones)
    decode = GaussianYOLOBox(CLASSES, 0.3)
    output = paddle.to_tensor(raw.reshape(2, -1, 3, 4))
    found, lowered = decode([output], [LEVEL], size, ones)
    np.testing.assert_array_equal(found.numpy(), boxes.numpy())
    certainty = 1 - sigmoid(raw[:, :, [1, 3, 5, 7]]).mean(axis=2).reshape(2, 1, -1)
    np.testing.assert_allclose(lowered.numpy(), scores.numpy() * certainty, rtol=1e-5, atol=1e-7)
    assert lowered.numpy().any()


def test_losses_of_the_head_reach_every_channel_of_a_positive_cell():
    head = GaussianYOLOHead(
        (16,),
        anchors=ANCHORS,
        anchor_masks=[[0, 1]],
        num_classes=CLASSES,
        strides=[STRIDE],
        scale_x_y=SCALE,
    )
    assert head.yolo_output[0].weight.shape == [2 * (9 + CLASSES), 32, 1, 1]
    assert head.objectness_outputs()[0][1] == [8, 8 + 9 + CLASSES]
    raw = paddle.to_tensor(np.random.default_rng(0).normal(0, 1, (1, 24, 3, 4)).astype(np.float32))
    raw.stop_gradient = False
    batch = {
        "gt_bbox": paddle.to_tensor([[[0.3, 0.4, 0.4, 0.6]]]),  # the first anchor, cell 1, 1
        "gt_class": paddle.to_tensor([[1]]),
    }
    terms = head.get_loss([raw], batch)
    assert set(terms) == {"loss_box", "loss_obj", "loss_cls", "loss"}
    terms["loss"].backward()
    touched = raw.grad.numpy().reshape(2, 9 + CLASSES, 3, 4) != 0
    assert touched[0, :, 1, 1].all() and touched[:, 8].all()
    touched[0, :, 1, 1] = touched[:, 8] = False
    touched[1, :, 1, 1] = False  # overlaps above iou_thresh, too
    assert not touched.any()


@pytest.mark.parametrize(
    "head, loss", [(GaussianYOLOHead, IouBoxLoss()), (YOLOv4Head, GaussianBoxLoss())]
)
def test_losses_and_decoders_of_another_form_are_refused(head, loss):
    with pytest.raises(ConfigError, match="loss.box_loss: found .*allowed: a GaussianBoxLoss"):
        head((16, 16, 16), loss=YOLOv4Loss(80, loss))
    with pytest.raises(ConfigError, match="decode: found YOLOBox.*GaussianYOLOBox"):
        YOLOBox().check_levels([LEVEL])
