"""Every key of PaddleDetection's PP-YOLO, YOLOv3 and YOLOX files is understood, or named as unused.

The tables hold the keys that those files, and the constructors behind them, have, with a value of
the kind that stands there.
"""

import pytest
import yaml

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.registry import get_class, parameters_of
from ppdet_lite.core.settings import SETTINGS

RUNTIME = """
architecture: YOLOX
metric: VOC
map_type: integral
num_classes: 20
use_gpu: true
use_xpu: false
use_npu: false
use_mlu: false
use_gcu: false
log_iter: 20
save_dir: output
snapshot_epoch: 8
epoch: 365
worker_num: 4
weights: output/a/model_final
pretrain_weights: https://example.com/a.pdparams
norm_type: sync_bn
data_format: NCHW
width_mult: 0.5
depth_mult: 0.33
act: silu
trt: false
exclude_nms: false
exclude_post_process: false
use_ema: true
ema_decay: 0.9998
ema_decay_type: exponential
ema_filter_no_grad: true
find_unused_parameters: true
master_grad: true
amp: false
amp_level: O1
init_loss_scaling: 1024
print_flops: false
print_params: false
output_eval: out
save_prediction_only: false
bias: 1
export: {post_process: true, nms: true, benchmark: false, fuse_conv_bn: false}
"""
SECTIONS = """
LearningRate: {base_lr: 0.01, schedulers: []}
OptimizerBuilder: {clip_grad_by_norm: 35.0, clip_grad_by_value: 1.0,
  optimizer: {type: Momentum, momentum: 0.9, use_nesterov: true},
  regularizer: {type: L2, factor: 0.0005}}
PiecewiseDecay: {gamma: [0.1, 0.01], milestones: [1, 2], values: [1.0, 0.1, 0.01],
  use_warmup: true}
CosineDecay: {max_epochs: 300, use_warmup: true, min_lr_ratio: 0.05, last_plateau_epochs: 15}
LinearWarmup: {steps: 4000, start_factor: 0.0, epochs: 4, epochs_first: true}
ExpWarmup: {steps: 1000, epochs: 5, power: 2}
YOLOv3: {backbone: ResNet, neck: PPYOLOPAN, yolo_head: YOLOv3Head,
  post_process: BBoxPostProcess, data_format: NCHW, for_mot: false}
YOLOX: {backbone: CSPDarkNet, neck: YOLOCSPPAN, head: YOLOXHead, size_stride: 32,
  size_range: [15, 25], input_size: [640, 640], for_mot: false}
ResNet: {depth: 50, variant: d, return_idx: [1, 2, 3], dcn_v2_stages: [3], freeze_at: -1,
  freeze_norm: false, norm_decay: 0.0, norm_type: bn, ch_in: 64,
  lr_mult_list: [1.0, 1.0, 1.0, 1.0], groups: 1, base_width: 64, num_stages: 4,
  std_senet: false, freeze_stem_only: false}
DarkNet: {depth: 53, freeze_at: -1, return_idx: [2, 3, 4], num_stages: 5, norm_type: bn,
  norm_decay: 0.0, freeze_norm: false, data_format: NCHW}
MobileNetV3: {scale: 0.5, model_name: large, feature_maps: [7, 13, 16],
  with_extra_blocks: false, extra_block_filters: [], conv_decay: 0.0, norm_decay: 0.0,
  lr_mult_list: [1.0, 1.0, 1.0, 1.0, 1.0], multiplier: 1.0, norm_type: bn, freeze_norm: false}
CSPDarkNet: {arch: P5, depth_mult: 1.0, width_mult: 1.0, depthwise: false, act: silu,
  trt: false, return_idx: [2, 3, 4]}
YOLOv3FPN: {in_channels: [256, 512, 1024], norm_type: bn, freeze_norm: false, data_format: NCHW}
PPYOLOFPN: {in_channels: [160, 368], norm_type: bn, freeze_norm: false, data_format: NCHW,
  coord_conv: true, conv_block_num: 0, drop_block: true, block_size: 3, keep_prob: 0.9,
  spp: true}
PPYOLOTinyFPN: {in_channels: [80, 56, 34], detection_block_channels: [160, 128, 96],
  norm_type: bn, data_format: NCHW, drop_block: true, block_size: 3, keep_prob: 0.9, spp: true}
PPYOLOPAN: {in_channels: [512, 1024, 2048], norm_type: bn, data_format: NCHW, act: mish,
  conv_block_num: 3, drop_block: true, block_size: 3, keep_prob: 0.9, spp: true}
YOLOCSPPAN: {depth_mult: 1.0, in_channels: [256, 512, 1024], depthwise: true, data_format: NCHW,
  act: silu, trt: false}
YOLOv3Head: {in_channels: [1024, 512, 256], anchors: [[10, 13], [16, 30], [33, 23]],
  anchor_masks: [[0, 1]], num_classes: 80, loss: YOLOv3Loss, iou_aware: true,
  iou_aware_factor: 0.5, data_format: NCHW}
YOLOXHead: {num_classes: 80, width_mult: 1.0, depthwise: false, feat_channels: 256,
  in_channels: [256, 512, 1024], fpn_strides: [8, 16, 32], l1_epoch: 285, act: silu,
  assigner: SimOTAAssigner, nms: MultiClassNMS, trt: false, exclude_nms: false,
  loss_weight: {cls: 1.0, obj: 1.0, iou: 5.0, l1: 1.0}, exclude_post_process: false}
SimOTAAssigner: {center_radius: 2.5, candidate_topk: 10, iou_weight: 3.0, cls_weight: 1.0,
  num_classes: 80, use_vfl: false}
YOLOv3Loss: {num_classes: 80, ignore_thresh: 0.7, label_smooth: false, downsample: [32, 16, 8],
  scale_x_y: 1.05, iou_loss: IouLoss, iou_aware_loss: IouAwareLoss}
IouLoss: {loss_weight: 2.5, giou: false, diou: false, ciou: false, loss_square: true}
IouAwareLoss: {loss_weight: 1.0, giou: false, diou: false, ciou: false}
BBoxPostProcess: {num_classes: 80, decode: {name: YOLOBox}, export_onnx: false,
  nms: {name: MatrixNMS}, export_eb: false}
YOLOBox: {num_classes: 80, conf_thresh: 0.01, downsample_ratio: 32, clip_bbox: true,
  scale_x_y: 1.05}
MatrixNMS: {score_threshold: 0.01, post_threshold: 0.01, nms_top_k: -1, keep_top_k: 100,
  use_gaussian: false, gaussian_sigma: 2.0, normalized: false, background_label: -1}
MultiClassNMS: {score_threshold: 0.01, nms_top_k: 1000, keep_top_k: 100, trt: false,
  nms_threshold: 0.45, normalized: true, nms_eta: 1.0, return_index: false,
  return_rois_num: true, cpu: true, background_label: -1}
"""
DATASETS = """
COCODataSet: {dataset_dir: d, image_dir: i, anno_path: a.json, sample_num: -1,
  data_fields: [image, gt_bbox, gt_class, is_crowd], load_crowd: false, allow_empty: false,
  empty_ratio: 1.0, repeat: 1}
VOCDataSet: {dataset_dir: d, image_dir: i, anno_path: a.txt, sample_num: -1,
  data_fields: [image, difficult], label_list: l.txt, allow_empty: false, empty_ratio: 1.0,
  repeat: 1}
ImageFolder: {dataset_dir: d, image_dir: i, anno_path: a.json, sample_num: -1,
  use_default_label: false}
"""
TRANSFORMS = """
Decode: {}
Mixup: {alpha: 1.5, beta: 1.5}
RandomDistort: {hue: [-18, 18, 0.5], saturation: [0.5, 1.5, 0.5], count: 4,
  contrast: [0.5, 1.5, 0.5], brightness: [0.5, 1.5, 0.5], random_apply: true,
  random_channel: false, prob: 1.0}
RandomExpand: {ratio: 4.0, prob: 0.5, fill_value: [123.675, 116.28, 103.53]}
RandomCrop: {aspect_ratio: [0.5, 2.0], thresholds: [0.0, 0.1], scaling: [0.3, 1.0],
  num_attempts: 50, allow_no_crop: true, cover_all_box: false, is_mask_crop: false,
  ioumode: iou}
RandomFlip: {prob: 0.5}
Resize: {target_size: [608, 608], keep_ratio: false, interp: 2}
Pad: {size: [640, 640], size_divisor: 32, pad_mode: 0, fill_value: [114.0, 114.0, 114.0],
  offsets: null}
NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true,
  norm_type: mean_std}
Permute: {}
Mosaic: {prob: 1.0, input_dim: [640, 640], degrees: [-10, 10], shear: [-2, 2],
  translate: [-0.1, 0.1], scale: [0.1, 2], enable_mixup: true, mixup_prob: 1.0,
  mixup_scale: [0.5, 1.5]}
AugmentHSV: {fraction: 0.5, is_bgr: false, hgain: 5, sgain: 30, vgain: 30}
PadResize: {target_size: 640, fill_value: 114}
BatchRandomResize: {target_size: [320, 352], keep_ratio: false, interp: 2, random_size: true,
  random_interp: true}
NormalizeBox: {}
PadBox: {num_max_boxes: 50}
BboxXYXY2XYWH: {}
Gt2YoloTarget: {anchors: [[10, 13], [16, 30], [33, 23]], anchor_masks: [[0, 1, 2]],
  downsample_ratios: [32], num_classes: 80, iou_thresh: 0.25}
"""
READER = """
sample_transforms: []
batch_transforms: []
batch_size: 8
shuffle: true
drop_last: true
drop_empty: false
num_classes: 80
collate_batch: false
use_shared_memory: true
mixup_epoch: 250
mosaic_epoch: 285
inputs_def: {num_max_boxes: 50, image_shape: [3, 608, 608]}
"""

