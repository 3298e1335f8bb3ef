"""YOLOX, small: decoding and start values by hand, sizes, degenerate batches, graphs."""

import math

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError, DataError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.backbones.csp_darknet import CSPDarkNet
from ppdet_lite.modeling.batch_tensors import as_tensors
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.geometry.cell_grid import CellLevel
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead
from ppdet_lite.modeling.layers.norm import synchronize_norms
from ppdet_lite.modeling.losses.yolox_loss import YOLOXLoss
from ppdet_lite.modeling.necks.yolo_csp_pan import YOLOCSPPAN
from ppdet_lite.modeling.post_process.box_decoders import CellBox
from ppdet_lite.modeling.post_process.nms_layers import MultiClassNMS

CLASSES = 3
SIZE = (64, 96)


def detector(arch="X", size_range=(2, 4), **head):
    """YOLOX with few channels."""
    backbone = CSPDarkNet(arch, depth_mult=0.33, width_mult=0.125)
    channels = [shape.channels for shape in backbone.out_shape]
    neck = YOLOCSPPAN(0.33, channels)
    head = YOLOXHead(CLASSES, 0.125, in_channels=channels, **head)
    return YOLOX(backbone, neck, head, size_range=size_range)


@pytest.fixture(scope="module")
def model():
    paddle.seed(0)
    return detector()


def images(batch=2, size=SIZE):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (batch, 3, *size)).astype(np.float32)


def train_batch(**more):
    return {
        "image": images(),
        "gt_bbox": [
            np.float32([[10, 10, 50, 40], [60, 20, 90, 60]]),
            np.zeros((0, 4), np.float32),
        ],
        "gt_class": [np.int32([[0], [2]]), np.zeros((0, 1), np.int32)],
        "im_file": ["a.jpg", "b.jpg"],
        **more,
    }


def trained(model):
    return [(key, p) for key, p in model.named_parameters() if not p.stop_gradient]


def terms_of(model, batch):
    model.train()
    terms = {key: float(value) for key, value in model(batch).items()}
    assert all(map(math.isfinite, terms.values())), terms
    return terms


# Decoding and start values


def test_decoding_by_hand():
    raw = np.zeros((1, 5 + 2, 2, 3), np.float32)
    raw[0, :, 1, 2] = 0.5, 0.25, math.log(2), 0, 0, 0, math.log(9)
    scale_factor = paddle.to_tensor([[0.5, 0.25]])  # y, x
    boxes, scores = CellBox()([paddle.to_tensor(raw)], [CellLevel(8)], None, scale_factor)
    # center (2.5, 1.25) * 8, size (2, 1) * 8
    np.testing.assert_allclose(boxes.numpy()[0, 5], [12 * 4, 6 * 2, 28 * 4, 14 * 2], rtol=1e-6)
    np.testing.assert_allclose(boxes.numpy()[0, 0], [-4 * 4, -4 * 2, 4 * 4, 4 * 2], rtol=1e-6)
    np.testing.assert_allclose(scores.numpy()[0, :, 5], [0.5, math.sqrt(0.5 * 0.9)], rtol=1e-6)


def test_an_untrained_network_says_one_percent_and_boxes_of_five_cells(model):
    model.eval()
    raw = model.raw_outputs(paddle.to_tensor(images()))
    assert [output.shape[2:] for output in raw] == [[8, 12], [4, 6], [2, 3]]
    boxes, scores = model.decode(raw, None, paddle.ones([2, 2]))
    np.testing.assert_allclose(scores.numpy(), 0.01, rtol=1e-5)
    size = (boxes[..., 2:] - boxes[..., :2]).numpy()
    np.testing.assert_allclose(size[0, :96], 40, rtol=1e-5)
    np.testing.assert_allclose(size[0, -1], 160, rtol=1e-5)


def test_biases_of_the_outputs_and_norms_are_not_decayed(model):
    for key, parameter in trained(model):
        plain = parameter.regularizer is None
        assert plain == (key.endswith("weight") and ".bn." not in key), key


def test_norms_of_all_parts_have_yoloxs_constants_also_when_synchronized():
    model = detector()
    synchronize_norms(model)
    norms = [part for part in model.sublayers() if isinstance(part, paddle.nn.SyncBatchNorm)]
    assert len(norms) > 50
    assert {(norm._epsilon, norm._momentum) for norm in norms} == {(1e-3, 0.97)}
    alone = CSPDarkNet(width_mult=0.125).stem.conv.bn
    assert (alone._epsilon, alone._momentum) == (1e-5, 0.9)


