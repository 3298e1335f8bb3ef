"""Models of the reference set with their generated weights, built once for all golden tests."""

import json

import numpy as np
import paddle
import pytest

from ppdet_lite.modeling.backbones.resnet import ResNet
from ppdet_lite.modeling.detectors.yolov3 import YOLOv3
from ppdet_lite.modeling.heads.yolov3_head import YOLOv3Head
from ppdet_lite.modeling.losses.iou_loss import IouAwareLoss, IouLoss
from ppdet_lite.modeling.losses.yolov3_loss import YOLOv3Loss
from ppdet_lite.modeling.necks.ppyolo_fpn import PPYOLOFPN
from ppdet_lite.modeling.necks.ppyolo_pan import PPYOLOPAN
from ppdet_lite.modeling.post_process import BBoxPostProcess, MatrixNMS, YOLOBox

TRAINABLE = {"variant": "d", "freeze_at": -1, "freeze_norm": False}


def _backbone_and_neck(name):
    if name == "ppyolo_r18vd_coco":
        neck = PPYOLOFPN([256, 512], conv_block_num=0, drop_block=True)
        return ResNet(18, return_idx=[2, 3], **TRAINABLE), neck
    backbone = ResNet(50, return_idx=[1, 2, 3], dcn_v2_stages=[3], **TRAINABLE)
    if name == "ppyolo_r50vd_dcn_1x_coco":
        return backbone, PPYOLOFPN(coord_conv=True, drop_block=True, spp=True)
    return backbone, PPYOLOPAN(drop_block=True, spp=True)


def _build(name, settings):
    backbone, neck = _backbone_and_neck(name)
    anchors = [tuple(a) for level in settings["anchors_per_level"] for a in level]
    iou_aware = settings["iou_aware"]
    loss = YOLOv3Loss(
        ignore_thresh=settings["ignore_thresh"],
        iou_loss=IouLoss(**settings["iou_loss"]),
        iou_aware_loss=IouAwareLoss(settings["iou_aware_loss_weight"]) if iou_aware else None,
    )
    head = YOLOv3Head(
        [shape.channels for shape in neck.out_shape],
        anchors,
        [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(len(anchors) // 3)],
        loss=loss,
        iou_aware=iou_aware,
        iou_aware_factor=settings["iou_aware_factor"] if iou_aware else 0.4,
        scale_x_y=settings["scale_x_y"],
        strides=settings["strides"],
    )
    nms = MatrixNMS(**{k: v for k, v in settings["nms"].items() if k != "type"})
    return YOLOv3(
        backbone, neck, head, BBoxPostProcess(decode=YOLOBox(**settings["decode"]), nms=nms)
    )


@pytest.fixture(scope="session")
def golden_description(golden):
    """Name of a config -> its state-dict file's content."""
    return lambda name: json.loads((golden / "state_dict" / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def golden_model(golden, golden_fill, golden_description):
    """Name of a config -> (model in evaluation mode, its filled state dict)."""
    built = {}

    def get(name):
        if name not in built:
            description = golden_description(name)
            model = _build(name, description["settings"])
            with np.load(golden / "stats" / f"{name}.npz") as stats:
                state = golden_fill.fill_state(description["shapes"], stats)
            built[name] = model, state
            load(model, state)
        model, state = built[name]
        model.eval()
        return model, state

    return get


def load(model, state):
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in state.items()})


@pytest.fixture(scope="session")
def reload_state():
    """Puts numpy values into a model."""
    return load
