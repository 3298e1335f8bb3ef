"""YOLOv4's loss and decoding: forms that must agree, and small cases by hand.

Golden tests hold the numbers of darknet; here is what they do not reach.
"""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.assigners.anchor_shape import Cells, assign_by_shape, padded_objects
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.heads.yolov4_head import YOLOv4Head
from ppdet_lite.modeling.losses.anchor_box_losses import DarknetBoxLoss, IouBoxLoss, decode_cells
from ppdet_lite.modeling.losses.yolov4_loss import LevelOutput, YOLOv4Loss, cell_places
from ppdet_lite.modeling.post_process.box_decoders import BBoxPostProcess, YOLOBox
from ppdet_lite.modeling.post_process.scaled_yolo_box import ScaledYOLOBox

ANCHORS, CLASSES, STRIDE = ((12, 16), (40, 28)), 3, 8
both_forms = pytest.mark.parametrize("new_coords", [False, True])


def level(new_coords=False, scale=1.5):
    return AnchorLevel(ANCHORS, STRIDE, scale, None, new_coords)


def raw_output(new_coords=False, height=3, width=4, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (2, len(ANCHORS) * (5 + CLASSES), height, width))
    if new_coords:
        values = 1 / (1 + np.exp(-values))
    return paddle.to_tensor(values.astype(np.float32), stop_gradient=False)


def batch(*rows):
    """A batch of two images, the first with rows of x, y, w, h, class."""
    table = np.zeros((2, 4, 5), np.float32)
    table[0, : len(rows)] = np.array(rows).reshape(-1, 5)
    return {
        "gt_bbox": paddle.to_tensor(table[..., :4]),
        "gt_class": paddle.to_tensor(table[..., 4:].astype(np.int32)),
    }


def run(loss, raw, given, facts):
    return loss([raw], given, [facts], ANCHORS, [(0, 1)])


@both_forms
def test_decoders_and_loss_have_the_same_boxes(new_coords):
    raw, facts = raw_output(new_coords), level(new_coords)
    kind = ScaledYOLOBox if new_coords else YOLOBox
    decode = kind(CLASSES, conf_thresh=0.0, clip_bbox=False)
    size = paddle.to_tensor([[24.0, 32.0]] * 2)
    boxes, _ = decode([raw], [facts], size, paddle.ones([2, 2]))
    part = LevelOutput.split(raw, facts, 0, CLASSES)
    index = np.indices(part.objectness.shape).reshape(4, -1)
    places = cell_places(part, Cells(index[0], *index))
    found = decode_cells(part.boxes.reshape([-1, 4]), places).numpy() * [32, 24, 32, 24]
    corners = np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], 1)
    np.testing.assert_allclose(boxes.numpy().reshape(-1, 4), corners, atol=1e-4, rtol=1e-5)


def test_scaled_box_by_hand():
    facts = AnchorLevel(((10, 20),), 8, 2.0, None, True)
    output = paddle.to_tensor([0.75, 0.5, 0.5, 0.25, 0.5, 0.8, 0.1]).reshape([1, 7, 1, 1])
    decode = ScaledYOLOBox(2, conf_thresh=0.1)
    arguments = [facts], paddle.to_tensor([[8.0, 8.0]]), paddle.to_tensor([[0.1, 0.1]])
    boxes, scores = decode([output], *arguments)
    # Center 2 x 0.75 - 0.5 = 1 of one cell of 80 pixels; sides 100 x 1 and 200 x 0.25, cut at 80.
    np.testing.assert_allclose(boxes.numpy(), [[[30, 15, 80, 65]]], rtol=1e-6)
    np.testing.assert_allclose(scores.numpy(), [[[0.4], [0.05]]], rtol=1e-6)
    # An image of 80 x 40 with as much padding below it.
    padded = [facts], paddle.to_tensor([[4.0, 8.0]]), paddle.to_tensor([[0.1, 0.1]])
    boxes, _ = decode([output], *padded)
    np.testing.assert_allclose(boxes.numpy(), [[[30, 15, 80, 40]]], rtol=1e-6)
    decode.conf_thresh = 0.6
    boxes, scores = decode([output], *arguments)
    assert not boxes.numpy().any() and not scores.numpy().any()


