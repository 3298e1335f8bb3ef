"""The whole detector, small: both modes, degenerate input, configs, exported graphs."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create
from ppdet_lite.modeling.backbones.resnet import ResNet
from ppdet_lite.modeling.detectors.yolov3 import YOLOv3
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.losses.iou_loss import IouAwareLoss, IouLoss
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss
from ppdet_lite.modeling.necks.fpn import PPYOLOFPN
from ppdet_lite.modeling.necks.ppyolo_pan import PPYOLOPAN
from ppdet_lite.modeling.post_process.box_decoders import BBoxPostProcess, YOLOBox
from ppdet_lite.modeling.post_process.nms_layers import MatrixNMS, MultiClassNMS

CLASSES = 3
SIZE = (96, 128)
SCALE = 1.05


def _backbone(width_mult=0.125, **arguments):
    arguments = {"return_idx": [1, 2, 3], "dcn_v2_stages": [3], **arguments}
    settings = {"variant": "d", "freeze_at": -1, "freeze_norm": False, "width_mult": width_mult}
    return ResNet(18, **settings, **arguments)


def _pan_detector(nms=None):
    """PP-YOLOv2 with few channels."""
    backbone = _backbone()
    channels = [shape.channels for shape in backbone.out_shape]
    neck = PPYOLOPAN(channels, spp=True, drop_block=True, width_mult=0.125)
    loss = YOLOv3Loss(CLASSES, iou_loss=IouLoss(), iou_aware_loss=IouAwareLoss(), scale_x_y=SCALE)
    channels = [shape.channels for shape in neck.out_shape]
    head = YOLOv3Head(channels, num_classes=CLASSES, loss=loss, iou_aware=True)
    nms = MatrixNMS(score_threshold=0.01, post_threshold=0.01) if nms is None else nms
    return YOLOv3(backbone, neck, head, BBoxPostProcess(CLASSES, YOLOBox(CLASSES), nms))


def _fpn_detector():
    """PP-YOLO R18 with CoordConv and SPP, on two levels, with greedy NMS."""
    backbone = _backbone(return_idx=[2, 3])
    channels = [shape.channels for shape in backbone.out_shape]
    neck = PPYOLOFPN(channels, conv_block_num=0, coord_conv=True, spp=True)
    channels = [shape.channels for shape in neck.out_shape]
    head = YOLOv3Head(channels, anchor_masks=[[3, 4, 5], [0, 1, 2]], num_classes=CLASSES)
    nms = MultiClassNMS(score_threshold=0.01)
    return YOLOv3(backbone, neck, head, BBoxPostProcess(CLASSES, YOLOBox(CLASSES), nms))


def _image(batch=2):
    rng = np.random.default_rng(0)
    return paddle.to_tensor(rng.standard_normal((batch, 3, *SIZE)).astype(np.float32))


def _eval_inputs(batch=2):
    return {
        "image": _image(batch),
        "im_shape": paddle.to_tensor([list(map(float, SIZE))] * batch),
        "scale_factor": paddle.to_tensor([[0.5, 0.5], [0.25, 0.5]][:batch]),
    }


def _train_inputs(batch=2):
    inputs = {"image": _image(batch), "gt_bbox": paddle.zeros([batch, 10, 4])}
    for i, stride in enumerate((32, 16, 8)):
        shape = [batch, 3, 6 + CLASSES, SIZE[0] // stride, SIZE[1] // stride]
        inputs[f"target{i}"] = paddle.zeros(shape)
    inputs["gt_bbox"][0, 0] = paddle.to_tensor([0.5, 0.5, 0.6, 0.7])
    values = paddle.to_tensor([0.0, 0.5, -0.1, 0.2, 1.58, 1.0, 0.0, 1.0, 0.0])
    inputs["target1"][0, 1, :, 3, 4] = values
    return inputs


@pytest.fixture(scope="module")
def pan_detector():
    paddle.seed(0)
    return _pan_detector()


def test_training_gives_all_terms_and_gradients(pan_detector):
    pan_detector.train()
    terms = pan_detector(_train_inputs())
    names = ["loss_xy", "loss_wh", "loss_iou", "loss_iou_aware", "loss_obj", "loss_cls"]
    assert set(terms) == {*names, "loss"}
    total = sum(float(terms[name]) for name in names)
    assert float(terms["loss"]) == pytest.approx(total, rel=1e-5)
    assert all(float(terms[name]) > 0 for name in names)
    terms["loss"].backward()
    for name, parameter in pan_detector.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None, name
            assert np.isfinite(parameter.grad.numpy()).all(), name
    pan_detector.clear_gradients()


def test_batch_without_any_object_trains(pan_detector):
    pan_detector.train()
    inputs = _train_inputs()
    for key in inputs:
        if key != "image":
            inputs[key] = paddle.zeros_like(inputs[key])
    terms = pan_detector(inputs)
    assert float(terms["loss"]) == pytest.approx(float(terms["loss_obj"]))
    terms["loss"].backward()
    pan_detector.clear_gradients()


def test_evaluation_gives_detections_inside_the_originals(pan_detector):
    pan_detector.eval()
    with paddle.no_grad():
        outputs = pan_detector(_eval_inputs())
    assert set(outputs) == {"bbox", "bbox_num"}
    bbox, counts = outputs["bbox"].numpy(), outputs["bbox_num"].numpy()
    assert bbox.shape == (counts.sum(), 6)
    assert (counts == 100).all()  # untrained: full up
    assert set(np.unique(bbox[:, 0])) <= set(range(CLASSES))
    first, second = bbox[: counts[0]], bbox[counts[0] :]
    assert (bbox[:, 2:4] >= 0).all()
    assert (first[:, 4:] <= [255, 191]).all()
    assert (second[:, 4:] <= [255, 383]).all()
    assert second[:, 5].max() > 191  # 96 rows at a quarter of the original size


def test_steps_in_between_give_the_same(pan_detector):
    pan_detector.eval()
    inputs = _eval_inputs()
    with paddle.no_grad():
        raw = pan_detector.raw_outputs(inputs["image"])
        boxes, scores = pan_detector.decode(raw, inputs["im_shape"], inputs["scale_factor"])
        bbox, counts, _ = pan_detector.post_process.nms(boxes, scores)
        outputs = pan_detector(inputs)
    assert [r.shape for r in raw] == [[2, 27, 3, 4], [2, 27, 6, 8], [2, 27, 12, 16]]
    cells = 3 * (3 * 4 + 6 * 8 + 12 * 16)
    assert boxes.shape == [2, cells, 4]
    assert scores.shape == [2, CLASSES, cells]
    np.testing.assert_array_equal(bbox.numpy(), outputs["bbox"].numpy())
    np.testing.assert_array_equal(counts.numpy(), outputs["bbox_num"].numpy())


def test_weights_that_are_not_numbers_give_no_detections():
    paddle.seed(0)
    model = _pan_detector()
    model.eval()
    state = {key: paddle.full_like(value, np.nan) for key, value in model.state_dict().items()}
    model.set_state_dict(state)
    with paddle.no_grad():
        outputs = model(_eval_inputs())
    assert outputs["bbox"].shape == [0, 6]
    assert outputs["bbox_num"].tolist() == [0, 0]


def test_half_precision_training_step(pan_detector):
    pan_detector.train()
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        terms = pan_detector(_train_inputs())
    assert terms["loss"].dtype == paddle.float32
    assert np.isfinite(float(terms["loss"]))
    terms["loss"].backward()
    pan_detector.clear_gradients()


def test_decoder_that_contradicts_the_head():
    with pytest.raises(ConfigError, match=r"YOLOBox.scale_x_y is 1.2 but YOLOv3Head.scale_x_y"):
        YOLOv3(
            _backbone(),
            PPYOLOPAN([16, 32, 64], width_mult=0.125),
            YOLOv3Head([128, 64, 32], num_classes=CLASSES, scale_x_y=1.1),
            BBoxPostProcess(CLASSES, YOLOBox(CLASSES, scale_x_y=1.2)),
        )


def _config(**sections):
    content = {
        "architecture": "YOLOv3",
        "num_classes": CLASSES,
        "norm_type": "sync_bn",
        "width_mult": 0.125,
        "YOLOv3": {"backbone": "ResNet", "neck": "PPYOLOPAN"},
        "ResNet": {
            "depth": 18,
            "variant": "d",
            "return_idx": [2, 3],
            "freeze_at": -1,
            "freeze_norm": False,
        },
        "YOLOv3Head": {"anchor_masks": [[3, 4, 5], [0, 1, 2]], "loss": "YOLOv3Loss"},
        "YOLOv3Loss": {"scale_x_y": 1.05, "downsample": [32, 16], "iou_loss": "IouLoss"},
        "IouLoss": {"loss_weight": 3.0},
        "BBoxPostProcess": {
            "decode": {"name": "YOLOBox", "scale_x_y": 1.05, "downsample_ratio": 32},
            "nms": {"name": "MultiClassNMS", "keep_top_k": 7},
        },
    }
    cfg = Config()
    cfg.update({**content, **sections})
    return cfg


def test_from_config():
    model = create("YOLOv3", _config())
    assert [level.stride for level in model.yolo_head.levels] == [32, 16]
    assert [level.scale_x_y for level in model.yolo_head.levels] == [1.05, 1.05]
    assert model.yolo_head.loss.iou_loss.loss_weight == 3.0
    assert model.yolo_head.num_classes == model.post_process.decode.num_classes == CLASSES
    assert model.backbone.out_shape[1].channels == 64
    assert model.neck.out_shape[0].channels == 128
    model.eval()
    with paddle.no_grad():
        assert model(_eval_inputs())["bbox_num"].tolist() == [7, 7]


def test_strides_follow_the_backbone():
    loss = {"downsample": [16, 8]}
    backbone = {"depth": 18, "variant": "d", "return_idx": [1, 2]}
    decode = {"decode": {"name": "YOLOBox"}}
    model = create("YOLOv3", _config(ResNet=backbone, YOLOv3Loss=loss, BBoxPostProcess=decode))
    assert [level.stride for level in model.yolo_head.levels] == [16, 8]
    with pytest.raises(ConfigError, match=r"YOLOv3Loss.downsample is \[32, 16\] but YOLOv3Head"):
        create("YOLOv3", _config(ResNet=backbone))


def test_two_models_side_by_side():
    one = create("YOLOv3", _config())
    two = create("YOLOv3", _config(num_classes=5))
    assert one.yolo_head.yolo_output[0].weight.shape[0] == 3 * 8
    assert two.yolo_head.yolo_output[0].weight.shape[0] == 3 * 10


def test_anchor_mistake_names_section_and_key():
    with pytest.raises(ConfigError, match=r"YOLOv3Head: anchor_masks: found \[\[0, 1, 2\]\]"):
        create("YOLOv3", _config(YOLOv3Head={"anchor_masks": [[0, 1, 2]]}))


def _predict(folder, inputs, onednn):
    from paddle import inference

    graph = folder / "model.json"
    if not graph.exists():  # Paddle 2
        graph = folder / "model.pdmodel"
    config = inference.Config(str(graph), str(folder / "model.pdiparams"))
    config.disable_glog_info()
    config.disable_gpu()
    if onednn:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
    predictor = inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name].numpy())
    predictor.run()
    outputs = [predictor.get_output_handle(n).copy_to_cpu() for n in predictor.get_output_names()]
    return outputs[0], outputs[1]


@pytest.mark.parametrize("build, size", [(_pan_detector, SIZE), (_fpn_detector, (None, None))])
def test_exported_graph_equals_the_model(build, size, tmp_path):
    paddle.seed(0)
    model = build()
    model.eval()
    inputs = _eval_inputs()
    with paddle.no_grad():
        expected = model(inputs)
    spec = {
        "image": paddle.static.InputSpec([None, 3, *size], name="image"),
        "im_shape": paddle.static.InputSpec([None, 2], name="im_shape"),
        "scale_factor": paddle.static.InputSpec([None, 2], name="scale_factor"),
    }
    graph = paddle.jit.to_static(model, input_spec=[spec], full_graph=True)
    paddle.jit.save(graph, str(tmp_path / "model"))
    for onednn in (False, True):
        bbox, counts = _predict(tmp_path, inputs, onednn)
        np.testing.assert_array_equal(counts, expected["bbox_num"].numpy())
        np.testing.assert_allclose(bbox[:, 1], expected["bbox"].numpy()[:, 1], atol=1e-4)
        if not onednn:
            np.testing.assert_allclose(bbox, expected["bbox"].numpy(), atol=1e-2)
