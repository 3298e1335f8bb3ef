"""The whole of it can learn: a narrow ResNet-18 PP-YOLOv2 learns three images by heart."""

from ppdet_lite.core.workspace import load_config
from ppdet_lite.train.run import run_training

CONFIG = """
_BASE_: [{repo}/configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml]
pretrain_weights: null
num_classes: 2
use_gpu: false
width_mult: 0.125
seed: 0
epoch: 120
snapshot_epoch: 1000
log_iter: 20
worker_num: 0
save_dir: {out}
report: false
ResNet: {{depth: 18}}
PPYOLOPAN: {{drop_block: false}}
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
               sample_num: 3}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
              sample_num: 3}}
LearningRate:
  base_lr: 0.02
  scale_with_batch: false
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [90]}}
    - !LinearWarmup {{start_factor: 0., steps: 10}}
TrainReader:
  sample_transforms:
    - Decode: {{}}
  batch_transforms:
    - BatchRandomResize: {{target_size: 96, random_size: false, random_interp: false}}
    - NormalizeBox: {{}}
    - PadBox: {{num_max_boxes: 10}}
    - BboxXYXY2XYWH: {{}}
    - NormalizeImage: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}
    - Permute: {{}}
    - Gt2YoloTarget: {{}}
  batch_size: 3
EvalReader:
  sample_transforms:
    - Decode: {{}}
    - Resize: {{target_size: [96, 96], keep_ratio: false, interp: 2}}
    - NormalizeImage: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}}
    - Permute: {{}}
"""


def test_one_batch_is_learned_by_heart(tmp_path, repo, tiny_coco):
    path = tmp_path / "overfit.yml"
    path.write_text(CONFIG.format(repo=repo, out=tmp_path / "out", data=tiny_coco))
    cfg = load_config(path, ["TrainDataset.allow_empty=true"])
    state = run_training(cfg, evaluate=True)
    metrics = state.last_evaluation["metrics"]
    assert metrics["bbox/AP50"] > 0.9
    assert metrics["bbox/AP"] > 0.6
