"""Every shipped configuration: it loads, builds, runs, and its weights survive save and load."""

from functools import cache
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.modeling.heads.yolox_head import YOLOXHead
from ppdet_lite.weights.checkpoint import save_checkpoint
from ppdet_lite.weights.load import load_weights

# PP-YOLOv2 in the words of PaddleDetection's files, all bases in one, with what its users have in
# them: switches for other hardware, and facts that stand twice.
PADDLEDETECTION = """
use_gpu: true
use_xpu: false
use_mlu: false
use_npu: false
use_gcu: false
log_iter: 100
save_dir: output
snapshot_epoch: 8
print_flops: false
print_params: false
find_unused_parameters: true
export: {post_process: True, nms: True, benchmark: False, fuse_conv_bn: False}
metric: COCO
num_classes: 80
TrainDataset:
  !COCODataSet
    image_dir: train2017
    anno_path: annotations/instances_train2017.json
    dataset_dir: dataset/coco
    data_fields: ['image', 'gt_bbox', 'gt_class', 'is_crowd']
TestDataset:
  !ImageFolder
    anno_path: annotations/instances_val2017.json
architecture: YOLOv3
pretrain_weights: https://paddledet.bj.bcebos.com/models/pretrained/ResNet50_vd_ssld_pretrained.pdparams
norm_type: sync_bn
use_ema: true
ema_decay: 0.9998
master_grad: true
weights: output/ppyolov2_r50vd_dcn_365e_coco/model_final
YOLOv3: {backbone: ResNet, neck: PPYOLOPAN, yolo_head: YOLOv3Head, post_process: BBoxPostProcess}
ResNet:
  depth: 50
  variant: d
  return_idx: [1, 2, 3]
  dcn_v2_stages: [3]
  freeze_at: -1
  freeze_norm: false
  norm_decay: 0.
PPYOLOPAN: {drop_block: true, block_size: 3, keep_prob: 0.9, spp: true}
YOLOv3Head:
  anchors: &anchors [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119],
                     [116, 90], [156, 198], [373, 326]]
  anchor_masks: &masks [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
  loss: YOLOv3Loss
  iou_aware: true
  iou_aware_factor: 0.5
YOLOv3Loss:
  ignore_thresh: 0.7
  downsample: [32, 16, 8]
  label_smooth: false
  scale_x_y: 1.05
  iou_loss: IouLoss
  iou_aware_loss: IouAwareLoss
IouLoss: {loss_weight: 2.5, loss_square: true}
IouAwareLoss: {loss_weight: 1.0}
BBoxPostProcess:
  decode: {name: YOLOBox, conf_thresh: 0.01, downsample_ratio: 32, clip_bbox: true, scale_x_y: 1.05}
  nms: {name: MatrixNMS, keep_top_k: 100, score_threshold: 0.01, post_threshold: 0.01,
        nms_top_k: -1, background_label: -1}
epoch: 365
LearningRate:
  base_lr: 0.005
  schedulers:
  - !PiecewiseDecay
    gamma: 0.1
    milestones:
    - 243
  - !LinearWarmup
    start_factor: 0.
    steps: 4000
OptimizerBuilder:
  clip_grad_by_norm: 35.
  optimizer: {momentum: 0.9, type: Momentum}
  regularizer: {factor: 0.0005, type: L2}
worker_num: 8
TrainReader:
  inputs_def: {num_max_boxes: 100}
  sample_transforms:
    - Decode: {}
    - Mixup: {alpha: 1.5, beta: 1.5}
    - RandomDistort: {}
    - RandomExpand: {fill_value: [123.675, 116.28, 103.53]}
    - RandomCrop: {}
    - RandomFlip: {}
  batch_transforms:
    - BatchRandomResize: {target_size: [320, 352, 768], random_size: True, random_interp: True,
                          keep_ratio: False}
    - NormalizeBox: {}
    - PadBox: {num_max_boxes: 100}
    - BboxXYXY2XYWH: {}
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
    - Permute: {}
    - Gt2YoloTarget: {anchor_masks: *masks, anchors: *anchors, downsample_ratios: [32, 16, 8]}
  batch_size: 12
  shuffle: true
  drop_last: true
  mixup_epoch: 25000
  use_shared_memory: true
TestReader:
  inputs_def: {image_shape: [3, 640, 640]}
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [640, 640], keep_ratio: False, interp: 2}
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
    - Permute: {}
  batch_size: 1
"""

