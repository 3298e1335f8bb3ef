"""YOLOX as its authors wrote it against their network, loss and post-processing."""

import importlib.util
import json

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.assigners.ground_truth import pad_ground_truth
from ppdet_lite.modeling.assigners.upstream_sim_ota import UpstreamSimOTA
from ppdet_lite.modeling.geometry.cell_grid import cell_grid, flatten_levels
from ppdet_lite.modeling.losses.upstream_yolox_loss import UpstreamYOLOXLoss
from ppdet_lite.modeling.post_process.best_class_nms import BestClassNMS
from ppdet_lite.weights.convert.yolox import YOLOXConverter

SEED = 20260711
SIZE = (96, 128)
NETWORKS = ("yolox_nano", "yolox_s", "yolox_darknet53")
RULES = {"old": "box_or_center", "new": "center"}
CASES = ("full", "full_l1", "empty1")


@pytest.fixture(scope="module")
def upstream(shared_dir):
    folder = shared_dir / "golden_yolox_upstream"
    if not folder.is_dir():
        pytest.skip("needs the reference outputs in ../shared/golden_yolox_upstream")
    return folder


@pytest.fixture(scope="module")
def fill(upstream):
    spec = importlib.util.spec_from_file_location("upstream_fill", upstream / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def their_state(upstream, fill, name):
    """The description of a network and its filled state dict, by the authors' keys."""
    description = json.loads((upstream / "state_dict" / f"{name}.json").read_text())
    with np.load(upstream / "stats" / f"{name}.npz") as stats:
        state = fill.fill_state(description["shapes"], stats, description["closing"])
    return description, state


@pytest.fixture(scope="module", params=NETWORKS)
def run(request, upstream, fill, repo):
    """The reference arrays and everything that one pass of the converted network gives."""
    name = request.param
    description, state = their_state(upstream, fill, name)
    cfg = load_config(repo / "configs" / "yolox" / "upstream" / f"{name}_upstream_coco.yml")
    model = create(cfg.architecture, cfg)
    converted = YOLOXConverter().convert(state)
    assert set(converted) == set(model.state_dict())
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in converted.items()})
    model.eval()
    trained = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
    assert trained == description["n_parameters"]
    image = paddle.to_tensor(fill.make_image(SEED, (2, 3, *SIZE)))
    with paddle.no_grad():
        backbone = model.backbone(image)
        neck = model.neck(backbone)
        raw = model.head(neck)
        boxes, scores = model.decode(raw, None, paddle.ones([2, 2]))
        found = model.post_process(raw, model.head.levels, None, paddle.ones([2, 2]))
    with np.load(upstream / "forward" / f"{name}.npz") as data:
        reference = dict(data)
    return name, reference, backbone, neck, raw, boxes, scores, found


def test_features_and_raw_outputs(run):
    name, reference, backbone, neck, raw, *_ = run
    maps = {"neck": neck} if name == "yolox_darknet53" else {"backbone": backbone, "neck": neck}
    for part, levels in maps.items():  # the authors count SPP to the backbone of DarkNet53
        for i, level in enumerate(levels):
            values = level.numpy()
            assert list(values.shape) == reference[f"{part}_{i}_shape"].tolist()
            found = [values.mean(dtype=np.float64), values.std(dtype=np.float64)]
            np.testing.assert_allclose(found, reference[f"{part}_{i}_stats"], atol=2e-5)
            sample = values[:, ::16, ::2, ::2]
            np.testing.assert_allclose(sample, reference[f"{part}_{i}_sample"], atol=2e-4)
    for i, output in enumerate(raw):
        parts = np.split(output.numpy(), [4, 5], axis=1)
        for branch, values in zip(("reg", "obj", "cls"), parts):
            np.testing.assert_allclose(values, reference[f"head_{branch}_{i}"], atol=2e-4)


def test_boxes_and_scores(run):
    _, reference, _, _, _, boxes, scores, _ = run
    boxes = boxes.numpy()
    sizes = boxes[..., 2:] - boxes[..., :2]
    found = np.concatenate([(boxes[..., :2] + boxes[..., 2:]) / 2, sizes], axis=2)
    side = reference["boxes"][..., 2:].max(axis=-1, keepdims=True)
    assert (np.abs(found - reference["boxes"]) <= 0.02 + 2e-4 * side).all()
    if "scores" in reference:
        np.testing.assert_allclose(
            scores.numpy().transpose(0, 2, 1), reference["scores"], atol=5e-5
        )


def test_detections(run):
    name, reference, *_, scores, (bbox, counts) = run
    if "bbox" not in reference:
        pytest.skip(f"no final detections of {name} were recorded")
    assert counts.tolist() == reference["bbox_num"].tolist()
    images = np.split(bbox.numpy(), np.cumsum(counts.tolist())[:-1])
    theirs = np.split(reference["bbox"], np.cumsum(reference["bbox_num"])[:-1])
    for own, other, classes in zip(images, theirs, scores.numpy()):
        check_rows(own, other, classes)


