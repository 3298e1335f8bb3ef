"""Feature maps, raw outputs, decoded boxes and detections against the reference."""

import numpy as np
import paddle
import pytest

SEED = 20240607
CONFIGS = (
    "ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo_r50vd_dcn_1x_coco",
    "ppyolo_r18vd_coco",
    "ppyolo_tiny_650e_coco",
    "yolov3_darknet53_270e_coco",
    "yolox_s_300e_coco",
    "yolox_nano_300e_coco",
)


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, golden, golden_fill, golden_model, reload_state):
    """The reference arrays, the model and everything one forward pass gives."""
    model, state = golden_model(request.param)
    reload_state(model, state)
    with np.load(golden / "forward" / f"{request.param}.npz") as data:
        reference = dict(data)
    is_yolox = request.param.startswith("yolox")
    if is_yolox:  # here both branches of a level are one tensor, the box first
        for i in range(3):
            branches = [reference[f"head_reg_{i}"], reference[f"head_cls_{i}"]]
            reference[f"head_{i}"] = np.concatenate(branches, axis=1)
    inputs = {
        "image": golden_fill.make_image(SEED, (2, 3, 96, 128)),
        "im_shape": reference["im_shape"],
        "scale_factor": reference["scale_factor"],
    }
    inputs = {key: paddle.to_tensor(value) for key, value in inputs.items()}
    with paddle.no_grad():
        maps = model.backbone(inputs["image"])
        neck = model.neck(maps)
        raw = (model.head if is_yolox else model.yolo_head)(neck)
        detections = model(inputs)
    return {
        "reference": reference,
        "model": model,
        "backbone": maps,
        "neck": neck,
        "raw": raw,
        "inputs": inputs,
        "detections": detections,
        # How often the raw outputs are stretched for the test of the decoding: with 3, many
        # candidates of the YOLOv3 family fall below its threshold. YOLOX has none.
        "factors": {"": 1} if is_yolox else {"": 1, "wide_": 3},
    }


@pytest.mark.parametrize("part", ["backbone", "neck"])
def test_feature_maps(run, part):
    reference = run["reference"]
    assert f"{part}_{len(run[part])}_shape" not in reference
    for i, feature in enumerate(run[part]):
        assert feature.shape == reference[f"{part}_{i}_shape"].tolist()
        values = feature.numpy()
        np.testing.assert_allclose(
            values[:, ::16, ::2, ::2], reference[f"{part}_{i}_sample"], atol=1e-4, rtol=0
        )
        stats = [values.mean(dtype=np.float64), values.std(dtype=np.float64)]
        np.testing.assert_allclose(stats, reference[f"{part}_{i}_stats"], atol=2e-5, rtol=0)


def test_raw_outputs(run):
    assert f"head_{len(run['raw'])}" not in run["reference"]
    for i, raw in enumerate(run["raw"]):
        np.testing.assert_allclose(raw.numpy(), run["reference"][f"head_{i}"], atol=1e-4, rtol=0)


def test_decoding(run):
    reference, inputs = run["reference"], run["inputs"]
    assert {key[: -len("boxes")] for key in reference if key in ("boxes", "wide_boxes")} == set(
        run["factors"]
    )
    for prefix, factor in run["factors"].items():
        raw = [paddle.to_tensor(factor * reference[f"head_{i}"]) for i in range(len(run["raw"]))]
        boxes, scores = run["model"].decode(raw, inputs["im_shape"], inputs["scale_factor"])
        expected = reference[f"{prefix}boxes"]
        side = np.max(expected[..., 2:] - expected[..., :2], axis=-1, keepdims=True)
        assert (np.abs(boxes.numpy() - expected) <= 1e-3 + 1e-5 * side).all()
        np.testing.assert_allclose(scores.numpy(), reference[f"{prefix}scores"], atol=2e-6, rtol=0)


def test_detections_as_a_set(run):
    bbox, expected = run["detections"]["bbox"].numpy(), run["reference"]["bbox"]
    counts = run["detections"]["bbox_num"].numpy()
    np.testing.assert_array_equal(counts, run["reference"]["bbox_num"])
    start = 0
    for count in counts:
        rows, wanted = bbox[start : start + count], expected[start : start + count]
        start += count
        side = (wanted[:, 4:] - wanted[:, 2:4]).max(axis=1)
        same = (rows[None, :, 0] == wanted[:, None, 0]) & (
            np.abs(rows[None, :, 1] - wanted[:, None, 1]) <= 1e-3
        )
        distance = np.abs(rows[None, :, 2:] - wanted[:, None, 2:]).max(axis=2)
        found = same & (distance <= 0.1 + 5e-4 * side[:, None])
        assert found.any(axis=1).all(), f"{(~found.any(axis=1)).sum()} reference rows are missing"