# Training


def test_training_gives_all_terms_and_gradients(model):
    model.train()
    terms = model(train_batch(epoch_id=np.array([285])))
    assert set(terms) == {"loss_cls", "loss_obj", "loss_iou", "loss_l1", "loss"}
    values = {key: float(value) for key, value in terms.items()}
    total = values["loss_cls"] + values["loss_obj"] + 5 * values["loss_iou"] + values["loss_l1"]
    assert values["loss"] == pytest.approx(total, rel=1e-5)
    assert min(values.values()) > 0
    terms["loss"].backward()
    for key, parameter in trained(model):
        assert np.isfinite(parameter.grad.numpy()).all(), key
    model.clear_gradients()


def test_l1_begins_with_its_epoch(model):
    without = terms_of(model, train_batch())
    before = terms_of(model, train_batch(epoch_id=np.array([284])))
    after = terms_of(model, train_batch(epoch_id=np.array([285])))
    assert without["loss_l1"] == before["loss_l1"] == 0 < after["loss_l1"]
    assert after["loss_iou"] == pytest.approx(before["loss_iou"])


def test_objectness_alone_is_left_without_objects(model):
    batch = train_batch()
    batch["gt_bbox"][0] = batch["gt_bbox"][0][:0]
    batch["gt_class"][0] = batch["gt_class"][0][:0]
    terms = terms_of(model, batch)
    cells = 2 * (96 + 24 + 6)
    assert terms["loss_obj"] == pytest.approx(-cells * math.log(0.99), rel=1e-4)
    assert terms["loss_cls"] == terms["loss_iou"] == 0
    assert terms["loss"] == terms["loss_obj"]


def test_loss_of_a_single_cell_by_hand():
    raw = np.zeros((1, 5 + CLASSES, 1, 1), np.float32)
    raw[0, 2:5, 0, 0] = math.log(2), math.log(2), 0.3  # 64 x 64 pixels round (0, 0)
    output = paddle.to_tensor(raw, stop_gradient=False)
    batch = {
        "gt_bbox": paddle.to_tensor([[[0.0, 0.0, 32.0, 32.0]]]),
        "gt_class": paddle.to_tensor([[[1]]]),
        "epoch_id": np.array([1]),
    }
    loss = YOLOXLoss(l1_epoch=1, loss_weight={"l1": 2.0})
    terms = {key: float(value) for key, value in loss([output], batch, [32]).items()}
    iou = 0.25
    assert terms["loss_iou"] == pytest.approx(1 - iou**2)
    assert terms["loss_obj"] == pytest.approx(math.log(1 + math.exp(-0.3)), rel=1e-5)
    assert terms["loss_cls"] == pytest.approx(CLASSES * math.log(2), rel=1e-5)
    assert terms["loss_l1"] == pytest.approx(2)  # left and top are a cell off
    total = terms["loss_cls"] + terms["loss_obj"] + 5 * terms["loss_iou"] + 2 * 2
    assert terms["loss"] == pytest.approx(total)
    loss([output], batch, [32])["loss"].backward()
    gradient = output.grad.numpy()[0, 5:, 0, 0]
    np.testing.assert_allclose(gradient, [0.5, 0.5 - iou, 0.5], rtol=1e-5)


def test_wild_outputs_of_other_cells_do_no_harm():
    raw = np.zeros((1, 5 + CLASSES, 4, 4), np.float32)
    raw[0, 2:4, 3, 3] = 1000.0  # its exponential is infinite
    output = paddle.to_tensor(raw, stop_gradient=False)
    batch = {
        "gt_bbox": [paddle.to_tensor([[0.0, 0.0, 12.0, 12.0]])],
        "gt_class": [paddle.to_tensor([[1]])],
        "epoch_id": np.array([300]),
    }
    terms = YOLOXLoss()([output], batch, [8])
    assert all(np.isfinite(float(value)) for value in terms.values())
    terms["loss"].backward()
    assert np.isfinite(output.grad.numpy()).all()


def test_losses_stay_float32_under_mixed_precision(model):
    model.train()
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        terms = model(train_batch())
    assert {value.dtype for value in terms.values()} == {paddle.float32}
    terms["loss"].backward()
    model.clear_gradients()


# Training sizes


