"""Every shipped configuration trains: its own reader, loss, optimizer, average and schedule, made
small by the sizes of images and channels only.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.train.run import run_training
from ppdet_lite.weights.checkpoint import read_meta
from ppdet_lite.weights.files import load_state
from tests.small_configs import shrink, small_config

ROOT = Path(__file__).resolve().parent.parent / "configs"
CONFIGS = sorted(
    path
    for path in ROOT.rglob("*.yml")
    if path.parent.name not in ("_base_", "datasets") and path.name != "runtime.yml"
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains_with_its_own_settings(path, tiny_coco, tmp_path):
    if base := twin_of(path):
        pytest.skip(f"once small, the same as {base.stem}, on which it builds")
    cfg = small_config(path, tiny_coco, tmp_path)
    state = run_training(cfg, evaluate=True)

    assert state.iteration == 2
    number = {"COCO": "bbox/AP", "VOC": "bbox/mAP"}[cfg.metric]
    assert 0 <= state.last_evaluation["metrics"][number] <= 1
    log = (tmp_path / path.stem / "train.log").read_text()
    losses = {name: float(value) for name, value in re.findall(r"(loss\w*): ([-\w.]+)", log)}
    assert set(losses) == expected_terms(cfg)
    assert all(math.isfinite(value) for value in losses.values()), losses

    # Schedule: the position after two steps, at the rate for batches of two.
    curve = create("LearningRate", cfg)
    rate = curve.base_lr * 2 / curve.reference_batch_size
    assert state.scheduler() == pytest.approx(curve.at(2, 2, 1, rate), rel=1e-9)
    assert f"{curve.base_lr:g} x 2 / {curve.reference_batch_size} = {rate:g}" in log

    check_optimizer(cfg, state)
    assert (state.ema is not None) == cfg.use_ema
    if cfg.use_ema:
        assert (state.ema.decay, state.ema.kind) == (cfg.ema_decay, cfg.ema_decay_type)
    saved = load_state(str(tmp_path / path.stem / "model_final"))
    expected = state.weights_for_use()
    assert all(np.array_equal(saved[key], value.numpy()) for key, value in expected.items())
    assert read_meta(str(tmp_path / path.stem / "model_final"))["class_names"] == [
        "square",
        "circle",
    ]


def twin_of(path):
    """The shipped configuration that `path` builds on, if nothing but images, batches, length and
    first weights differ, which `small_config` sets."""
    found = re.search(r"^_BASE_: \./(\w+\.yml)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    base = path.with_name(found[1]) if found else None
    both = [] if base is None else [small_part(base), small_part(path)]
    return base if both and both[0] == both[1] else None


def small_part(path) -> dict:
    """What `small_config` leaves of a configuration."""
    cfg = dict(load_config(path, validate=False))
    for key in ("weights", "pretrain_weights", "accumulate_steps", "epoch", "TestDataset"):
        cfg.pop(key, None)
    for key in ("TrainDataset", "EvalDataset"):
        del cfg[key]
    del cfg["TrainReader"]["batch_size"]
    for section in ("TrainReader", "EvalReader", "TestReader"):
        shrink(cfg[section])
    return cfg


def expected_terms(cfg) -> set:
    """The loss terms of the recipe."""
    if cfg.architecture.endswith("YOLOX"):
        last = "l1" if cfg.architecture == "YOLOX" else "iou_aware"
        is_single = cfg[cfg.architecture]["head"].startswith("EndToEnd")
        terms = {"loss", "loss_cls", "loss_obj", "loss_iou", f"loss_{last}"}
        return terms | ({"loss_single"} if is_single else set())
    if cfg.architecture == "YOLOv4":
        return {"loss", "loss_box", "loss_obj", "loss_cls"}
    if cfg.YOLOv3["yolo_head"] == "GuidedAnchorHead":
        return {"loss", "loss_anchor", "loss_iou", "loss_l1", "loss_obj", "loss_cls"}
    terms = {"loss", "loss_xy", "loss_wh", "loss_obj", "loss_cls"}
    extra = {name: cfg.YOLOv3Loss.get(name) for name in ("iou_loss", "iou_aware_loss")}
    return terms | {f"loss_{name[:-5]}" for name, value in extra.items() if value}


def check_optimizer(cfg, state) -> None:
    """Kind and clipping as written; every trained weight has got a gradient."""
    section = cfg.OptimizerBuilder
    assert type(state.optimizer).__name__ == section["optimizer"]["type"]
    clip = state.optimizer._grad_clip
    assert (clip and clip.clip_norm) == section.get("clip_grad_by_norm")
    kind = {"Momentum": "velocity", "Adam": "moment1"}[section["optimizer"]["type"]]
    moments = {k: v for k, v in state.state_dict()["optimizer"].items() if f"/{kind}" in k}
    trained = [p for p in state.model.parameters() if not p.stop_gradient]
    assert len(moments) == len(trained)
    still = [key for key, value in moments.items() if not np.abs(value).max() > 0]
    if cfg.architecture == "YOLOX":  # nothing passes its output layers, which start at 0
        still = [key for key in still if re.match(r"head\.conv_reg\.\d\.2\.", key)]
    elif cfg.architecture == "AnchorYOLOX":  # not every level has an object
        still = [key for key in still if re.match(r"head\.(reg_preds|outputs)\.", key)]
    # No object is of the size of the coarser levels, whose anchors are then not guided.
    still = [key for key in still if not re.match(r"yolo_head\.guide_wh\.\d\.(weight|bias)/", key)]
    assert not still
