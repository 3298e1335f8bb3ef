"""Settings of the model: values replaced in the sections of small detectors that are built."""

import yaml

from ppdet_lite.core.workspace import load_config
from ppdet_lite.modeling.build_detector import build_detector
from tests.fuzz.harness import Trial
from tests.fuzz.mutations import damage_value

LIMITS = (30, 3000)

HEAD = {
    "YOLOv3Head": {
        "anchors": [[10, 13], [30, 61], [116, 90]],
        "anchor_masks": [[1, 2], [0]],
        "loss": "YOLOv3Loss",
        "iou_aware": True,
        "iou_aware_factor": 0.5,
        "scale_x_y": 1.05,
    },
    "YOLOv3Loss": {
        "ignore_thresh": 0.7,
        "label_smooth": True,
        "downsample": [8, 4],
        "scale_x_y": 1.05,
        "iou_loss": {"name": "IouLoss", "loss_weight": 2.5, "giou": True},
        "iou_aware_loss": {"name": "IouAwareLoss", "loss_weight": 1.0},
    },
    "BBoxPostProcess": {
        "decode": {"name": "YOLOBox", "conf_thresh": 0.01, "downsample_ratio": 8},
        "nms": {"name": "MatrixNMS", "keep_top_k": 100, "post_threshold": 0.1, "nms_top_k": -1},
    },
    "norm_type": "sync_bn",
    "num_classes": 3,
    "width_mult": 0.0625,
}
DETECTORS = [
    {
        **HEAD,
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "ResNet", "neck": "PPYOLOPAN", "yolo_head": "YOLOv3Head"},
        "ResNet": {
            "depth": 18,
            "variant": "d",
            "num_stages": 2,
            "return_idx": [0, 1],
            "dcn_v2_stages": [1],
            "lr_mult_list": [1.0, 1.0],
            "freeze_at": 0,
        },
        "PPYOLOPAN": {"act": "mish", "conv_block_num": 2, "drop_block": True, "spp": True},
    },
    {
        **HEAD,
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "DarkNet", "neck": "PPYOLOFPN", "yolo_head": "YOLOv3Head"},
        "DarkNet": {"num_stages": 3, "return_idx": [1, 2], "freeze_at": 0, "norm_decay": 0.0},
        "PPYOLOFPN": {
            "coord_conv": True,
            "conv_block_num": 0,
            "drop_block": True,
            "spp": True,
            "block_size": 3,
            "keep_prob": 0.9,
        },
    },
    {
        **HEAD,
        "architecture": "YOLOv3",
        "YOLOv3": {"backbone": "MobileNetV3", "neck": "PPYOLOTinyFPN", "yolo_head": "YOLOv3Head"},
        "MobileNetV3": {
            "model_name": "large",
            "scale": 0.5,
            "feature_maps": [3, 5],
            "conv_decay": 0.0,
            "lr_mult_list": [1.0, 0.5],
            "freeze_norm": False,
        },
        "PPYOLOTinyFPN": {"detection_block_channels": [16, 8], "spp": True, "drop_block": True},
    },
    {
        "architecture": "YOLOX",
        "num_classes": 3,
        "width_mult": 0.0625,
        "depth_mult": 0.33,
        "act": "silu",
        "YOLOX": {
            "backbone": "CSPDarkNet",
            "neck": "YOLOCSPPAN",
            "head": "YOLOXHead",
            "size_stride": 32,
            "size_range": [15, 25],
        },
        "CSPDarkNet": {"arch": "X", "return_idx": [3, 4], "depthwise": True},
        "YOLOCSPPAN": {"depthwise": True},
        "YOLOXHead": {
            "l1_epoch": 285,
            "depthwise": True,
            "feat_channels": 64,
            "loss_weight": {"cls": 1.0, "obj": 1.0, "iou": 5.0, "l1": 1.0},
            "assigner": {"name": "SimOTAAssigner", "candidate_topk": 10, "center_radius": 2.5},
            "nms": {"name": "MultiClassNMS", "nms_top_k": 1000, "nms_threshold": 0.65},
        },
    },
]


def prepare(folder):
    """Builds each detector undamaged, which also imports what a trial needs."""
    for i, sections in enumerate(DETECTORS):
        (folder / f"{i}.yml").write_text(yaml.safe_dump(sections))
        build_detector(load_config(folder / f"{i}.yml"))


def trial(rnd, folder):
    """A damaged `model.yml`."""
    path = folder / "model.yml"
    content, label = damage_value(rnd, rnd.choice(DETECTORS))
    path.write_bytes(yaml.dump(content, sort_keys=False).encode("utf-8", "surrogatepass"))
    return Trial(label, lambda: build_detector(load_config(path)), ("model.yml",))
