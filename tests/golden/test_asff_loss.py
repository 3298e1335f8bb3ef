"""The loss of ASFF's YOLOv3 against the authors' code: terms, gradients, ignored cells."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.assigners.guided_anchor import weighted_objects
from ppdet_lite.modeling.geometry.anchor_levels import AnchorLevel
from ppdet_lite.modeling.heads.guided_anchor_head import ANCHOR_SETS, FREE_SIDE
from ppdet_lite.modeling.losses.guided_anchor_loss import GuidedAnchorLoss, GuidedLevel
from tests.golden import asff_set as reference

pytestmark = pytest.mark.usefixtures("golden_asff")

SIDE, STRIDES = 128, (32, 16, 8)
ANCHORS, MASKS = ANCHOR_SETS["asff"], ((6, 7, 8), (3, 4, 5), (0, 1, 2))
TERMS = ("anchor", "iou", "l1", "obj", "cls")


@pytest.fixture(scope="module")
def direct(golden_asff):
    return reference.arrays("loss/direct.npz")


def level_of(index):
    free = (FREE_SIDE * STRIDES[index],) * 2
    return AnchorLevel(
        (*(ANCHORS[i] for i in MASKS[index]), free), STRIDES[index], 1.0, guided=True
    )


def batch_of(direct, case):
    labels = direct[f"labels_{case}"]
    batch = {"gt_bbox": labels[..., 1:5] / SIDE, "gt_class": labels[..., 0].astype(np.int64)}
    if labels.shape[2] == 6:
        batch["gt_score"] = labels[..., 5]
    return {key: paddle.to_tensor(value) for key, value in batch.items()}


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("case", ["plain", "smooth", "mixup_smooth"])
def test_terms_gradients_and_ignored_cells(direct, case, index):
    parts = [direct[f"raw_wh_{index}"], direct[f"raw_{index}"]]
    raw = paddle.to_tensor(np.concatenate(parts, axis=1).astype(np.float32), stop_gradient=False)
    level, batch = level_of(index), batch_of(direct, case)
    loss = GuidedAnchorLoss(80, label_smooth="smooth" in case)
    terms = loss([raw], batch, [level], ANCHORS, [MASKS[index]])
    found = [float(terms["loss"]), *(float(terms[f"loss_{term}"]) for term in TERMS)]
    expected = [direct[f"{case}_{index}_{term}"] for term in ("total", *TERMS)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    terms["loss"].backward()
    gradient = raw.grad.numpy()
    close(gradient[:, :8], direct[f"{case}_{index}_grad_wh"])
    if case == "mixup_smooth":
        close(gradient[:, 8:], direct[f"{case}_{index}_grad_raw"])
    else:
        rows = gradient[:, 8:].reshape(2, 4, 85, *gradient.shape[2:])[:, :, :5]
        close(rows, direct[f"{case}_{index}_grad_raw_head5"])

    arrays = [batch[key].numpy() if key in batch else None for key in ("gt_bbox", "gt_class")]
    weights = batch["gt_score"].numpy() if "gt_score" in batch else None
    truth = weighted_objects(*arrays, weights)
    part = GuidedLevel.split(raw.detach(), level, 80)
    targets = loss.assign([part], truth, ANCHORS, [MASKS[index]])[0]
    mask = loss.objectness_weight(part, truth, targets).reshape(part.shape).numpy()
    np.testing.assert_array_equal(mask, direct[f"{case}_{index}_obj_mask"])


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