def check_rows(own, reference, classes):
    """Rows of ours (class, score, corners), sorted by score, against theirs. Rows of nearly equal
    scores may have changed places, and so may two classes of a box with nearly equal scores."""
    best = np.sort(classes, axis=0)
    ties = best[-1][best[-1] - best[-2] < 1e-4]
    assert (np.diff(own[:, 1]) <= 0).all()
    product = reference[:, 4] * reference[:, 5]
    free = np.ones(len(reference), bool)
    for label, score, *corners in own:
        side = max(corners[2] - corners[0], corners[3] - corners[1])
        near = np.abs(reference[:, :4] - corners).max(axis=1) <= 0.02 + 2e-4 * side
        near &= (np.abs(product - score) <= 5e-5) & free
        if np.abs(ties - score).min(initial=1) > 1e-6:
            near &= reference[:, 6] == label
        assert near.any(), (label, score, corners)
        free[np.flatnonzero(near)[0]] = False
    assert not free.any()


@pytest.mark.parametrize("name", ["yolox_nano", "yolox_s"])
def test_keys_are_converted_as_listed(upstream, fill, name):
    description, state = their_state(upstream, fill, name)
    converted = YOLOXConverter().convert(state)
    listed = description["key_map"]
    for key, (place, role) in listed.items():
        if role == "copy":
            np.testing.assert_array_equal(converted[place], state[key])
        elif role in ("reg", "obj"):
            part = slice(0, 4) if role == "reg" else slice(4, 5)
            np.testing.assert_array_equal(converted[place][part], state[key])
        else:
            assert role == "drop"
    assert set(converted) == {place for place, role in listed.values() if role != "drop"}


# Loss


@pytest.fixture(scope="module")
def direct(upstream):
    with np.load(upstream / "loss" / "direct.npz") as data:
        return dict(data)


def given_outputs(direct):
    return [
        paddle.to_tensor(
            np.concatenate([direct[f"raw_{part}_{i}"] for part in ("reg", "obj", "cls")], axis=1),
            stop_gradient=False,
        )
        for i in range(3)
    ]


def given_batch(direct, case):
    labels = direct["labels"].astype(np.float32)
    if case == "empty1":
        labels = labels.copy()
        labels[1] = 0
    half = labels[..., 3:] / 2
    boxes = np.concatenate([labels[..., 1:3] - half, labels[..., 1:3] + half], axis=2)
    return {
        "gt_bbox": paddle.to_tensor(boxes),
        "gt_class": paddle.to_tensor(labels[..., :1].astype(np.int64)),
        "epoch_id": np.array([285 if case == "full_l1" else 0]),
    }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", CASES)
def test_loss(direct, rule, case):
    loss = UpstreamYOLOXLoss(UpstreamSimOTA(RULES[rule]))
    raw, batch, strides = given_outputs(direct), given_batch(direct, case), [8, 16, 32]
    truth = pad_ground_truth(batch["gt_bbox"], batch["gt_class"])
    matched = loss.assign(flatten_levels(raw), *cell_grid(raw, strides), truth)
    np.testing.assert_array_equal(matched.numpy(), direct[f"{rule}_{case}_matched_gt"])

    terms = loss(raw, batch, strides)
    ours = {
        "iou5": 5 * float(terms["loss_iou"]),
        "obj": float(terms["loss_obj"]),
        "cls": float(terms["loss_cls"]),
        "l1": float(terms["loss_l1"]),
        "total": float(terms["loss"]),
    }
    for term, value in ours.items():
        expected = float(direct[f"{rule}_{case}_{term}"])
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-9), term

    terms["loss"].backward()
    for i, output in enumerate(raw):
        parts = np.split(output.grad.numpy(), [4, 5], axis=1)
        for branch, gradient in zip(("reg", "obj", "cls"), parts):
            if (key := f"{rule}_{case}_grad_{branch}_{i}") in direct:
                np.testing.assert_allclose(gradient, direct[key], atol=2e-5, rtol=1e-4)


# Post-processing


@pytest.mark.parametrize("thresholds", [(0.01, 0.65), (0.25, 0.45)])
@pytest.mark.parametrize("agnostic", [False, True])
def test_rows_of_post_processing(upstream, thresholds, agnostic):
    with np.load(upstream / "postprocess" / "post.npz") as data:
        reference = dict(data)
    confidence, overlap = thresholds
    name = f"c{confidence}_n{overlap}{'_agnostic' if agnostic else ''}"
    predicted = reference["pred"].astype(np.float32)
    half = predicted[..., 2:4] / 2
    corners = np.concatenate([predicted[..., :2] - half, predicted[..., :2] + half], axis=2)
    scores = (predicted[..., 4:5] * predicted[..., 5:]).transpose(0, 2, 1)
    bbox, counts, _ = BestClassNMS(confidence, overlap, agnostic)(
        paddle.to_tensor(corners), paddle.to_tensor(np.ascontiguousarray(scores))
    )
    assert counts.tolist() == reference[f"{name}_num"].tolist()
    rows, expected = bbox.numpy(), reference[name].astype(np.float32)
    np.testing.assert_array_equal(rows[:, 0], expected[:, 6])
    np.testing.assert_array_equal(rows[:, 1], expected[:, 4] * expected[:, 5])
    np.testing.assert_array_equal(rows[:, 2:], expected[:, :4])
