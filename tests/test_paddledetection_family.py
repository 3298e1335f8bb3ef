"""Model sections in the words of PaddleDetection's files build the networks of the shipped ones.

PP-YOLOv2 in full, readers included, is in test_configs.py.
"""

from pathlib import Path

import pytest

from ppdet_lite.core.workspace import create, load_config

ROOT = Path(__file__).resolve().parent.parent / "configs"

PARTS = "yolo_head: YOLOv3Head, post_process: BBoxPostProcess"
NINE = "[[6, 7, 8], [3, 4, 5], [0, 1, 2]]"
SIX = "[[3, 4, 5], [0, 1, 2]]"

# The channels of the neck are what those files say; nobody reads them there either.
MBV3_LARGE = f"""
architecture: YOLOv3
norm_type: sync_bn
num_classes: 80
YOLOv3: {{backbone: MobileNetV3, neck: PPYOLOFPN, {PARTS}}}
MobileNetV3:
  model_name: large
  scale: 1.
  with_extra_blocks: false
  extra_block_filters: []
  feature_maps: [13, 16]
PPYOLOFPN: {{in_channels: [160, 368], coord_conv: true, conv_block_num: 0, spp: true,
            drop_block: true}}
YOLOv3Head:
  anchors: &anchors [[11, 18], [34, 47], [51, 126], [115, 71], [120, 195], [254, 235]]
  anchor_masks: &masks {SIX}
  loss: YOLOv3Loss
YOLOv3Loss:
  ignore_thresh: 0.5
  downsample: [32, 16]
  label_smooth: false
  scale_x_y: 1.05
  iou_loss: IouLoss
IouLoss: {{loss_weight: 2.5, loss_square: true}}
BBoxPostProcess:
  decode: {{name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true,
           scale_x_y: 1.05}}
  nms: {{name: MultiClassNMS, keep_top_k: 100, nms_threshold: 0.45, nms_top_k: 1000,
        score_threshold: 0.005}}
TrainReader:
  batch_transforms:
    - Gt2YoloTarget: {{anchor_masks: *masks, anchors: *anchors, downsample_ratios: [32, 16],
                      iou_thresh: 0.25}}
"""

TINY = f"""
architecture: YOLOv3
norm_type: sync_bn
num_classes: 80
YOLOv3: {{backbone: MobileNetV3, neck: PPYOLOTinyFPN, {PARTS}}}
MobileNetV3:
  model_name: large
  scale: .5
  with_extra_blocks: false
  extra_block_filters: []
  feature_maps: [7, 13, 16]
PPYOLOTinyFPN: {{detection_block_channels: [160, 128, 96], spp: true, drop_block: true}}
YOLOv3Head:
  anchors: &anchors [[10, 15], [24, 36], [72, 42], [35, 87], [102, 96], [60, 170],
                     [220, 125], [128, 222], [264, 266]]
  anchor_masks: &masks {NINE}
  loss: YOLOv3Loss
YOLOv3Loss:
  ignore_thresh: 0.5
  downsample: [32, 16, 8]
  label_smooth: false
  scale_x_y: 1.05
  iou_loss: IouLoss
IouLoss: {{loss_weight: 2.5, loss_square: true}}
BBoxPostProcess:
  decode: {{name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true,
           scale_x_y: 1.05}}
  nms: {{name: MultiClassNMS, keep_top_k: 100, nms_threshold: 0.45, nms_top_k: 1000,
        score_threshold: 0.005}}
TrainReader:
  batch_transforms:
    - Gt2YoloTarget: {{anchor_masks: *masks, anchors: *anchors, downsample_ratios: [32, 16, 8]}}
"""

DARKNET = f"""
architecture: YOLOv3
norm_type: sync_bn
num_classes: 80
YOLOv3: {{backbone: DarkNet, neck: YOLOv3FPN, {PARTS}}}
DarkNet: {{depth: 53, return_idx: [2, 3, 4]}}
YOLOv3Head:
  anchors: &anchors [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119],
                     [116, 90], [156, 198], [373, 326]]
  anchor_masks: &masks {NINE}
  loss: YOLOv3Loss
YOLOv3Loss: {{ignore_thresh: 0.7, downsample: [32, 16, 8], label_smooth: false}}
BBoxPostProcess:
  decode: {{name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true}}
  nms: {{name: MultiClassNMS, keep_top_k: 100, score_threshold: 0.01, nms_threshold: 0.45,
        nms_top_k: 1000, cpu: true}}
TrainReader:
  batch_transforms:
    - Gt2YoloTarget: {{anchor_masks: *masks, anchors: *anchors, downsample_ratios: [32, 16, 8]}}
"""

MOBILENET = (
    DARKNET.replace("backbone: DarkNet", "backbone: MobileNet")
    .replace(
        "DarkNet: {depth: 53, return_idx: [2, 3, 4]}",
        "MobileNet: {scale: 1, feature_maps: [4, 6, 13], with_extra_blocks: false, "
        "extra_block_filters: []}",
    )
    .replace("label_smooth: false", "label_smooth: true")
)

