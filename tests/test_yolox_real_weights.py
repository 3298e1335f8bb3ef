"""YOLOX-nano as its authors trained it, on real photos: convert, evaluate, export, deploy."""

import importlib.util

import numpy as np
import pytest

import ppdet_lite as api
from ppdet_lite.commands.weights import convert as command
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.detector import Detector

NAME = "yolox_nano_upstream_coco"
AP, AP50, AP75 = 0.3300, 0.5075, 0.3268
"""Of the authors' own export with their pre- and post-processing, by pycocotools."""


@pytest.fixture(scope="module")
def converted(shared_dir, tmp_path_factory):
    """Overrides with the converted weights and the photos."""
    source = shared_dir / "weights" / "yolox_nano_coco_upstream_layout.npz"
    if not source.is_file():
        pytest.skip("needs the weights in ../shared/weights, which are not part of a clone")
    folder = tmp_path_factory.mktemp("nano")
    output = folder / "nano.pdparams"
    options = [str(source), "--output", str(output), "-c", NAME]
    command.main(command.build_parser().parse_args(options))
    data = shared_dir / "data" / "coco128"
    return [
        f"weights={output}",
        f"save_dir={folder}",
        "use_gpu=false",
        "worker_num=0",
        f"EvalDataset={{dataset_dir: {data}, image_dir: train2017, "
        "anno_path: annotations/instances_train2017.json}",
        f"TestDataset={{dataset_dir: {data}, anno_path: annotations/instances_train2017.json}}",
    ]


@pytest.fixture(scope="module")
def config(repo, converted):
    path = repo / "configs" / "yolox" / "upstream" / "yolox_nano_upstream_coco.yml"
    return lambda *more: load_config(path, [*converted, *more])


def test_average_precision_is_that_of_the_authors(config):
    metrics = run_evaluation(config())
    assert metrics["bbox/AP"] == pytest.approx(AP, abs=0.002)
    assert metrics["bbox/AP50"] == pytest.approx(AP50, abs=0.002)
    assert metrics["bbox/AP75"] == pytest.approx(AP75, abs=0.002)


def test_the_converted_file_is_a_detector(converted, shared_dir):
    weights = converted[0].partition("=")[2]
    photo = shared_dir / "data" / "coco128" / "train2017" / "000000000009.jpg"
    for detector in (api.Detector(weights), api.Detector(NAME, weights=weights)):
        (found,) = detector.predict(photo)
        names = list(zip(found.names, (record["category_id"] for record in found.to_coco())))
        assert ("bowl", 51) in names and ("broccoli", 56) in names


def test_the_order_of_the_channels_matters(config):
    steps = "[{Decode: {}}, {CornerLetterbox: {target_size: [416, 416]}}, {Permute: {}}]"
    metrics = run_evaluation(config(f"EvalReader.sample_transforms={steps}"))
    assert metrics["bbox/AP"] == pytest.approx(0.2780, abs=0.002)


def test_the_export_finds_the_same(config, shared_dir, tmp_path, capsys):
    has_onnx = all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "paddle2onnx")))
    photos = sorted((shared_dir / "data" / "coco128" / "train2017").iterdir())[:6]
    options = ExportOptions(["paddle", "onnx"] if has_onnx else ["paddle"])
    folder = export_model(config(), tmp_path, options, photos)
    said = "".join(capsys.readouterr())
    assert said.count("export verified") >= (3 if has_onnx else 2)
    steps = (folder / "infer_cfg.yml").read_text()
    assert "CornerLetterbox" in steps and "ToBGR" in steps and "BestClassNMS" in steps

    dark = np.zeros((300, 400, 3), np.uint8)
    for engine in ("paddle", "onnxruntime") if has_onnx else ("paddle",):
        detector = Detector(folder, engine=engine)
        kernels = detector.engine.kernels
        assert detector.predict([dark])[0].shape == (0, 6)
        assert detector.engine.kernels == kernels  # it did not fall back to others