ROOT = Path(__file__).resolve().parent.parent / "configs"
PARTS = ("_base_", "datasets")
CONFIGS = sorted(
    path
    for path in ROOT.rglob("*.yml")
    if path.parent.name not in PARTS and path.name != "runtime.yml"
)
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
NOT_OF_THE_NETWORK = ("Reader", "Dataset", "Loss", "Decay", "LearningRate", "OptimizerBuilder")


@cache
def networks() -> dict:
    """One configuration for each network; what is only trained otherwise is left out."""
    found = {}
    for path in CONFIGS:
        cfg = load_config(path, validate=False)
        sections = {key: value for key, value in cfg.items() if key[:1].isupper()}
        for key in [key for key in sections if key.endswith(NOT_OF_THE_NETWORK)]:
            del sections[key]
        shared = [cfg.get(key) for key in ("num_classes", "width_mult", "depth_mult", "act")]
        found.setdefault(repr((sections, shared)), path)
    return found


each_network = pytest.mark.parametrize("path", networks().values(), ids=lambda path: path.stem)

# Millions of trainable parameters with 80 classes: as in the reference state dicts and, for the
# other sizes of YOLOX, as published to one or two decimals; of YOLOv4 as darknet has them, of ASFF
# as its authors' code. R101 is as counted here.
FULL_SIZE = {
    "asff/yolov3_strong_baseline_coco": 75.554428,
    "asff/yolov3_asff_coco": 79.409493,
    "asff/yolov3_asff_star_coco": 86.011821,
    "ppyolo/ppyolov2_r50vd_dcn_365e_coco": 54.58,
    "ppyolo/ppyolov2_r101vd_dcn_365e_coco": 73.57,
    "ppyolo/ppyolo_r18vd_coco": 13.136,
    "ppyolo/ppyolo_tiny_650e_coco": 1.086,
    "yolov3/yolov3_darknet53_270e_coco": 61.949,
    "yolov4/yolov4_cspdarknet53_coco": 64.363101,
    "yolov4/yolov4_csp_coco": 52.921437,
    "yolov4/yolov4_tiny_coco": 6.056606,
    "yolox/yolox_nano_300e_coco": 0.912,
    "yolox/yolox_tiny_300e_coco": 5.056,
    "yolox/yolox_s_300e_coco": 8.968,
    "yolox/yolox_m_300e_coco": 25.326,
    "yolox/yolox_l_300e_coco": 54.209,
    "yolox/yolox_x_300e_coco": 99.071,
}


def inputs(batch: int = 2, side: int = 64) -> dict:
    pixels = np.random.default_rng(0).standard_normal((batch, 3, side, side))
    return {
        "image": paddle.to_tensor(pixels.astype(np.float32)),
        "im_shape": paddle.full([batch, 2], float(side)),
        "scale_factor": paddle.ones([batch, 2]),
    }


