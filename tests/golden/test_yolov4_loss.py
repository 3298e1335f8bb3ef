"""YOLOv4's loss against darknet: deltas of all cases, assignment, box gradients, printed cost."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.assigners.anchor_shape import assign_by_shape, padded_objects
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.heads.yolov4_head import YOLOV4_ANCHORS
from ppdet_lite.modeling.losses.anchor_box_losses import DarknetBoxLoss, IouBoxLoss
from ppdet_lite.modeling.losses.darknet_gradients import box_gradient
from ppdet_lite.modeling.losses.yolov4_loss import LevelOutput, YOLOv4Loss, cell_places
from ppdet_lite.ops import boxes as box_ops
from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")

MASKS, STRIDES, SCALES = [(0, 1, 2), (3, 4, 5), (6, 7, 8)], (8, 16, 32), (1.2, 1.1, 1.05)
# Arguments of the loss, then of the box loss.
CASES = {
    "yolov4": ({}, {}),
    "nothresh": ({"iou_thresh": 1.0}, {}),
    "smooth": ({"label_smooth_eps": 0.1, "objectness_smooth": True}, {}),
    "focal": ({"focal": True}, {}),
    "truth09": ({"truth_thresh": 0.9}, {}),
    "giou": ({}, {"kind": "giou", "loss_weight": 0.5, "max_delta": None}),
    "diou": ({}, {"kind": "diou", "loss_weight": 0.5, "max_delta": None}),
    "mse": ({"iou_thresh": 1.0}, {"kind": "mse", "loss_weight": 0.75}),
}
levels = pytest.mark.parametrize("index", range(3))


@pytest.fixture(scope="module")
def direct(golden_yolov4):
    return reference.arrays("loss/direct.npz")


def level_of(index):
    anchors = tuple(YOLOV4_ANCHORS[i] for i in MASKS[index])
    return AnchorLevel(anchors, STRIDES[index], SCALES[index])


def batch_of(direct):
    truth = direct["truth"]
    boxes = paddle.to_tensor(truth[..., :4].astype(np.float32))
    return {"gt_bbox": boxes, "gt_class": paddle.to_tensor(truth[..., 4].astype(np.int64))}


def raw_of(direct, index):
    return paddle.to_tensor(direct[f"raw_{index}"].astype(np.float32), stop_gradient=False)


def close(found, expected, absolute=1e-5, relative=1e-4):
    np.testing.assert_allclose(found, expected, atol=absolute, rtol=relative)


@levels
@pytest.mark.parametrize("case", CASES)
def test_deltas(direct, case, index):
    arguments, of_box = CASES[case]
    loss, raw = YOLOv4Loss(80, DarknetBoxLoss(**of_box), **arguments), raw_of(direct, index)
    level, batch = level_of(index), batch_of(direct)
    terms = loss([raw], batch, [level], YOLOV4_ANCHORS, [MASKS[index]])
    terms["loss"].backward()
    images, _, height, width = raw.shape
    delta = -images * raw.grad.numpy().reshape(images, 3, 85, height, width)
    if case == "yolov4":
        close(delta, direct[f"yolov4_delta_{index}"].reshape(delta.shape))
    else:
        close(delta[:, :, :5], direct[f"{case}_delta5_{index}"])
        class_sums = delta[:, :, 5:].sum(axis=2, dtype=np.float64)
        close(class_sums, direct[f"{case}_delta_cls_sum_{index}"], absolute=2e-5)
    parts = np.split(delta.astype(np.float64), [4, 5], axis=2)
    squares = [(part**2).sum() for part in parts]
    close(squares, direct[f"{case}_sumsq_{index}"])
    # Darknet prints the value of the box loss and the squares of the other deltas.
    if case != "truth09":  # whose additional cells it leaves out of the mean
        close(images * float(terms["loss_box"]) + sum(squares[1:]), direct[f"{case}_cost_{index}"])


def cells_of(direct, index, iou_thresh=0.213):
    batch, (height, width) = batch_of(direct), direct[f"net_hw_{index}"]
    labels = batch["gt_class"].numpy()
    objects, _ = padded_objects(batch["gt_bbox"].numpy(), labels, np.ones(labels.shape), 80)
    shares = (np.array(YOLOV4_ANCHORS) / [width, height]).astype(np.float32)
    grid_hw = direct[f"raw_{index}"].shape[2:]
    return objects, assign_by_shape(objects, shares, MASKS[index], grid_hw, iou_thresh)


@levels
def test_assignment(direct, index):
    _, cells = cells_of(direct, index)
    found = np.zeros_like(direct[f"assigned_{index}"], np.int64)
    np.add.at(found.reshape(-1), cells.flat(found.shape), 1)
    np.testing.assert_array_equal(found, direct[f"assigned_{index}"])
    assert found.sum() > 0


@levels
def test_the_true_gradient(direct, index):
    objects, cells = cells_of(direct, index)
    raw = raw_of(direct, index)
    part = LevelOutput.split(raw, level_of(index), index, 80)
    flat = paddle.to_tensor(cells.flat(part.objectness.shape))
    boxes = paddle.gather(part.boxes.reshape([-1, 4]), flat)
    target = paddle.to_tensor(objects.boxes_cxcywh[cells.obj])
    weights = [9.0] * index + [0.07]  # of the levels before it, and its own
    loss = IouBoxLoss(weights)(boxes, cell_places(part, cells), target, paddle.ones([len(flat)]))
    loss.backward()
    close(float(loss), direct[f"auto_ciou_loss_{index}"])
    gradient = raw.grad.numpy().reshape(2, 3, 85, *raw.shape[2:])[:, :, :4]
    close(gradient, direct[f"auto_ciou_grad_{index}"], absolute=2e-6, relative=1e-3)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_box_measures_and_gradients(kind):
    expected = reference.arrays("loss/boxes.npz")
    pairs = paddle.to_tensor(expected["pred_truth"].astype(np.float32))
    boxes, truth = pairs[:, :4], pairs[:, 4:]
    gradient = box_gradient(boxes, truth, kind).numpy()
    close(gradient, expected[f"grad_{kind}"], absolute=1e-4, relative=1e-3)
    overlap = getattr(box_ops, kind)(box_ops.cxcywh_to_xyxy(boxes), box_ops.cxcywh_to_xyxy(truth))
    name = "diou_textbook" if kind == "diou" else kind
    close(overlap.numpy(), expected[name], absolute=1e-5, relative=0)
