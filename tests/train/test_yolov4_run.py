"""YOLOv4 trains as a whole: it learns one batch by heart, and takes the options of its paper."""

import numpy as np
import paddle
import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.modeling.detectors.yolov4 import NORM_EPSILON
from ppdet_lite.modeling.layers.cross_mini_batch_norm import CrossMiniBatchNorm
from ppdet_lite.modeling.layers.norm import set_norm_constants
from ppdet_lite.train.hooks.layer_progress import LayerProgressHook
from ppdet_lite.train.run import build_trainer

CONFIG = """
_BASE_: [{repo}/configs/yolov4/{name}.yml]
pretrain_weights: null
num_classes: 2
norm_type: bn
use_gpu: false
width_mult: 0.125
seed: 0
epoch: {epochs}
snapshot_epoch: 1000
log_iter: 20
worker_num: 0
accumulate_steps: 1
use_ema: false
save_dir: {out}
report: false
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
               sample_num: 3, allow_empty: true}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
              sample_num: 3}}
LearningRate:
  allow_long_warmup: true
  base_lr: 0.01
  scale_with_batch: false
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [{drop}]}}
    - !LinearWarmup {{start_factor: 0., steps: 10}}
OptimizerBuilder:
  clip_grad_by_norm: 35.
  optimizer: {{type: Adam}}
  regularizer: null
TrainReader:
  sample_transforms:
    - Decode: {{}}
  batch_transforms:
    - BatchRandomResize: {{target_size: 64, random_size: false, random_interp: false}}
    - NormalizeBox: {{}}
    - PadBox: {{num_max_boxes: 10}}
    - BboxXYXY2XYWH: {{}}
    - NormalizeImage: {{mean: [0., 0., 0.], std: [1., 1., 1.], is_scale: true}}
    - Permute: {{}}
  batch_size: 3
EvalReader:
  sample_transforms:
    - Decode: {{}}
    - Resize: {{target_size: [64, 64], keep_ratio: false, interp: 1}}
    - NormalizeImage: {{mean: [0., 0., 0.], std: [1., 1., 1.], is_scale: true}}
    - Permute: {{}}
"""


@pytest.fixture
def config(repo, tiny_coco, tmp_path):
    """Name of a shipped configuration, epochs and overrides -> the small configuration."""

    def make(name, epochs, *overrides):
        path = tmp_path / "small.yml"
        places = {"repo": repo, "out": tmp_path / "out", "data": tiny_coco}
        drop = max(1, epochs * 3 // 4)
        path.write_text(CONFIG.format(name=name, epochs=epochs, drop=drop, **places))
        return load_config(path, overrides)

    return make


TRUE_GRADIENT = "YOLOv4Loss.box_loss=IouBoxLoss"  # learns by heart in fewer steps


@pytest.mark.parametrize(
    "name, epochs, least, overrides",
    [
        ("yolov4_cspdarknet53_coco", 60, 0.9, [TRUE_GRADIENT]),
        ("yolov4_tiny_coco", 60, 0.9, [TRUE_GRADIENT, "YOLOv4Loss.iou_thresh=0.213"]),
        ("yolov4_tiny_coco", 100, 0.9, ["YOLOv4Loss.iou_thresh=0.213"]),
        # Squared errors of probabilities learn more slowly.
        (
            "yolov4_csp_coco",
            100,
            0.6,
            ["LearningRate.base_lr=0.02", "YOLOv4Loss.objectness_smooth=false"],
        ),
    ],
)
def test_one_batch_is_learned_by_heart(config, name, epochs, least, overrides):
    cfg = config(name, epochs, *overrides)
    trainer = build_trainer(cfg, "cpu", SINGLE_PROCESS, evaluate=True)
    # The shipped momentum of 0.99 would need hundreds of steps.
    set_norm_constants(trainer.state.model, NORM_EPSILON, 0.8)
    trainer.run()
    assert trainer.state.last_evaluation["metrics"]["bbox/AP50"] > least


def test_options_of_the_paper_train(config):
    options = ["weighted_residual=relu", "drop_block=true"]
    cfg = config(
        "yolov4_cspdarknet53_coco",
        4,
        *(f"CSPDarknet53.{option}" for option in options),
        *("YOLOv4PAN.sam=true", "YOLOv4PAN.act=mish", "YOLOv4Head.act=mish"),
        *("YOLOv4Loss.label_smooth_eps=0.1", "YOLOv4Loss.focal=true"),
        *("norm_type=cmbn", "accumulate_steps=3", "TrainReader.batch_size=1"),
    )
    trainer = build_trainer(cfg, "cpu", SINGLE_PROCESS)
    layers = trainer.state.model.sublayers()
    norms = [layer for layer in layers if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {type(norm) for norm in norms} == {CrossMiniBatchNorm}
    assert {norm.mini_batches for norm in norms} == {3}
    trainer.run()
    assert trainer.state.iteration == 4
    assert {norm._seen for norm in norms} == {0}  # whole steps
    drops = [layer.progress for layer in layers if hasattr(layer, "progress")]
    assert drops == [1.0, 1.0]
    values = trainer.state.model.state_dict().values()
    assert all(np.isfinite(value.numpy()).all() for value in values)


def test_progress_of_layers(toys):
    seen = []

    class Recorder(LayerProgressHook):
        def after_step(self, run, record):
            super().after_step(run, record)
            seen.append(run.state.model.dropout.progress)

    trainer = toys.trainer([Recorder()], epochs=2, reader=toys.reader(2))
    trainer.state.model.dropout.progress = None
    trainer.run()
    assert seen == [0.25, 0.5, 0.75, 1.0]
