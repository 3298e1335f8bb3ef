"""Loss terms and gradients against the reference, on given outputs and through the network."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.layers.drop_block import DropBlock

SEED = 20240607
V2 = "ppyolov2_r50vd_dcn_365e_coco"
CASES = [(V2, "plain"), (V2, "mixup"), ("ppyolo_r50vd_dcn_1x_coco", "plain")]


def _load(path):
    with np.load(path) as data:
        return dict(data)


@pytest.fixture(scope="module")
def batches(golden):
    """Case -> the ground truth and targets of a batch; they are the same for both configs."""
    data = _load(golden / "targets" / f"{V2}.npz")

    def batch(case):
        arrays = {f"target{i}": data[f"{case}_target{i}"] for i in range(3)}
        arrays["gt_bbox"] = data["gt_bbox"]
        return {key: paddle.to_tensor(value) for key, value in arrays.items()}

    return batch


def _check_terms(terms, reference, case, tolerance):
    expected = {k[len(case) + 1 :] for k in reference if k.startswith(f"{case}_loss")}
    assert set(terms) == expected
    for name, value in terms.items():
        np.testing.assert_allclose(
            float(value), reference[f"{case}_{name}"], rtol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("name", [V2, "ppyolo_r50vd_dcn_1x_coco"])
def test_loss_on_given_outputs(name, golden, golden_model, batches):
    reference = _load(golden / "loss" / f"{name}.npz")
    model, _ = golden_model(name)
    raw = [paddle.to_tensor(reference[f"direct_raw_{i}"], stop_gradient=False) for i in range(3)]
    terms = model.yolo_head.get_loss(raw, batches("mixup"))
    _check_terms(terms, reference, "direct", 1e-5)
    terms["loss"].backward()
    for i, output in enumerate(raw):
        np.testing.assert_allclose(
            output.grad.numpy(), reference[f"direct_grad_{i}"], atol=2e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name, case", CASES)
def test_loss_through_the_network(
    name, case, golden, golden_fill, golden_model, reload_state, batches
):
    reference = _load(golden / "loss" / f"{name}.npz")
    model, state = golden_model(name)
    reload_state(model, state)
    drop_blocks = [layer for layer in model.sublayers() if isinstance(layer, DropBlock)]
    assert drop_blocks
    model.train()
    for layer in drop_blocks:
        layer.eval()
    model.clear_gradients()
    image = paddle.to_tensor(golden_fill.make_image(SEED, (2, 3, 96, 128)))
    terms = model({"image": image, **batches(case)})
    _check_terms(terms, reference, case, 1e-4)

    terms["loss"].backward()
    trained = [(key, p) for key, p in model.named_parameters() if not p.stop_gradient]
    gradients = {key: parameter.grad.numpy().ravel() for key, parameter in trained}
    keys = [str(key) for key in reference["grad_keys"]]
    assert set(gradients) == set(keys)
    norms = reference[f"{case}_grad_norms"]
    global_norm = reference[f"{case}_grad_global_norm"]
    found = np.array([np.linalg.norm(gradients[key].astype(np.float64)) for key in keys])
    too_far = np.abs(found - norms) > 2e-2 * norms + 1e-4 * global_norm
    assert not too_far.any(), [keys[i] for i in np.flatnonzero(too_far)]
    if case == "plain":
        _check_picked(model, gradients, reference, dict(zip(keys, norms)), global_norm)
    model.clear_gradients()


def _check_picked(model, gradients, reference, norms, global_norm):
    for j, key in enumerate(map(str, reference["grad_pick_keys"])):
        values = gradients[key]
        picked = values[:: max(1, values.size // 64)][:64]
        difference = np.abs(picked - reference[f"grad_pick_{j}"]).max()
        assert difference <= 2e-2 * norms[key] + 1e-4 * global_norm, key
    state = model.state_dict()
    for j, key in enumerate(map(str, reference["bn_after_keys"])):
        for statistic in ("mean", "variance"):
            np.testing.assert_allclose(
                state[f"{key}._{statistic}"].numpy()[:16],
                reference[f"bn_after_{j}_{statistic}"],
                atol=1e-4,
                rtol=0,
                err_msg=key,
            )
