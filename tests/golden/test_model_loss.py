"""Loss terms and gradients against the reference, on given outputs and through the network."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.layers.regularization.drop_block import DropBlock

SEED = 20240607
V2 = "ppyolov2_r50vd_dcn_365e_coco"
CONFIGS = (
    V2,
    "ppyolo_r50vd_dcn_1x_coco",
    "ppyolo_tiny_650e_coco",
    "yolov3_darknet53_270e_coco",
)
WITHOUT_DROP_BLOCK = ("yolov3_darknet53_270e_coco",)


def _load(path):
    with np.load(path) as data:
        return dict(data)


@pytest.fixture(scope="module")
def make_batch(golden, golden_config):
    """Name of a config, case -> ground truth and the targets its reader makes of it.

    Boxes, classes and scores are the same for every config, those of `V2` padded to its number.
    """
    recorded = _load(golden / "targets" / f"{V2}.npz")

    def make(name, case):
        cfg = golden_config(name)
        steps = {next(iter(step)): step for step in cfg.TrainReader["batch_transforms"]}
        count = steps["PadBox"]["PadBox"]["num_max_boxes"]
        boxes, labels = recorded["gt_bbox"][:, :count], recorded["gt_class"][:, :count]
        scores = recorded[f"{case}_gt_score"][:, :count]
        transform = create(steps["Gt2YoloTarget"], cfg)
        targets = transform.targets(boxes, labels, scores, size_hw=(96, 128))
        arrays = {f"target{i}": target for i, target in enumerate(targets)}
        arrays["gt_bbox"] = boxes
        return {key: paddle.to_tensor(value) for key, value in arrays.items()}

    return make


def _check_terms(terms, reference, case, tolerance):
    expected = {k[len(case) + 1 :] for k in reference if k.startswith(f"{case}_loss")}
    assert set(terms) == expected
    for name, value in terms.items():
        np.testing.assert_allclose(
            float(value), reference[f"{case}_{name}"], rtol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("name", CONFIGS)
def test_loss_on_given_outputs(name, golden, golden_model, make_batch):
    reference = _load(golden / "loss" / f"{name}.npz")
    model, _ = golden_model(name)
    raw = [paddle.to_tensor(reference[f"direct_raw_{i}"], stop_gradient=False) for i in range(3)]
    terms = model.yolo_head.get_loss(raw, make_batch(name, "mixup"))
    _check_terms(terms, reference, "direct", 5e-6)
    terms["loss"].backward()
    for i, output in enumerate(raw):
        np.testing.assert_allclose(
            output.grad.numpy(), reference[f"direct_grad_{i}"], atol=2e-6, rtol=1e-5
        )


@pytest.mark.parametrize("case", ["plain", "mixup"])
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_through_the_network(
    name, case, golden, golden_fill, golden_model, reload_state, make_batch
):
    reference = _load(golden / "loss" / f"{name}.npz")
    model, state = golden_model(name)
    reload_state(model, state)
    drop_blocks = [layer for layer in model.sublayers() if isinstance(layer, DropBlock)]
    assert bool(drop_blocks) != (name in WITHOUT_DROP_BLOCK)
    model.train()
    for layer in drop_blocks:
        layer.eval()
    model.clear_gradients()
    image = paddle.to_tensor(golden_fill.make_image(SEED, (2, 3, 96, 128)))
    terms = model({"image": image, **make_batch(name, case)})
    _check_terms(terms, reference, case, 1e-5)

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
                atol=1e-5,
                rtol=0,
                err_msg=key,
            )