# YOLOX-nano with what its users have in it: switches for other hardware and for exports.
YOLOX_NANO = """
architecture: YOLOX
norm_type: sync_bn
use_ema: True
ema_decay: 0.9999 # ema_decay: 0.9998 -> 0.9999
ema_decay_type: "exponential"
act: silu
find_unused_parameters: True
num_classes: 80
depth_mult: 0.33
width_mult: 0.25
YOLOX:
  backbone: CSPDarkNet
  neck: YOLOCSPPAN
  head: YOLOXHead
  input_size: [640, 640]
  size_stride: 32
  size_range: [10, 20] # multi-scale range [320*320 ~ 640*640]
CSPDarkNet:
  arch: "X"
  return_idx: [2, 3, 4]
  depthwise: True
YOLOCSPPAN:
  depthwise: True
YOLOXHead:
  l1_epoch: 285
  depthwise: True
  loss_weight: {cls: 1.0, obj: 1.0, iou: 5.0, l1: 1.0}
  assigner:
    name: SimOTAAssigner
    candidate_topk: 10
    use_vfl: False
  nms:
    name: MultiClassNMS
    nms_top_k: 10000
    keep_top_k: 1000
    score_threshold: 0.001
    nms_threshold: 0.65
    # For speed while keep high mAP, you can modify 'nms_top_k' to 1000 and 'keep_top_k' to 100
epoch: 300
LearningRate:
  base_lr: 0.01
  schedulers:
  - !CosineDecay
    max_epochs: 300
    min_lr_ratio: 0.05
    last_plateau_epochs: 15
  - !ExpWarmup
    epochs: 5
OptimizerBuilder:
  optimizer:
    type: Momentum
    momentum: 0.9
    use_nesterov: True
  regularizer:
    factor: 0.0005
    type: L2
worker_num: 4
TrainReader:
  sample_transforms:
    - Decode: {}
    - Mosaic:
        prob: 0.5 # 1.0 in YOLOX-tiny/s/m/l/x
        input_dim: [640, 640]
        degrees: [-10, 10]
        scale: [0.5, 1.5] # [0.1, 2.0] in YOLOX-s/m/l/x
        shear: [-2, 2]
        translate: [-0.1, 0.1]
        enable_mixup: False # True in YOLOX-s/m/l/x
    - AugmentHSV: {is_bgr: False, hgain: 5, sgain: 30, vgain: 30}
    - PadResize: {target_size: 640}
    - RandomFlip: {}
  batch_transforms:
    - Permute: {}
  batch_size: 8
  shuffle: True
  drop_last: True
  collate_batch: False
  mosaic_epoch: 285
TestReader:
  inputs_def:
    image_shape: [3, 416, 416]
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [416, 416], keep_ratio: True, interp: 1}
    - Pad: {size: [416, 416], fill_value: [114., 114., 114.]}
    - Permute: {}
  batch_size: 1
"""

FILES = {
    "ppyolo/ppyolo_mbv3_large_coco": MBV3_LARGE,
    "ppyolo/ppyolo_tiny_650e_coco": TINY,
    "yolov3/yolov3_darknet53_270e_coco": DARKNET,
    "yolov3/yolov3_mobilenet_v1_roadsign": MOBILENET.replace("num_classes: 80", "num_classes: 4"),
}


def description(cfg) -> dict:
    model = create(cfg.architecture, cfg)
    head, decode = model.yolo_head, model.post_process.decode
    target = create(cfg.TrainReader["batch_transforms"][-1], cfg)
    return {
        "weights": {key: tuple(value.shape) for key, value in model.state_dict().items()},
        "decay": {
            key: p.regularizer and p.regularizer._coeff for key, p in model.named_parameters()
        },
        "levels": head.levels,
        "loss": (head.loss.ignore_thresh, head.loss.label_smooth, head.loss.iou_loss is None),
        "decode": (decode.conf_thresh, decode.clip_bbox),
        "nms": model.post_process.nms.arguments,
        "targets": (target.anchors.tolist(), target.downsample_ratios, target.iou_thresh),
    }


@pytest.mark.parametrize("name", FILES)
def test_the_same_network(name, tmp_path):
    path = tmp_path / "theirs.yml"
    path.write_text(FILES[name], encoding="utf-8")
    narrow = ["width_mult=0.25"]
    theirs, ours = load_config(path, narrow), load_config(ROOT / f"{name}.yml", narrow)
    assert description(theirs) == description(ours)


def yolox_description(cfg) -> dict:
    model = create(cfg.architecture, cfg)
    loss, curve = model.head.loss, create("LearningRate", cfg)
    optimizer = create("OptimizerBuilder", cfg)(0.01, model.parameters())
    train, test = create("TrainReader", cfg), create("TestReader", cfg)
    steps = [*train.sample_transforms, *train.batch_transforms]
    return {
        "weights": {key: tuple(value.shape) for key, value in model.state_dict().items()},
        "sizes": (model.size_stride, model.size_range),
        "loss": (loss.l1_epoch, loss.loss_weight),
        "assigner": plain_values(loss.assigner),
        "nms": model.post_process.nms.arguments,
        "ema": (cfg.use_ema, cfg.ema_decay, cfg.ema_decay_type),
        "rates": [curve.at(i, 100, cfg.epoch) for i in (0, 250, 500, 9000, 28499, 29000)],
        "optimizer": (type(optimizer).__name__, optimizer._momentum, optimizer._use_nesterov),
        "reader": [(type(step).__name__, plain_values(step)) for step in steps],
        "epochs": (cfg.epoch, train.mosaic_epoch, train.collator.collate_batch, train.batch_size),
        "preprocess": test.preprocess_config(),
    }


def plain_values(part) -> dict:
    kinds = (bool, int, float, str, tuple, list)
    public = {key: value for key, value in vars(part).items() if not key.startswith("_")}
    return {key: value for key, value in public.items() if isinstance(value, kinds)}


def test_the_same_yolox(tmp_path):
    path = tmp_path / "theirs.yml"
    path.write_text(YOLOX_NANO, encoding="utf-8")
    theirs = load_config(path)
    ours = load_config(ROOT / "yolox/yolox_nano_300e_coco.yml")
    assert sorted(theirs.unused) == ["YOLOX.input_size", "find_unused_parameters"]
    assert yolox_description(theirs) == yolox_description(ours)