@each_network
def test_builds_runs_and_survives_save_and_load(path, tmp_path):
    width = min(0.125, load_config(path).get("width_mult", 1.0))
    cfg = load_config(path, [f"width_mult={width}"])
    models = []
    for seed in (1, 2):
        paddle.seed(seed)
        models.append(create(cfg.architecture, cfg))
        stir(models[-1], seed)
        models[-1].eval()
    first, second = models
    raw = [output.numpy() for output in first.raw_outputs(inputs()["image"])]
    assert [output.shape for output in raw] == output_shapes(first)
    detections = first(inputs())
    assert list(detections["bbox"].shape) == [int(detections["bbox_num"].sum()), 6]

    others = second.raw_outputs(inputs()["image"])
    assert not np.allclose(raw[0], others[0].numpy(), atol=0)
    weights = {key: value.numpy() for key, value in first.state_dict().items()}
    report = load_weights(second, save_checkpoint(str(tmp_path), "weights", weights, {}))
    assert len(report.matched) == len(weights) == len(second.state_dict())
    assert not (report.missing or report.unexpected or report.mismatched)
    for expected, found in zip(raw, second.raw_outputs(inputs()["image"])):
        np.testing.assert_array_equal(expected, found.numpy())


def stir(model, seed: int) -> None:
    """Gives YOLOX's output convolutions weights: they start at 0, so that nothing before them would
    show.
    """
    if not isinstance(getattr(model, "head", None), YOLOXHead):
        return
    rng = np.random.default_rng(seed)
    for branch in (*model.head.conv_cls, *model.head.conv_reg):
        weight = branch[-1].weight
        weight.set_value(rng.normal(0, 0.1, weight.shape).astype(np.float32))


def output_shapes(model) -> list:
    """Of the head's raw outputs for two images of 64 x 64."""
    if isinstance(model, YOLOX):
        head = model.head
        values = 5 + head.num_classes + getattr(head, "iou_aware", False)
        values += hasattr(head, "conv_single")  # without NMS
        anchors = [len(getattr(level, "anchors", [None])) for level in head.levels]
        plan = [(n * values, level.stride) for n, level in zip(anchors, head.levels)]
    else:
        head = model.yolo_head
        values = head.num_classes + (6 if head.iou_aware else 5)
        plan = [
            (
                len(level.anchors) * (values + 2 * level.guided + 4 * level.gaussian),
                level.stride,
            )
            for level in head.levels
        ]
    return [(2, channels, 64 // stride, 64 // stride) for channels, stride in plan]


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_published_models_have_their_size(name):
    cfg = load_config(ROOT / f"{name}.yml")
    model = create(cfg.architecture, cfg)
    count = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
    assert count / 1e6 == pytest.approx(FULL_SIZE[name], abs=0.005)


@each_config
def test_optimizer_and_schedule_build(path):
    cfg = load_config(path)
    layer = paddle.nn.Linear(2, 2)
    schedule = create("LearningRate", cfg)(steps_per_epoch=10, epochs=cfg.epoch)
    optimizer = create("OptimizerBuilder", cfg)(schedule, layer.parameters())
    assert optimizer.get_lr() == schedule()
    assert cfg.LearningRate["reference_batch_size"] >= 1


@each_config
def test_opens_with_its_command_and_hardware(path):
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line)
    text = "\n".join(comment)
    assert "tools/" in text and "Hardware" in text, f"{path} opens with:\n{text}"


def test_a_file_of_paddledetection_loads_as_it_is_and_builds_the_same_model(tmp_path):
    path = tmp_path / "theirs.yml"
    path.write_text(PADDLEDETECTION)
    theirs = load_config(path, ["width_mult=0.125"])
    ours = load_config(ROOT / "ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml", ["width_mult=0.125"])
    without_effect = "TrainDataset.data_fields export.fuse_conv_bn find_unused_parameters "
    without_effect += "print_flops print_params use_gcu use_mlu use_npu use_xpu"
    assert sorted(theirs.unused) == without_effect.split()
    described = []
    for cfg in (theirs, ours):
        model = create(cfg.architecture, cfg)
        described.append(
            {
                "weights": {key: tuple(v.shape) for key, v in model.state_dict().items()},
                "levels": model.yolo_head.levels,
                "nms": model.post_process.nms.arguments,
                "target": create("TrainReader", cfg).batch_transforms[-1].anchors.tolist(),
                "preprocess": create("TestReader", cfg).preprocess_config(),
            }
        )
    assert described[0] == described[1]
