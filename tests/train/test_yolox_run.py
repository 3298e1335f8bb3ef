"""A narrow YOLOX learns, is evaluated, and trains on at the same sizes after a stop."""

import re

import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.device.ranks import Ranks
from ppdet_lite.modeling.detectors.yolox import YOLOX
from ppdet_lite.train.run import build_trainer, run_training
from ppdet_lite.weights.checkpoint import load_resume

EPOCHS = 20
L1_EPOCH = 16

CONFIG = """
_BASE_: [{repo}/configs/yolox/yolox_s_300e_coco.yml]
num_classes: 2
use_gpu: false
width_mult: 0.25
seed: 0
epoch: {epochs}
snapshot_epoch: 1000
log_iter: 1
worker_num: 0
ema_decay: 0.9
ema_decay_type: normal
OptimizerBuilder: {{optimizer: {{type: Adam}}, regularizer: null}}
save_dir: {out}
report: false
TrainDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
               sample_num: 2}}
EvalDataset: {{dataset_dir: {data}, image_dir: images, anno_path: annotations/train.json,
              sample_num: 2}}
TestDataset: {{dataset_dir: {data}, anno_path: annotations/train.json}}
YOLOX: {{size_range: [2, 4]}}
YOLOXHead: {{l1_epoch: {l1_epoch}}}
LearningRate:
  allow_long_warmup: true
  base_lr: 0.01
  scale_with_batch: false
  schedulers:
    - !CosineDecay {{min_lr_ratio: 0.05}}
    - !ExpWarmup {{epochs: 3}}
TrainReader:
  sample_transforms:
    - Decode: {{}}
    - PadResize: {{target_size: 96}}
  batch_size: 2
  mosaic_epoch: -1
EvalReader:
  sample_transforms:
    - Decode: {{}}
    - Resize: {{target_size: [96, 96], keep_ratio: true, interp: 1}}
    - Pad: {{size: [96, 96], fill_value: [114., 114., 114.]}}
    - Permute: {{}}
  batch_size: 4
"""


def configuration(folder, repo, data, *overrides):
    path = folder / "yolox.yml"
    values = {"repo": repo, "out": folder / "out", "data": data}
    path.write_text(CONFIG.format(epochs=EPOCHS, l1_epoch=L1_EPOCH, **values))
    return load_config(path, overrides)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, repo, tiny_coco):
    """The configuration, the end of its training and what the log says."""
    folder = tmp_path_factory.mktemp("yolox")
    cfg = configuration(folder, repo, tiny_coco)
    state = run_training(cfg, evaluate=True)
    return cfg, state, (folder / "out/yolox/train.log").read_text()


def logged(log: str, key: str) -> list:
    """The numbers that stand after `key` in the lines of the steps."""
    return [float(value) for value in re.findall(rf"Epoch: .* {key}: (\S+) ", log)]


def test_the_loss_falls_and_the_model_is_evaluated(learned):
    _, state, log = learned
    assert "bbox/AP" in state.last_evaluation["metrics"]
    losses = logged(log, "loss")
    assert len(losses) == EPOCHS, losses
    assert losses[L1_EPOCH - 1] < 0.7 * losses[0]


def test_the_l1_term_joins_in_its_epoch(learned):
    terms = logged(learned[2], "loss_l1")
    assert [value > 0 for value in terms] == [epoch >= L1_EPOCH for epoch in range(EPOCHS)]


def test_keys_of_the_last_epochs_that_disagree_are_said_before_training(
    tmp_path, repo, tiny_coco, capsys
):
    mosaic = "TrainReader.sample_transforms.1={Mosaic: {input_dim: [96, 96]}}"
    cfg = configuration(tmp_path, repo, tiny_coco, mosaic, "TrainReader.mosaic_epoch=12")
    build_trainer(cfg, "cpu", Ranks())
    keys = "TrainReader.mosaic_epoch is 12, YOLOXHead.l1_epoch is 16 and epoch is 20: "
    assert f"WARNING: {keys}the L1 term should start" in capsys.readouterr().err


def test_a_resumed_run_trains_at_the_same_sizes(tmp_path, repo, tiny_coco, monkeypatch):
    sizes = []
    draw = YOLOX.training_size

    def noted(*arguments):
        sizes.append(draw(*arguments))
        return sizes[-1]

    monkeypatch.setattr(YOLOX, "training_size", noted)

    def run(name, epochs, resume=None):
        out = f"save_dir={tmp_path / name}"
        cfg = configuration(tmp_path, repo, tiny_coco, out, f"epoch={epochs}")
        run_training(cfg, resume=resume and str(tmp_path / resume / "yolox/model_final"))
        return load_resume(str(tmp_path / name / "yolox/model_final"))

    monkeypatch.setattr("ppdet_lite.modeling.detectors.yolox.SIZE_PERIOD", 1)
    whole = run("whole", 4)
    straight, sizes[:] = list(sizes), []
    run("half", 2)
    resumed = run("rest", 4, resume="half")
    assert sizes == straight and len(set(sizes)) > 1
    assert resumed["progress"]["iteration"] == whole["progress"]["iteration"] == 4
