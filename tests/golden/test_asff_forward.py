"""ASFF's networks against the authors' code: parameters, maps, fusion, raw outputs, boxes."""

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.geometry.guided_layout import split_guided
from ppdet_lite.modeling.layers.deform_conv import SampledConv2D
from tests.golden import asff_set as reference

pytestmark = pytest.mark.usefixtures("golden_asff")


@pytest.fixture(scope="module", params=reference.NETWORKS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name):
    """The reference arrays, the model and everything one forward pass gives."""
    model = reference.model(name)
    found = {"adapted": []}
    hooks = [
        layer.register_forward_post_hook(lambda _, __, output: found["adapted"].append(output))
        for layer in model.head.adaption
    ]
    with paddle.no_grad():
        found["backbone"] = model.backbone(reference.image())
        if hasattr(model.neck, "fusion"):
            found["route"] = model.neck.neck(found["backbone"])
            found["fuse_weight"] = model.neck.fusion_weights(found["backbone"])
        found["fused"] = model.neck(found["backbone"])
        raw = model.head(found["fused"])
    for hook in hooks:
        hook.remove()
    guides = [split_guided(output, 4, 80)[0].flatten(1, 2) for output in raw]
    found.update(raw=raw, head_wh=guides, head=[output[:, 8:] for output in raw])
    return reference.arrays(f"forward/{name}.npz"), model, found


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


def test_names_shapes_and_counts(name):
    about, model = reference.description(name), reference.model(name)
    trained = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
    assert trained == about["n_parameters"]
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {norm._epsilon for norm in norms} == {about["bn_epsilon"]}
    head = model.head
    assert [list(anchor) for anchor in head.anchors] == about["anchors_in_code"]
    assert [level.stride for level in head.levels] == about["strides"]
    assert {len(level.anchors) for level in head.levels} == {about["anchors_per_level"]}
    assert head.loss.ignore_thresh == about["ignore_thresh"]


def test_maps(name, run):
    expected, _, found = run
    tolerance, parts = reference.MAPS.get(name, 3e-4), 0
    for part in (key[: -len("_shape")] for key in expected if key.endswith("_shape")):
        kind, index = part.rsplit("_", 1)
        values = found[kind][int(index)]
        assert values.shape == expected[f"{part}_shape"].tolist()
        values = values.numpy()
        close(values[:, ::16, ::2, ::2], expected[f"{part}_sample"], tolerance)
        stats = [values.mean(dtype=np.float64), values.std(dtype=np.float64)]
        close(stats, expected[f"{part}_stats"], tolerance)
        parts += 1
    assert parts == (12 if "route" in found else 9)


def test_raw_outputs_and_fusion_weights(name, run):
    expected, _, found = run
    tolerance = reference.MAPS.get(name, 3e-4)
    for i in range(3):
        for kind in ("head_wh", "head"):
            close(found[kind][i].numpy(), expected[f"{kind}_{i}"], tolerance)
        if "route" in found:  # behind the whole network the reference is 1e-5 from float64 itself
            close(found["fuse_weight"][i].numpy(), expected[f"fuse_weight_{i}"], 2e-5)


def test_boxes_and_scores(run):
    expected, model, found = run
    decode, size = model.post_process.decode, paddle.full([2, 2], 96.0)
    given, decode.conf_thresh = decode.conf_thresh, 0.0
    try:
        boxes, scores = model.decode(found["raw"], size, paddle.ones([2, 2]))
    finally:
        decode.conf_thresh = given
    boxes, side = boxes.numpy(), expected["boxes"][..., 2:].max(axis=-1, keepdims=True)
    center, extent = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    difference = np.abs(np.concatenate([center, extent], axis=-1) - expected["boxes"])
    assert (difference <= 0.02 + 2e-4 * side).all()
    products = expected["obj"][:, None] * expected["cls_every4"].transpose(0, 2, 1)
    close(scores.numpy()[:, ::4], products, 5e-5)


def test_detections_as_a_set(run):
    expected, model, found = run
    rows, counts = model.post_process(
        found["raw"], model.head.levels, paddle.full([2, 2], 96.0), paddle.ones([2, 2])
    )
    np.testing.assert_array_equal(counts.numpy(), expected["bbox_num"])
    start, rows = 0, rows.numpy()
    for count in expected["bbox_num"]:
        own, wanted = rows[start : start + count], expected["bbox"][start : start + count]
        start += count
        same = own[None, :, 0] == wanted[:, None, 6]
        score = wanted[:, 4] * wanted[:, 5]
        same &= np.abs(own[None, :, 1] - score[:, None]) <= 1e-4
        side = (wanted[:, 2:4] - wanted[:, :2]).max(axis=1)
        distance = np.abs(own[None, :, 2:] - wanted[:, None, :4]).max(axis=2)
        assert (same & (distance <= 0.1 + 5e-4 * side[:, None])).any(axis=1).all()


@pytest.mark.parametrize("fusion_name", reference.FUSIONS)
def test_fusion_of_maps_that_are_not_square(fusion_name):
    expected = reference.arrays(f"fusion/{fusion_name}.npz")
    shapes = ((2, 512, 4, 5), (2, 256, 8, 10), (2, 256, 16, 20))
    make = reference.filling().make_image
    maps = [make(reference.SEED + 10 + i, shape) for i, shape in enumerate(shapes)]
    maps = [paddle.to_tensor(array) for array in maps]
    tolerance = reference.MAPS.get(fusion_name, 3e-4)
    for i, fusion in enumerate(reference.model(fusion_name).neck.fusion):
        sums = []

        def note(_, inputs, sums=sums):
            sums.append(inputs[0].sum(axis=1))

        before = fusion.expand.register_forward_pre_hook(note)
        with paddle.no_grad():
            weights = fusion.fusion_weights(fusion.resized(maps)).numpy()
            out = fusion(maps).numpy()
        before.remove()
        close(weights, expected[f"weight_{i}"], 1e-5)
        close(weights.sum(axis=1), 1, 1e-6)
        close(sums[0].numpy(), expected[f"fused_channel_sum_{i}"], 10 * tolerance)
        assert list(out.shape) == expected[f"out_{i}_shape"].tolist()
        close(out[:, ::8], expected[f"out_{i}_sample"], tolerance)


def test_deformable_convolution_with_groups():
    expected = {
        key: paddle.to_tensor(v) for key, v in reference.arrays("deform/groups4.npz").items()
    }
    conv = SampledConv2D(16, 12, 3, padding=1, deformable_groups=4)
    conv.weight.set_value(expected["weight"])
    conv.bias.set_value(expected["bias"])
    with paddle.no_grad():
        out = conv(expected["x"], expected["offset"])
    close(out.numpy(), expected["out"].numpy(), 1e-5)
