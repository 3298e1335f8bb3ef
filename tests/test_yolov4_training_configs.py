"""The configurations of YOLOv4's training: one change per row of the ablation, and all at once."""

from collections import Counter

import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.device.ranks import SINGLE_PROCESS
from ppdet_lite.modeling.layers.cross_mini_batch_norm import CrossMiniBatchNorm
from ppdet_lite.modeling.losses.anchor_box_losses import DarknetBoxLoss
from ppdet_lite.train.hooks.adversarial import SelfAdversarialTraining
from ppdet_lite.train.run import build_trainer
from tests.small_configs import small_config
from tests.test_every_config import ROOT

FOLDER = ROOT / "yolov4"
ROWS = {  # row -> the one it changes, and keys that change
    "m": ("base", {"TrainReader.sample_transforms", "TrainReader.mosaic_epoch"}),
    "ga": ("base", {"LearningRate.base_lr", "OptimizerBuilder.optimizer"}),
    "ca": ("base", {"LearningRate.schedulers"}),
    "dm": ("base", {"TrainReader.batch_transforms"}),
    "bof_yolov3_anchors": ("bof", {"YOLOv4Head.anchors"}),
    "bof_mse": ("bof", {"DarknetBoxLoss.kind", "DarknetBoxLoss.loss_weight"}),
    "bof_giou": ("bof", {"DarknetBoxLoss.kind"}),
}


def row(name):
    return load_config(FOLDER / "ablation" / f"yolov4_ablation_{name}.yml")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_changes_one_thing(name):
    base, expected = ROWS[name]
    before, after = row(base), row(name)
    changed = set()
    for key in {*before, *after} - {"weights"}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed |= {f"{key}.{k}" for k in {*old, *new} if old.get(k) != new.get(k)}
        elif old != new:
            changed.add(key)
    assert changed == expected


def test_the_released_recipe_is_darknets():
    cfg = load_config(FOLDER / "yolov4_cspdarknet53_coco.yml")
    curve, optimizer = create("LearningRate", cfg), cfg.OptimizerBuilder
    assert [curve.at(it, 1832, 273) for it in (500, 1000, 399_999, 400_000, 450_000)] == (
        pytest.approx([0.0013 / 16, 0.0013, 0.0013, 0.00013, 0.000013])
    )
    assert optimizer["optimizer"] == {"type": "Momentum", "momentum": 0.949}
    assert optimizer["regularizer"] == {"type": "L2", "factor": 0.0005}
    assert not optimizer.get("clip_grad_by_norm")
    assert cfg.accumulate_steps * cfg.TrainReader["batch_size"] == 64
    reader = create("TrainReader", cfg)
    mosaic, size = reader.sample_transforms[-1], reader.batch_transforms[0]
    assert (mosaic.prob, mosaic.mosaic_bound, mosaic.jitter, mosaic.letterbox) == (
        *(0.5, False, 0.3, False),
    )
    assert mosaic.accumulate_steps == size.accumulate_steps == 8
    assert (size.epoch, size.every, size.net_hw) == (273, 10, (608, 608))


def test_l2_acts_on_the_weights_of_convolutions_only(tiny_coco, tmp_path):
    cfg = small_config(FOLDER / "yolov4_tiny_coco.yml", tiny_coco, tmp_path)
    state = build_trainer(cfg, "cpu", SINGLE_PROCESS).state
    undecayed = Counter()
    for key, parameter in state.model.named_parameters():
        if parameter.stop_gradient:
            continue
        is_free = getattr(parameter.regularizer, "_coeff", None) == 0
        undecayed[is_free, key.rpartition(".")[2], len(parameter.shape)] += 1
    kinds = set(undecayed)
    assert kinds == {(False, "weight", 4), (True, "weight", 1), (True, "bias", 1)}


def test_all_that_the_paper_names_works_together(tiny_coco, tmp_path):
    cfg = small_config(FOLDER / "yolov4_paper_coco.yml", tiny_coco, tmp_path)
    cfg.accumulate_steps = 2
    cfg.epoch = 2
    cfg.TrainReader["batch_size"] = 1
    cfg.train_hooks[0]["SelfAdversarialTraining"].update(burn_in=0, prob=1.0)
    for step in cfg.TrainReader["sample_transforms"][2:]:
        next(iter(step.values())).update(prob=1.0)
    trainer = build_trainer(cfg, "cpu", SINGLE_PROCESS)
    assert isinstance(trainer.hooks[-1], SelfAdversarialTraining)
    loss = trainer.state.model.head.loss
    assert isinstance(loss.box_loss, DarknetBoxLoss)
    assert (loss.focal, loss.label_smooth_eps) == (True, 0.1)
    assert any(isinstance(n, CrossMiniBatchNorm) for n in trainer.state.model.sublayers())
    trainer.run()
    assert trainer.state.iteration == 4
