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

FILES = {
    "ppyolo/ppyolo_mbv3_large_coco": MBV3_LARGE,
    "ppyolo/ppyolo_tiny_650e_coco": TINY,
    "yolov3/yolov3_darknet53_270e_coco": DARKNET,
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
