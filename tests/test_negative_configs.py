"""configs/ppyolo/negative: each file changes what section 5 of the PP-YOLOv2 paper changes."""

from pathlib import Path

import pytest

from ppdet_lite.core.workspace import create, load_config
from tests.test_ablation_configs import changes

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "ppyolo"
BASES = {
    "coco": CONFIGS / "ppyolov2_r50vd_dcn_365e_coco.yml",
    "minicoco": CONFIGS / "ppyolov2_r50vd_dcn_minicoco.yml",
}
CHANGES = {
    "freeze": {"ResNet.freeze_at": (-1, 0)},
    "silu": {"PPYOLOPAN.act": (None, "silu")},
}


def negative(kind: str, data: str) -> Path:
    return CONFIGS / "negative" / f"ppyolov2_{kind}_{data}.yml"


@pytest.mark.parametrize("data", BASES)
@pytest.mark.parametrize("kind", CHANGES)
def test_one_thing_is_changed(kind, data):
    assert changes(BASES[data], negative(kind, data)) == CHANGES[kind]


@pytest.mark.parametrize("data", BASES)
def test_cosine_in_place_of_steps_behind_the_same_warmup(data):
    found = changes(BASES[data], negative("cosine", data))
    assert {key.rpartition(".")[0] for key in found} <= {
        "LearningRate.schedulers",
        "LearningRate",
    } | {"LearningRate.schedulers.0"}
    cfg = load_config(negative("cosine", data))
    rate = create("LearningRate", cfg)
    last = 100 * cfg.epoch
    assert rate.at(2000, 100, cfg.epoch) == pytest.approx(0.0025)
    assert rate.at(4000, 100, cfg.epoch) == pytest.approx(0.005)
    assert rate.at((4000 + last) // 2, 100, cfg.epoch) == pytest.approx(0.0025)
    assert rate.at(last, 100, cfg.epoch) == pytest.approx(0, abs=1e-9)


def test_frozen_stages_are_the_stem_and_the_stage_of_stride_4():
    cfg = load_config(negative("freeze", "coco"), ["width_mult=0.125"])
    backbone = create(cfg.architecture, cfg).backbone
    learned = [(n, p) for n, p in backbone.named_parameters() if n.endswith(("weight", "bias"))]
    frozen = {name.split(".")[0] for name, value in learned if value.stop_gradient}
    free = {name.split(".")[0] for name, value in learned if not value.stop_gradient}
    assert frozen == {"conv1", "res2"} and free == {"res3", "res4", "res5"}


def test_minitrain_has_the_iterations_of_the_paper():
    """90,000 iterations with one drop at 60,000, to the nearest epoch that reaches."""
    cfg = load_config(BASES["minicoco"])
    steps = 25_000 // 96
    rate = create("LearningRate", cfg)
    assert (cfg.epoch - 1) * steps < 90_000 <= cfg.epoch * steps == 90_220
    assert rate.at(60_059, steps, cfg.epoch) == 0.005
    assert rate.at(60_060, steps, cfg.epoch) == rate.at(90_219, steps, cfg.epoch) == 0.0005
    assert cfg.TrainDataset["anno_path"] == "annotations/instances_minitrain2017.json"
    assert set(changes(BASES["coco"], BASES["minicoco"])) == {
        "epoch",
        "TrainDataset.anno_path",
        "LearningRate.schedulers.0.milestones",
    }


def test_images_of_test_dev_for_both_papers():
    for name, weights in (
        ("ppyolo", "ppyolo_r50vd_dcn_1x"),
        ("ppyolov2", "ppyolov2_r50vd_dcn_365e"),
    ):
        found = changes(CONFIGS / f"{weights}_coco.yml", CONFIGS / f"{name}_test.yml")
        assert set(found) == {"EvalDataset.image_dir", "EvalDataset.anno_path"}