def test_sizes_are_the_same_for_ten_iterations_and_in_every_process(model):
    sizes = [model.training_size(*SIZE, seed=7, iteration=i) for i in range(400)]
    assert sizes == [model.training_size(*SIZE, seed=7, iteration=i) for i in range(400)]
    assert all(len(set(sizes[i : i + 10])) == 1 for i in range(0, 400, 10))
    assert set(sizes) == {(64, 96), (96, 128), (128, 192)}  # 1.5 times 3 is 4, or 5
    other = [model.training_size(*SIZE, seed=8, iteration=i) for i in range(400)]
    assert other != sizes


def test_images_and_boxes_are_resized_together(model, monkeypatch):
    seen = {}
    monkeypatch.setattr(model.head, "get_loss", lambda raw, batch: seen.update(batch, raw=raw))
    model.train()
    iterations = {model.training_size(*SIZE, 0, i): i for i in range(0, 200, 10)}
    batch = train_batch(iteration=np.array([iterations[(128, 192)]]), seed=np.array([0]))
    batch["image"][:] = 0
    batch["image"][:, :, :, 48:] = 255  # the right half
    model(batch)
    assert seen["image"].shape == [2, 3, 128, 192]
    assert seen["raw"][0].shape[2:] == [16, 24]
    np.testing.assert_allclose(seen["gt_bbox"][0].numpy(), batch["gt_bbox"][0] * 2)
    image = seen["image"].numpy()
    assert (image[..., :95] == 0).all() and (image[..., 97:] == 255).all()

    stacked = {**batch, "gt_bbox": np.ones((2, 1, 4), np.float32)}
    stacked["gt_class"] = np.ones((2, 1, 1), np.int32)
    stacked["iteration"] = np.array([iterations[(96, 128)]])
    model(stacked)
    assert seen["image"].shape == [2, 3, 96, 128]
    np.testing.assert_allclose(seen["gt_bbox"].numpy()[0, 0], [128 / 96, 1.5] * 2, rtol=1e-6)


def test_without_iteration_or_range_the_readers_size_stays(model, monkeypatch):
    seen = {}
    fixed = detector(size_range=None)
    place = {"iteration": np.array([30]), "seed": np.array([0])}
    assert model.training_size(*SIZE, 0, 30) != SIZE
    for which, more in ((model, {}), (fixed, place)):
        monkeypatch.setattr(which.head, "get_loss", lambda raw, batch: seen.update(batch))
        which.train()
        which(train_batch(**more))
        assert seen.pop("image").shape[2:] == list(SIZE)


# Evaluation


def test_evaluation_gives_detections_beyond_the_borders_too(model):
    model.eval()
    inputs = {
        "image": images(),
        "im_shape": np.float32([SIZE] * 2),
        "scale_factor": np.float32([[0.5, 0.5], [1, 0.25]]),
    }
    outputs = model(inputs)
    assert set(outputs) == {"bbox", "bbox_num"}
    bbox, counts = outputs["bbox"].numpy(), outputs["bbox_num"].numpy()
    assert bbox.shape == (counts.sum(), 6)
    assert bbox[:, 2:].min() < 0 and bbox[:, 4].max() > 96 * 4


@pytest.mark.parametrize("size", [(60, 96), (64, 80)])
def test_sizes_that_do_not_fit(model, size):
    model.eval()
    with pytest.raises(ConfigError, match=f"network input of {size[0]} x {size[1]}.*multiples of"):
        model.raw_outputs(paddle.to_tensor(images(size=size)))


def test_exported_graph_equals_the_model(tmp_path):
    paddle.seed(3)
    model = detector(nms=MultiClassNMS(0.001, keep_top_k=50, nms_threshold=0.65))
    rng = np.random.default_rng(0)
    for branch in (*model.head.conv_cls, *model.head.conv_reg):
        weight = branch[-1].weight
        weight.set_value(rng.normal(0, 2, weight.shape).astype(np.float32))
    model.eval()
    shapes = {"image": [None, 3, *SIZE], "scale_factor": [None, 2]}
    assert tuple(shapes) == model.inference_inputs
    specs = {name: paddle.static.InputSpec(shapes[name], "float32", name) for name in shapes}
    inputs = {n: [images(n), np.full((n, 2), 0.5, np.float32)] for n in (1, 3)}
    expected = {n: model(dict(zip(shapes, inputs[n]))) for n in inputs}
    static = paddle.jit.to_static(model, input_spec=[specs], full_graph=True)
    paddle.jit.save(static, str(tmp_path / "model"))
    loaded = paddle.jit.load(str(tmp_path / "model"))
    for batch, wanted in expected.items():
        bbox, counts = loaded(*map(paddle.to_tensor, inputs[batch]))
        np.testing.assert_array_equal(counts.numpy(), wanted["bbox_num"].numpy())
        np.testing.assert_allclose(bbox.numpy(), wanted["bbox"].numpy(), rtol=1e-4, atol=1e-3)


