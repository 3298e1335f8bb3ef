"""This project's own numbers stay as they are, and a formula that changes a little is noticed.

The numbers are made by make_references.py, which says how to write them anew.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ppdet_lite.data.transforms.expand_flip as geometry
import ppdet_lite.modeling.layers.conv as coord_conv
from ppdet_lite.modeling.losses import yolov3_loss

SCRIPT = Path(__file__).with_name("make_references.py")
_spec = importlib.util.spec_from_file_location("make_references", SCRIPT)
references = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(references)


@pytest.mark.parametrize("name", references.REFERENCES)
def test_numbers_are_as_they_were(name):
    lines = references.check(name)
    assert not lines, "\n" + references.explanation(name, lines)


def test_there_is_a_file_for_each_and_they_are_small():
    files = list(references.FILES.iterdir())
    assert {path.name for path in files} == {f"{name}.json" for name in references.REFERENCES}
    assert sum(path.stat().st_size for path in files) < 200_000


def moved(name, **changes) -> set:
    """First words of the names that moved."""
    return {line.split(":")[0] for line in references.check(name, **changes)}


# Settings of the PP-YOLOv2 recipe, changed a little, and names that must move then.
SMALL_CHANGES = {
    "YOLOv3Loss.scale_x_y=1.06": {"boxes.samples", "detections.rows", "loss.loss_xy"},
    "YOLOv3Head.iou_aware_factor=0.51": {"scores.samples", "scores.mean", "detections.rows"},
    "IouLoss.loss_weight=2.51": {"loss.loss_iou", "direct.loss_iou", "direct.gradient0.std"},
    "IouAwareLoss.loss_weight=1.01": {"loss.loss_iou_aware", "direct.loss_iou_aware"},
    "YOLOv3Loss.ignore_thresh=0.69": {"direct.loss_obj", "direct.gradient1.projection"},
    "YOLOv3Loss.label_smooth=true": {"direct.loss_cls", "direct.gradient2.projection"},
    "OptimizerBuilder.clip_grad_by_norm=36": {"update.norms"},
}
UNTOUCHED = {"head0.samples", "state_dict.fingerprint", "targets.target0.values"}


@pytest.mark.parametrize("change", SMALL_CHANGES)
def test_a_formula_of_the_network_that_changes_is_noticed(change):
    found = moved("ppyolov2", overrides=[change])
    assert SMALL_CHANGES[change] <= found
    assert not UNTOUCHED & found


def test_a_formula_of_yolox_that_changes_is_noticed():
    weights = "YOLOXHead.loss_weight={cls: 1.0, obj: 1.0, iou: 5.05, l1: 1.0}"
    assert moved("yolox", overrides=[weights]) >= {"loss.loss"}
    assert "loss.loss_obj" in moved("yolox", overrides=["YOLOXHead.assigner.candidate_topk=8"])


def test_a_formula_of_yolov4_that_changes_is_noticed():
    found = moved("yolov4_tiny", overrides=["YOLOv4Loss.obj_normalizer=1.01"])
    assert found >= {"direct.loss_obj", "direct.gradient0.std", "loss.loss"}
    assert "direct.loss_cls" not in found


def test_coordinates_of_another_range_are_noticed(monkeypatch):
    original = coord_conv.paddle.linspace
    monkeypatch.setattr(
        coord_conv.paddle, "linspace", lambda a, b, n, **how: original(a, 0.95 * b, n, **how)
    )
    assert {"head0.samples", "loss.loss_wh", "statistics.mean.projection"} <= moved("ppyolo")


def test_another_weight_of_a_term_is_noticed(monkeypatch):
    original = yolov3_loss.YOLOv3Loss.wh_term
    monkeypatch.setattr(
        yolov3_loss.YOLOv3Loss, "wh_term", lambda self, *inputs: 1.002 * original(self, *inputs)
    )
    assert moved("yolov3") >= {"loss.loss_wh", "direct.loss_wh", "direct.gradient0.std"}


def test_changes_of_the_reader_are_noticed(monkeypatch):
    change = "TrainReader.batch_transforms.Gt2YoloTarget.iou_thresh=0.5"
    assert "train0.target2.positives" in moved("reader_ppyolov2", overrides=[change])
    mean = "EvalReader.sample_transforms.NormalizeImage.mean=[0.485,0.456,0.412]"
    assert moved("reader_ppyolov2", overrides=[mean]) >= {"evaluation.image.means"}
    monkeypatch.setattr(geometry.RandomFlip, "__call__", lambda self, sample, context: sample)
    assert "train0.gt_bbox" in moved("reader_ppyolov2")


def test_changes_of_yolox_reader_are_noticed():
    narrower = "TrainReader.sample_transforms.Mosaic.scale=[0.1,1.98]"
    assert {"train0.gt_bbox.0", "train1.gt_bbox.1"} <= moved("reader_yolox", overrides=[narrower])
    saturation = "TrainReader.sample_transforms.AugmentHSV.sgain=35"
    found = moved("reader_yolox", overrides=[saturation])
    assert any(".image." in name for name in found)
    assert not any(".gt_" in name for name in found)


def test_changes_of_schedules_average_and_optimizer_are_noticed():
    assert moved("schedules", overrides=["LearningRate.base_lr=0.00501"]) >= {"ppyolov2", "demo"}
    averages = {"ema_threshold", "ema_exponential", "ema_normal"}
    assert moved("training", decay=0.99981) >= {f"{kind}_decay" for kind in averages}
    assert moved("training", decay=0.5) >= averages
    assert moved("training", factor=6e-4) == {"momentum", "nesterov"}


def test_changes_of_nms_are_noticed():
    assert moved("nms", nms_threshold=0.46) >= {"multiclass.count", "multiclass.index"}
    assert moved("nms", post_threshold=0.31) >= {"matrix.count", "matrix.scores"}
    assert moved("nms", nms_top_k=44) >= {"matrix.index"}
    assert "matrix_gaussian.scores" in moved("nms", gaussian_sigma=2.02)


def test_the_report_names_what_moved_and_how_to_accept_it():
    was = references.read("ppyolov2")["loss.loss_iou"][0]
    lines = references.check("ppyolov2", overrides=["IouLoss.loss_weight=5.0"])
    line = next(line for line in lines if line.startswith("loss.loss_iou:"))
    pattern = rf"1 of 1 moved, most {was:.7g} -> (.*), by .*; allowed .*"
    assert float(re.search(pattern, line)[1]) == pytest.approx(2 * was, rel=1e-4)
    text = references.explanation("ppyolov2", lines)
    assert "python tests/regression/make_references.py ppyolov2\n" in text and line in text


def test_the_script_compares_on_demand(repo):
    run = [sys.executable, "-W", "ignore", str(SCRIPT), "--check", "schedules"]
    done = subprocess.run(run, cwd=repo, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "schedules: as it was\n"), done.stderr
