"""YOLOv4's networks against darknet: parameters, maps, raw outputs, boxes and scores."""

import numpy as np
import paddle
import pytest

from tests.golden import yolov4_set as reference

pytestmark = pytest.mark.usefixtures("golden_yolov4")


@pytest.fixture(scope="module", params=reference.NETWORKS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name):
    """The reference arrays, the model and its maps."""
    model = reference.model(name)
    shape = (2, 3, reference.HEIGHT, reference.WIDTH)
    image = paddle.to_tensor(reference.filling().make_image(reference.SEED, shape))
    found = {}

    def keep(layer, inputs):
        found["spp"] = [inputs[0]]

    spp = getattr(getattr(model.neck, "spp", None), "after", None)
    hook = spp and spp.register_forward_pre_hook(keep)
    with paddle.no_grad():
        found["backbone"] = model.backbone(image)
        found["neck"] = model.neck(found["backbone"])
        found["raw"] = model.head(found["neck"])
    if hook:
        hook.remove()
    return reference.arrays(f"forward/{name}.npz"), model, found


def test_names_shapes_and_counts(name):
    about, names = reference.description(name), reference.key_map(name)
    model = reference.model(name)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == {names[key]: shape for key, shape in about["shapes"].items()}
    trained = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
    assert trained == about["n_parameters"]
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {norm._epsilon for norm in norms} == {about["bn_epsilon"]}


def test_settings(name):
    model = reference.model(name)
    head, loss = model.head, model.head.loss
    about = reference.description(name)["yolo_layers"]
    assert [level.stride for level in head.levels] == [layer["stride"] for layer in about]
    assert head.anchor_masks == [tuple(layer["mask"]) for layer in about]
    for level, layer in zip(head.levels, about):
        assert [side for anchor in head.anchors for side in anchor] == layer["anchors"]
        assert level.scale_x_y == float(layer["scale_x_y"])
        assert loss.ignore_thresh == float(layer["ignore_thresh"])
        assert loss.truth_thresh == float(layer["truth_thresh"])
        assert loss.iou_thresh == float(layer.get("iou_thresh", 1))


def test_feature_maps(name, run):
    expected, _, found = run
    parts = {key[: -len("_shape")] for key in expected if key.endswith("_shape")}
    for part in parts:
        kind, index = part.rsplit("_", 1)
        if kind == "neck" and name != "yolov4":
            # There it is the input of the output convolution, behind the 3x3 of the head.
            values = run[1].head.yolo_conv[int(index)](found["neck"][int(index)])
        else:
            values = found[kind][int(index)]
        assert values.shape == expected[f"{part}_shape"].tolist()
        values, step = values.numpy(), 16
        sample = values[:, ::step, ::2, ::2]
        np.testing.assert_allclose(sample, expected[f"{part}_sample"], atol=3e-4, rtol=0)
        stats = [values.mean(dtype=np.float64), values.std(dtype=np.float64)]
        np.testing.assert_allclose(stats, expected[f"{part}_stats"], atol=1e-4, rtol=0)


def test_raw_outputs(run):
    expected, _, found = run
    assert f"head_{len(found['raw'])}" not in expected
    for i, raw in enumerate(found["raw"]):
        np.testing.assert_allclose(raw.numpy(), expected[f"head_{i}"], atol=3e-4, rtol=0)


def test_boxes_and_scores(run):
    expected, model, found = run
    decode = model.post_process.decode
    size = paddle.to_tensor([[float(reference.HEIGHT), float(reference.WIDTH)]] * 2)
    given = decode.conf_thresh, decode.clip_bbox
    decode.clip_bbox = False
    try:
        _, scores = model.decode(found["raw"], size, paddle.ones([2, 2]))
        decode.conf_thresh = 0.0
        boxes, _ = model.decode(found["raw"], size, paddle.ones([2, 2]))
    finally:
        decode.conf_thresh, decode.clip_bbox = given
    side = np.max(expected["boxes"][..., 2:] - expected["boxes"][..., :2], axis=-1, keepdims=True)
    assert (np.abs(boxes.numpy() - expected["boxes"]) <= 0.05 + 2e-4 * side).all()
    scores = scores.numpy()
    found = np.where(scores > decode.conf_thresh, scores, 0)
    np.testing.assert_allclose(found.max(axis=1), expected["score_max"], atol=2e-4, rtol=0)
    sure = np.sort(found, axis=1)[:, -1] - np.sort(found, axis=1)[:, -2] > 1e-3
    assert sure.mean() > 0.1
    np.testing.assert_array_equal(found.argmax(axis=1)[sure], expected["score_argmax"][sure])
