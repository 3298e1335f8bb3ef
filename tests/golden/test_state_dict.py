"""Names and shapes of all parameters against the reference."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.build import value_of

YOLOX = ("yolox_s_300e_coco", "yolox_nano_300e_coco")
CONFIGS = (
    "ppyolov2_r50vd_dcn_365e_coco",
    "ppyolo_r50vd_dcn_1x_coco",
    "ppyolo_r18vd_coco",
    "ppyolo_tiny_650e_coco",
    "yolov3_darknet53_270e_coco",
)


@pytest.mark.parametrize("name", CONFIGS + YOLOX)
def test_names_shapes_and_counts(name, golden_model, golden_description):
    description = golden_description(name)
    model, _ = golden_model(name)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == description["shapes"]
    trainable = [p for p in model.parameters() if not p.stop_gradient]
    assert len(trainable) == description["n_trainable_tensors"]
    assert sum(int(np.prod(p.shape)) for p in trainable) == description["n_trainable_elements"]


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_that_the_parts_ended_up_with(name, golden_model, golden_description):
    settings = golden_description(name)["settings"]
    model, _ = golden_model(name)
    head, post_process = model.yolo_head, model.post_process
    assert [[list(a) for a in level.anchors] for level in head.levels] == (
        settings["anchors_per_level"]
    )
    assert [level.stride for level in head.levels] == settings["strides"]
    assert {level.scale_x_y for level in head.levels} == {settings["scale_x_y"]}
    assert head.num_classes == settings["num_classes"]
    assert head.iou_aware == settings["iou_aware"]
    if head.iou_aware:
        assert head.levels[0].iou_aware_factor == settings["iou_aware_factor"]
        assert head.loss.iou_aware_loss.loss_weight == settings["iou_aware_loss_weight"]
    assert head.loss.ignore_thresh == settings["ignore_thresh"]
    assert head.loss.label_smooth == settings["label_smooth"]
    iou_loss = head.loss.iou_loss
    found = iou_loss and {key: getattr(iou_loss, key) for key in settings["iou_loss"]}
    assert found == settings["iou_loss"]
    for key in ("conf_thresh", "clip_bbox"):
        assert getattr(post_process.decode, key) == settings["decode"][key]
    _check_nms_and_norms(model, settings)


@pytest.mark.parametrize("name", YOLOX)
def test_settings_that_the_parts_of_yolox_ended_up_with(
    name, golden_model, golden_description, golden_config
):
    settings = golden_description(name)["settings"]
    model, cfg = golden_model(name)[0], golden_config(name)
    head, loss = model.head, model.head.loss
    assert head.num_classes == settings["num_classes"]
    assert [level.stride for level in head.levels] == settings["strides"]
    assert loss.l1_epoch == settings["l1_epoch"]
    assert loss.loss_weight == settings["loss_weight"]
    assigner = {key: getattr(loss.assigner, key) for key in settings["assigner"]}
    assert assigner == settings["assigner"]
    assert (cfg.depth_mult, cfg.width_mult) == (settings["depth_mult"], settings["width_mult"])
    for part in ("CSPDarkNet", "YOLOCSPPAN", "YOLOXHead"):
        assert value_of(cfg, part, "depthwise") == settings["depthwise"]
    _check_nms_and_norms(model, settings)


def _check_nms_and_norms(model, settings):
    nms = dict(settings["nms"])
    assert type(model.post_process.nms).__name__ == nms.pop("type")
    assert {key: model.post_process.nms.arguments[key] for key in nms} == nms
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {(n._epsilon, n._momentum) for n in norms} == {
        (settings["bn_epsilon"], settings["bn_momentum"])
    }