@both_forms
def test_gradient_of_objectness_and_classes(new_coords):
    """Probability - target by the logit, or by the probability where that is the output."""
    raw, facts = raw_output(new_coords), level(new_coords)
    given = batch((0.3, 0.4, 0.4, 0.6, 1))  # 12.8 x 14.4 pixels: the first anchor, cell 1, 1
    loss = YOLOv4Loss(CLASSES, obj_normalizer=4.0, ignore_thresh=1.0, iou_thresh=1.0)
    run(loss, raw, given, facts)["loss"].backward()
    gradient = 2 * raw.grad.numpy().reshape(2, 2, 5 + CLASSES, 3, 4)
    values = raw.numpy().reshape(gradient.shape)
    found = values if new_coords else 1 / (1 + np.exp(-values))
    target = np.zeros_like(found)
    target[0, 0, [4, 6], 1, 1] = 1
    expected = found - target
    np.testing.assert_allclose(gradient[:, :, 4], 4 * expected[:, :, 4], rtol=1e-4, atol=1e-6)
    row = np.zeros(gradient.shape[:2] + gradient.shape[3:], bool)
    row[0, 0, 1, 1] = True
    classes = gradient[:, :, 5:].transpose(0, 1, 3, 4, 2)
    wanted = expected[:, :, 5:].transpose(0, 1, 3, 4, 2)
    np.testing.assert_allclose(classes[row], wanted[row], rtol=1e-4, atol=1e-6)
    assert not classes[~row].any()
    boxes = gradient[:, :, :4].transpose(0, 1, 3, 4, 2)
    assert boxes[row].all() and not boxes[~row].any()


def test_two_objects_in_a_cell_share_its_class_row():
    raw = raw_output()
    loss = YOLOv4Loss(CLASSES, IouBoxLoss(1.0), iou_thresh=0.99)
    one, other = (0.3, 0.4, 0.4, 0.6, 1), (0.31, 0.41, 0.4, 0.6, 2)
    terms = run(loss, raw, batch(one, other), level())
    logits = raw.numpy().reshape(2, 2, 5 + CLASSES, 3, 4)[0, 0, 5:, 1, 1]
    expected = np.log1p(np.exp(logits)).sum() - logits[1] - logits[2]
    assert float(terms["loss_cls"]) == pytest.approx(expected / 2, rel=1e-5)
    alone = [float(run(loss, raw, batch(row), level())["loss_box"]) for row in (one, other)]
    assert float(terms["loss_box"]) == pytest.approx(sum(alone) / 2, rel=1e-5)  # two classes
    same = batch(one, (*other[:4], 1))
    assert float(run(loss, raw, same, level())["loss_box"]) == pytest.approx(sum(alone), rel=1e-5)


def test_scores_weigh_their_objects():
    """As with CutMix; the rest of the objectness term stays."""
    raw, facts = raw_output(), level()
    loss = YOLOv4Loss(CLASSES, ignore_thresh=1.0, iou_thresh=1.0)
    given = batch((0.3, 0.4, 0.4, 0.6, 1))
    full = run(loss, raw, given, facts)
    given["gt_score"] = paddle.full([2, 4, 1], 0.25)
    part = run(loss, raw, given, facts)
    for name in ("loss_box", "loss_cls"):
        assert float(part[name]) == pytest.approx(float(full[name]) / 4, rel=1e-5)
    logit = raw.numpy().reshape(2, 2, 5 + CLASSES, 3, 4)[0, 0, 4, 1, 1]
    less = 0.75 * np.log1p(np.exp(-logit)) / 2
    assert float(full["loss_obj"]) - float(part["loss_obj"]) == pytest.approx(less, rel=1e-3)
    given["gt_score"] = paddle.zeros([2, 4])
    assert float(run(loss, raw, given, facts)["loss_box"]) == 0


