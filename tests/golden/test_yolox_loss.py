"""YOLOX's assignment, loss terms and gradients against the reference, on given outputs and through
the network.
"""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.assigners.ground_truth import pad_ground_truth, rows_at
from ppdet_lite.modeling.geometry.cell_grid import (
    cell_grid,
    decode_boxes,
    flatten_levels,
    joint_scores,
)

SEED = 20240607
CONFIGS = ("yolox_s_300e_coco", "yolox_nano_300e_coco")
CASES = {"epoch0": 0, "epoch285": 285, "empty": 0}
TERMS = ("loss_cls", "loss_obj", "loss_iou", "loss_l1", "loss")


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture
def reference(golden, name):
    with np.load(golden / "loss" / f"{name}.npz") as data:
        return dict(data)


def ground_truth(reference, case):
    """The batch but for its images; `empty` has no object in the second one."""
    boxes = [reference["gt_bbox_0"], reference["gt_bbox_1"]]
    classes = [reference["gt_class_0"], reference["gt_class_1"]]
    if case == "empty":
        boxes[1], classes[1] = boxes[1][:0], classes[1][:0]
    return {
        "gt_bbox": [paddle.to_tensor(entry) for entry in boxes],
        "gt_class": [paddle.to_tensor(entry) for entry in classes],
        "epoch_id": np.array([CASES.get(case, 285)]),
    }


def check_terms(terms, reference, case, tolerance):
    assert set(terms) == set(TERMS)
    for key, value in terms.items():
        np.testing.assert_allclose(
            float(value), reference[f"{case}_{key}"], rtol=tolerance, err_msg=key
        )


def check_assignment(model, raw, batch, reference, case):
    """Matched objects, labels and number of positives, all exact."""
    loss, truth = model.head.loss, pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
    grid = cell_grid(raw, [level.stride for level in model.head.levels])
    matched = loss.assign(flatten_levels(raw), *grid, truth)
    labels = rows_at(truth.labels, matched.clip(min=0)).numpy()
    matched = matched.numpy()
    np.testing.assert_array_equal(matched, reference[f"{case}_matched_gt"])
    labels = np.where(matched >= 0, labels, model.head.num_classes)
    np.testing.assert_array_equal(labels, reference[f"{case}_label"])
    np.testing.assert_array_equal((matched >= 0).sum(axis=1), reference[f"{case}_pos_num"])


def given_outputs(reference):
    """Raw outputs per level, the box branch first."""
    return [
        paddle.to_tensor(
            np.concatenate(
                [reference[f"direct_raw_reg_{i}"], reference[f"direct_raw_cls_{i}"]], axis=1
            ),
            stop_gradient=False,
        )
        for i in range(3)
    ]


def test_loss_on_given_outputs(name, reference, golden_model):
    model, _ = golden_model(name)
    raw, batch = given_outputs(reference), ground_truth(reference, "direct")
    terms = model.head.get_loss(raw, batch)
    check_terms(terms, reference, "direct", 1e-6)
    terms["loss"].backward()
    for i, output in enumerate(raw):
        gradient = output.grad.numpy()
        for branch, found in (("reg", gradient[:, :5]), ("cls", gradient[:, 5:])):
            np.testing.assert_allclose(
                found, reference[f"direct_grad_{branch}_{i}"], atol=1e-7, rtol=1e-5
            )


def test_what_the_assigner_gets_and_says(name, reference, golden_model):
    model, _ = golden_model(name)
    raw = given_outputs(reference)
    check_assignment(model, raw, ground_truth(reference, "direct"), reference, "direct")
    flat, (cells, strides) = flatten_levels(raw), cell_grid(raw, [8, 16, 32])
    np.testing.assert_allclose(
        joint_scores(flat[:, 4:5], flat[:, 5:]).numpy().transpose([0, 2, 1]),
        reference["direct_assign_scores"],
        atol=5e-7,
        rtol=0,
    )
    np.testing.assert_allclose(
        decode_boxes(flat[:, :4], cells, strides).numpy(),
        reference["direct_assign_boxes"],
        atol=5e-5,
        rtol=0,
    )
    centers = ((cells + 0.5) * strides).numpy().T
    side = np.repeat(strides.numpy()[:, None], 2, axis=1)
    np.testing.assert_array_equal(
        np.concatenate([centers, side], axis=1), reference["direct_assign_priors"]
    )


@pytest.mark.parametrize("case", CASES)
def test_loss_through_the_network(name, case, reference, golden_fill, golden_model, reload_state):
    model, state = golden_model(name)
    reload_state(model, state)
    model.train()
    model.clear_gradients()
    image = paddle.to_tensor(golden_fill.make_image(SEED, (2, 3, 96, 128)))
    batch = ground_truth(reference, case)
    raw = model.raw_outputs(image)
    check_assignment(model, raw, batch, reference, case)
    terms = model.head.get_loss(raw, batch)
    check_terms(terms, reference, case, 1e-5)
    check_statistics(model, reference)

    terms["loss"].backward()
    gradients = {
        key: p.grad.numpy().ravel() for key, p in model.named_parameters() if not p.stop_gradient
    }
    keys = [str(key) for key in reference["grad_keys"]]
    assert set(gradients) == set(keys)
    norms = reference[f"{case}_grad_norms"]
    found = np.array([np.linalg.norm(gradients[key].astype(np.float64)) for key in keys])
    np.testing.assert_allclose(found, norms, rtol=2e-4, atol=1e-4)
    if case == "epoch0":
        check_picked(gradients, reference, dict(zip(keys, norms)))
    model.clear_gradients()


def check_picked(gradients, reference, norms):
    for j, key in enumerate(map(str, reference["grad_pick_keys"])):
        values = gradients[key]
        picked = values[:: max(1, values.size // 64)][:64]
        difference = np.abs(picked - reference[f"grad_pick_{j}"]).max()
        assert difference <= 1e-4 * norms[key] + 1e-4, key


def check_statistics(model, reference):
    """The running statistics after one pass in training mode."""
    state = model.state_dict()
    for j, key in enumerate(map(str, reference["bn_after_keys"])):
        for statistic in ("mean", "variance"):
            np.testing.assert_allclose(
                state[f"{key}._{statistic}"].numpy()[:16],
                reference[f"bn_after_{j}_{statistic}"],
                atol=1e-5,
                rtol=0,
                err_msg=key,
            )
