"""A configuration of a narrow PP-YOLOv2 on the tiny data set."""

import pytest

from ppdet_lite.core.workspace import load_config

CONFIG = """
_BASE_: [{repo}/configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml]
pretrain_weights: null
num_classes: 2
use_gpu: false
width_mult: 0.125
seed: 7
epoch: 2
worker_num: 0
save_dir: {out}
report: false
ResNet: {{depth: 18}}
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/val.json}}
LearningRate:
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [243]}}
    - !LinearWarmup {{start_factor: 0., steps: 1}}
TrainReader: {{batch_size: 4}}
EvalReader: {{batch_size: 4}}
"""
SMALL = [
    "TrainReader.batch_transforms.BatchRandomResize.target_size=[32,64]",
    "EvalReader.sample_transforms.Resize.target_size=[64,64]",
    "TrainDataset.allow_empty=true",
]


@pytest.fixture
def config(tmp_path, repo, tiny_coco):
    """Function from overrides to the loaded configuration."""
    path = tmp_path / "tiny.yml"
    path.write_text(CONFIG.format(repo=repo, out=tmp_path / "out", data=tiny_coco))

    def load(*overrides):
        return load_config(path, [*SMALL, *overrides])

    load.path, load.folder, load.small = path, tmp_path / "out" / "tiny", SMALL
    return load