@both_forms
def test_images_without_objects(new_coords):
    raw = raw_output(new_coords)
    terms = run(YOLOv4Loss(CLASSES), raw, batch(), level(new_coords))
    assert float(terms["loss_box"]) == float(terms["loss_cls"]) == 0
    terms["loss"].backward()
    assert np.isfinite(raw.grad.numpy()).all() and float(terms["loss_obj"]) > 0


def test_an_object_without_an_anchor_here_is_only_ignored():
    """As with yolov4-tiny, no level of which has the first anchor."""
    raw, given = raw_output(), batch((0.3, 0.4, 0.05, 0.05, 1))
    anchors = ((2, 2), *ANCHORS)
    terms = YOLOv4Loss(CLASSES, iou_thresh=1.0)([raw], given, [level()], anchors, [(1, 2)])
    assert float(terms["loss_cls"]) == 0


def test_objects_of_a_padded_table():
    table = np.zeros((2, 4, 5), np.float32)
    table[0, 0], table[0, 1] = (0.5, 0.5, 0.2, 0.2, 7), (1.0, 1.0, 0.5, 0.5, 1)
    table[1, 1] = (0.5, 0.5, 0.2, 0.2, 1)  # after the end of its image
    objects, scores = padded_objects(table[..., :4], table[..., 4], np.ones((2, 4)), 3)
    assert objects.image.tolist() == [0] and objects.label.tolist() == [1]
    assert scores.tolist() == [1]
    shares = np.array([[0.5, 0.5], [0.4, 0.4]], np.float32)
    cells = assign_by_shape(objects, shares, (0, 1), (3, 4), 0.5)
    # A center on the far border belongs to the last cell; both anchors overlap enough.
    assert cells.anchor.tolist() == [0, 1]
    assert set(cells.row) == {2} and set(cells.column) == {3}
    assert assign_by_shape(objects, shares, (1,), (3, 4), 1.0).obj.tolist() == []


def test_deltas_of_new_coords_are_not_scaled_by_the_size():
    facts, raw = level(True), raw_output(True)
    part = LevelOutput.split(raw, facts, 0, CLASSES)
    cells = Cells(*np.array([[0], [0], [0], [1], [1]]))
    target = paddle.to_tensor([[0.4, 0.5, 0.5, 0.5]])
    boxes = part.boxes.reshape([-1, 4])[5:6].detach()
    boxes.stop_gradient = False
    loss = DarknetBoxLoss(0.05, max_delta=[0.0001])
    loss(boxes, cell_places(part, cells), target, paddle.ones([1])).backward()
    np.testing.assert_allclose(np.abs(boxes.grad.numpy()), 0.0001, rtol=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="gt_class"):
        run(YOLOv4Loss(CLASSES), raw_output(), {"gt_bbox": paddle.zeros([2, 1, 4])}, level())
    with pytest.raises(ConfigError, match="found YOLOBox.*new_coords"):
        BBoxPostProcess(80, YOLOBox(80)).decode.check_levels(YOLOv4Head(new_coords=True).levels)
    with pytest.raises(ConfigError, match="feat_channels: found"):
        YOLOv4Head(feat_channels=[256])


def test_sizes_by_override(repo):
    cfg = load_config(
        repo / "configs/yolov4/yolov4_cspdarknet53_coco.yml",
        ["EvalReader.sample_transforms.Resize.target_size=[512, 512]", "width_mult=0.125"],
    )
    model = create(cfg.architecture, cfg)
    model.eval()
    shapes = [output.shape[2:] for output in model.raw_outputs(paddle.zeros([1, 3, 512, 416]))]
    assert shapes == [[64, 52], [32, 26], [16, 13]]