# Understood and without effect here; everything else in the tables does something.
UNUSED = set(
    """
    use_xpu use_npu use_mlu use_gcu trt exclude_nms exclude_post_process
    find_unused_parameters print_flops print_params save_prediction_only YOLOv3.data_format
    YOLOv3.for_mot YOLOX.input_size YOLOX.for_mot MobileNetV3.extra_block_filters
    MobileNetV3.multiplier CSPDarkNet.trt YOLOCSPPAN.data_format YOLOCSPPAN.trt
    YOLOXHead.trt YOLOXHead.exclude_nms YOLOXHead.exclude_post_process
    SimOTAAssigner.num_classes BBoxPostProcess.export_onnx BBoxPostProcess.export_eb
    MultiClassNMS.trt MultiClassNMS.return_index MultiClassNMS.return_rois_num
    MultiClassNMS.cpu COCODataSet.data_fields VOCDataSet.data_fields
    """.split()
)


def cases():
    """(id, class or None, key, where it stands in a config)."""
    for key, value in yaml.safe_load(RUNTIME).items():
        yield key, None, key, {key: value}
    for name, keys in yaml.safe_load(SECTIONS).items():
        for key, value in keys.items():
            yield f"{name}.{key}", name, key, {name: {key: value}}
    for name, keys in yaml.safe_load(DATASETS).items():
        for key, value in keys.items():
            yield f"{name}.{key}", name, key, {"TrainDataset": {"name": name, key: value}}
    for name in ("TrainReader", "EvalReader", "TestReader"):
        for key, value in yaml.safe_load(READER).items():
            yield f"{name}.{key}", name, key, {name: {key: value}}
    for name, keys in yaml.safe_load(TRANSFORMS).items():
        for key, value in (keys or {None: None}).items():
            entry = {name: {} if key is None else {key: value}}
            group = "batch_transforms" if name.startswith(("Batch", "Gt2")) else "sample_transforms"
            yield f"{name}.{key}", name, key, {"TrainReader": {group: [entry]}}


CASES = {case[0]: case[1:] for case in cases()}


@pytest.mark.parametrize("case", CASES)
def test_key(case, load):
    name, key, content = CASES[case]
    cfg = load(yaml.safe_dump(content))
    known = SETTINGS if name is None else parameters_of(get_class(name))
    understood = key is None or key in known
    named = [entry for entry in cfg.unused if entry.split(".")[-1] == key]
    assert understood != bool(named)
    assert (case in UNUSED) == bool(named)


REFUSED = {"early_stop": "patience", "slice_infer": "tiles", "cutmix_epoch": "CutMix"}


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_would_change_the_result_is_refused(key, load):
    with pytest.raises(ConfigError, match=f"{key}: found .*allowed: false.*{REFUSED[key]}"):
        load(f"{key}: {10 if key == 'cutmix_epoch' else 'true'}")
    assert load(f"{key}: false").unused == [key]


def test_a_key_that_nobody_has_is_refused(load):
    for case in ("iou_aware_factr", "YOLOv3Head.iou_aware_factr", "RandomFlip.probability"):
        section, _, key = case.rpartition(".")
        content = {key: 1} if not section else {section: {key: 1}}
        with pytest.raises(ConfigError, match=key):
            load(yaml.safe_dump(content))
