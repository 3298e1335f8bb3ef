"""Length and schedule of a training on a small set, by hand."""

import pytest

from ppdet_lite.core.config import Config
from ppdet_lite.core.workspace import create, load_config, merge_config
from ppdet_lite.core.yaml import Tagged
from ppdet_lite.train.own_data.schedule_fit import epochs_for, fit_schedule, snapshot_interval


@pytest.mark.parametrize(
    "images, recipe, epochs",
    [(100, 365, 300), (225, 365, 200), (10_000, 365, 30), (900, 50, 50), (60_000, 12, 12)],
)
def test_epochs(images, recipe, epochs):
    assert epochs_for(images, recipe) == epochs
    assert snapshot_interval(epochs) == max(1, round(epochs / 10))


def fitted(schedulers, epoch, epochs, steps, **sections):
    rate = {"schedulers": schedulers, "reference_batch_size": 64}
    return fit_schedule(Config({"epoch": epoch, "LearningRate": rate, **sections}), epochs, steps)


def test_milestones_move_and_the_warmup_is_a_twentieth():
    decay = Tagged("PiecewiseDecay", {"gamma": 0.1, "milestones": [240, 320]})
    warmup = Tagged("LinearWarmup", {"start_factor": 0.0, "steps": 4000})
    found = fitted([decay, warmup], 360, 90, 10)["LearningRate"]["schedulers"]
    assert found[0] == Tagged("PiecewiseDecay", {"gamma": 0.1, "milestones": [60, 80]})
    assert found[1] == Tagged("LinearWarmup", {"start_factor": 0.0, "steps": 45})


def test_milestones_stay_apart_in_a_short_training():
    decay = {"name": "PiecewiseDecay", "milestones": [430, 540, 610]}
    (found,) = fitted([decay], 650, 4, 10)["LearningRate"]["schedulers"]
    assert found == Tagged("PiecewiseDecay", {"milestones": [1, 2, 3]})


def test_milestones_without_room_are_left_out():
    decay = Tagged("PiecewiseDecay", {"milestones": [430, 540], "values": [1.0, 0.1, 0.01]})
    drops = Tagged("IterationDecay", {"milestones": [300, 400], "gamma": [0.1, 0.2]})
    found = fitted([decay, drops], 650, 2, 1)["LearningRate"]["schedulers"]
    assert found[0] == Tagged("PiecewiseDecay", {"milestones": [1], "values": [1.0, 0.1]})
    assert found[1] == Tagged("IterationDecay", {"milestones": [1], "gamma": [0.1]})
    (found,) = fitted([decay], 650, 1, 9)["LearningRate"]["schedulers"]
    assert found == Tagged("PiecewiseDecay", {"milestones": [], "values": [1.0]})


def test_milestones_in_iterations_keep_their_share_of_the_training():
    decay = Tagged("IterationDecay", {"milestones": [400_000, 450_000]})
    (found,) = fitted([decay], 273, 100, 10)["LearningRate"]["schedulers"]
    assert found["milestones"] == [800, 900]


def test_ends_in_epochs_move_and_others_stay():
    cosine = Tagged("CosineDecay", {"max_epochs": 300, "last_plateau_epochs": 15})
    warmup = Tagged("ExpWarmup", {"epochs": 5})
    own = Tagged("MyDecay", {"epochs": 7})
    sections = {"TrainReader": {"mosaic_epoch": 285}, "YOLOXHead": {"l1_epoch": 285}}
    found = fitted([cosine, warmup, own], 300, 40, 10, **sections)
    assert found["LearningRate"]["schedulers"] == [
        Tagged("CosineDecay", {"max_epochs": 40, "last_plateau_epochs": 2}),
        Tagged("ExpWarmup", {"epochs": 2.0}),
        own,
    ]
    assert found["TrainReader"] == {"mosaic_epoch": 38} and found["YOLOXHead"] == {"l1_epoch": 38}
    cosine = Tagged("EpochCosineDecay", {"start_epoch": 20, "end_epoch": 270})
    (found,) = fitted([cosine], 300, 30, 10)["LearningRate"]["schedulers"]
    assert found == Tagged("EpochCosineDecay", {"start_epoch": 2, "end_epoch": 27})


SHIPPED = ["ppyolo/ppyolo_tiny_650e_coco", "yolov3/yolov3_darknet53_270e_coco"]
SHIPPED += ["yolov4/yolov4_tiny_coco", "yolox/yolox_s_300e_coco", "asff/yolov3_asff_coco"]


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("epochs", [1, 5, 50])
def test_fitted_schedules_are_accepted(repo, name, epochs):
    cfg = load_config(repo / "configs" / f"{name}.yml")
    cfg = merge_config(cfg, {**fit_schedule(cfg, epochs, 20), "epoch": epochs})
    rate = create("LearningRate", cfg)
    assert rate.remarks(20, epochs) == []
    assert epochs == 1 or rate.at(20 * epochs - 1, 20, epochs) < 0.2 * rate.base_lr