# Configurations


def test_defaults_and_from_config():
    small = {"num_classes": CLASSES, "width_mult": 0.125, "depth_mult": 0.33}
    model = create("YOLOX", Config({**small, "act": "relu", "YOLOX": {}}))
    assert model.head.num_classes == CLASSES
    assert [level.stride for level in model.head.levels] == [8, 16, 32]
    assert [shape.channels for shape in model.neck.out_shape] == [32, 64, 128]
    convolutions = [part for part in model.sublayers() if hasattr(part, "_activation")]
    assert {part._activation for part in convolutions} == {paddle.nn.functional.relu}
    assert set(model.state_dict()) == set(detector().state_dict())


def test_another_number_of_levels():
    sections = {"CSPDarkNet": {"return_idx": [3, 4]}, "width_mult": 0.125, "depth_mult": 0.33}
    model = create("YOLOX", Config({"num_classes": CLASSES, **sections}))
    assert [level.stride for level in model.head.levels] == [16, 32]
    assert terms_of(model, train_batch())["loss"] > 0


@pytest.mark.parametrize(
    "section, arguments, message",
    [
        ("CSPDarkNet", {"arch": "Y"}, "arch: found 'Y', allowed: 'X' or 'P5'"),
        ("CSPDarkNet", {"return_idx": [0, 5]}, r"return_idx: found \[0, 5\], allowed: numbers 1"),
        ("CSPDarkNet", {"return_idx": [3, 2]}, r"return_idx: found \[3, 2\]"),
        ("CSPDarkNet", {"width_mult": 0.01}, "width_mult: found 0.01, allowed: 0.03125 or more"),
        ("CSPDarkNet", {"act": "silo"}, "act: found 'silo', allowed"),
        ("YOLOX", {"size_stride": 48}, "size_stride: found 48, allowed: multiples of 32"),
        ("YOLOX", {"size_range": [20, 10]}, r"size_range: found \[20, 10\], allowed"),
        ("YOLOXHead", {"loss_weight": {"box": 1.0}}, r"loss_weight: found \['box'\], allowed: cls"),
        ("YOLOXHead", {"num_classes": 0}, "num_classes: found 0, allowed: 1 to 100000"),
    ],
)
def test_wrong_settings_are_named(section, arguments, message):
    with pytest.raises(ConfigError, match=message):
        create("YOLOX", Config({"width_mult": 0.125, "depth_mult": 0.33, section: arguments}))


def test_a_head_for_other_levels():
    with pytest.raises(ConfigError, match=r"in_channels: found \[32, 64\], allowed: one per level"):
        YOLOXHead(in_channels=[32, 64])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_list", [True, False])
def test_boxes_that_are_not_finite_are_refused(value, is_list):
    boxes = np.float32([[[0, 0, 8, 8], [1, 2, value, 4]]])
    with pytest.raises(DataError, match=r"gt_bbox of the batch: found \[1.0, 2.0, (nan|-?inf), 4"):
        as_tensors({"gt_bbox": list(boxes) if is_list else boxes})


@pytest.mark.parametrize("boxes", [[], [[3, 3, 3, 9]], [[3, 3, 9, 3], [5, 5, 5, 5]]])
def test_objects_without_area_train_as_background(boxes):
    model = create("YOLOX", Config({"width_mult": 0.0625, "depth_mult": 0.33, "num_classes": 3}))
    model.train()
    boxes = np.float32(boxes).reshape(-1, 4)
    batch = {"image": np.zeros((1, 3, 64, 96), np.float32), "gt_class": [np.zeros((len(boxes), 1))]}
    losses = model({**batch, "gt_bbox": [boxes]})
    losses["loss"].backward()
    assert losses["loss_cls"].item() == losses["loss_iou"].item() == 0 < losses["loss_obj"].item()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters() if p.grad is not None)
