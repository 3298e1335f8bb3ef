"""The whole road on real photos: train, evaluate, export, deploy; compared with one another."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.workspace import load_config
from ppdet_lite.data.pixels.image_ops import decode_image
from ppdet_lite.data.sources.coco_categories import COCO_CATEGORIES
from ppdet_lite.evaluate.predictor import Predictor
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.run import export_model
from ppdet_lite.train.run import run_training
from ppdet_lite.weights.checkpoint import read_meta

BASE = {
    "bccd": "configs/ppyolo/ppyolov2_r50vd_dcn_voc.yml",
    "coco128": "configs/ppyolo/ppyolov2_r50vd_dcn_365e_coco.yml",
}
PHOTOS = {"bccd": "JPEGImages", "coco128": "train2017"}
DATA = {
    "bccd": [
        "num_classes=3",
        "TrainDataset.label_list=null",
        "EvalDataset.label_list=null",
        "TrainDataset={name: VOCDataSet, dataset_dir: %s, anno_path: ImageSets/Main/train.txt}",
        "EvalDataset={name: VOCDataSet, dataset_dir: %s, anno_path: ImageSets/Main/val.txt}",
        "map_type=integral",
    ],
    "coco128": [
        "TrainDataset={dataset_dir: %s, anno_path: annotations/instances_train2017.json}",
        "EvalDataset={dataset_dir: %s, anno_path: annotations/instances_train2017.json,"
        " image_dir: train2017}",
    ],
}
SMALL = """
use_gpu=false seed=3 worker_num=1 pretrain_weights=null width_mult=0.125 ResNet.depth=18
epoch=3 snapshot_epoch=3 log_iter=1 ema_decay=0.5
TrainDataset.sample_num=32 EvalDataset.sample_num=6
LearningRate.base_lr=0.1 LearningRate.schedulers.PiecewiseDecay.milestones=[2]
LearningRate.schedulers.LinearWarmup.steps=8
TrainReader.batch_size=4 EvalReader.batch_size=3
TrainReader.batch_transforms.BatchRandomResize.target_size=[96]
EvalReader.sample_transforms.Resize.target_size=[128,128]
TestReader.sample_transforms.Resize.target_size=[128,128]
TestReader.inputs_def.image_shape=[3,128,128]
""".split()


@pytest.fixture(scope="module", params=["bccd", "coco128"])
def trained(request, repo, shared_dir, tmp_path_factory):
    """Name of the data set, its folder and a configuration with the weights of 24 steps."""
    name, out = request.param, tmp_path_factory.mktemp(request.param)
    folder = shared_dir / "data" / name
    overrides = [text % folder if "%s" in text else text for text in DATA[name]]
    overrides += [*SMALL, f"save_dir={out}"]
    cfg = load_config(repo / BASE[name], overrides)
    assert run_training(cfg, evaluate=True).iteration == 24
    overrides.append(f"weights={out / cfg.name / 'model_final'}")
    return name, folder, load_config(repo / BASE[name], overrides)


def output(cfg, name: str) -> str:
    """Content of a file in the run's output folder."""
    return Path(cfg.save_dir, cfg.name, name).read_text(encoding="utf-8")


def test_training_lowers_the_loss(trained):
    losses = [
        float(loss) for loss in re.findall(r" loss: ([\d.]+)", output(trained[2], "train.log"))
    ]
    assert len(losses) == 24 and np.isfinite(losses).all()
    assert np.mean(losses[-8:]) < 0.85 * np.mean(losses[:8])


def test_evaluation_of_the_saved_weights_gives_the_numbers_of_the_training(trained):
    name, _, cfg = trained
    results = run_evaluation(cfg, classwise=True)
    stored = read_meta(cfg.weights)
    for key, value in stored["metrics"].items():
        assert results[key] == pytest.approx(value, abs=1e-6), key
    first = {"bccd": ["Platelets", "RBC", "WBC"], "coco128": ["person", "bicycle", "car"]}
    assert stored["class_names"][:3] == first[name]
    assert {f"bbox/AP/{label}" for label in stored["class_names"]} <= set(results)
    detections = json.loads(output(cfg, "bbox.json"))
    assert set(detections[0]) == {"image_id", "category_id", "bbox", "score"}
    categories = {"bccd": set(range(1, 4)), "coco128": set(COCO_CATEGORIES)}
    assert {entry["category_id"] for entry in detections} <= categories[name]


def test_export_and_deployment_find_what_the_trained_model_finds(trained, repo, tmp_path):
    name, folder, cfg = trained
    photos = sorted((folder / PHOTOS[name]).glob("*.jpg"))[:3]
    exported = export_model(cfg, tmp_path / "exported", verify=photos)
    command = [sys.executable, repo / "deploy" / "python" / "infer.py", "--model_dir", exported]
    command += ["--image_file", *photos, "--output_dir", tmp_path, "--threshold", 0]
    subprocess.run([str(part) for part in command], check=True, cwd=tmp_path)
    predictor = Predictor.from_config(cfg)
    for photo in photos:
        assert (tmp_path / photo.name).is_file()
        written = json.loads((tmp_path / f"{photo.stem}.json").read_text())["detections"]
        names = {item["class_name"] for item in written}
        assert names <= set(predictor.classes.names)
        found = [[item["class_id"], item["score"], *item["box"]] for item in written]
        expected = predictor(decode_image(photo))
        result = compare_detections(expected, found, 0.01, 100)
        assert len(result.lost) == len(result.extra) == 0
        assert result.matched >= len(expected) - 2 > 10
        assert len(np.unique(expected[:, 1])) > 10  # not one saturated score for all
