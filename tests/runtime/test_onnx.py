"""deploy/python on an exported .onnx: ONNX Runtime and OpenVINO find what the model finds."""

import json
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from ppdet_lite.cli.deploy import main
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.evaluate.predictor import Predictor
from ppdet_lite.export.check import built_in_image
from ppdet_lite.export.compare import compare_detections
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.contract import ONNX_FILE, PORTABLE_FILE, ModelFolder
from ppdet_lite.runtime.detector import Detector, open_engine
from ppdet_lite.runtime.engines.engine import EngineError, stack_samples
from ppdet_lite.runtime.options import EngineOptions

ENGINES = ("onnxruntime", "openvino")
TITLES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@pytest.fixture(scope="module")
def trained(mild_config):
    return Predictor.from_config(mild_config)


@pytest.fixture(scope="module")
def onnx_folder(mild_config, tmp_path_factory):
    """An export as .onnx, with and without the operator of the deformable convolution."""
    for package in ("onnx", "paddle2onnx", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("onnx")
    return export_model(mild_config, folder, ExportOptions(("onnx",), portable_dcn=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_equal_the_trained_models(onnx_folder, trained, engine):
    pytest.importorskip(engine)
    detector = Detector(onnx_folder, engine=engine, cpu_threads=1)
    name = {"onnxruntime": "model.onnx", "openvino": "model_portable.onnx"}[engine]
    assert detector.files.graph.name == name
    first = built_in_image()
    images = [first, first[::-1].copy()]
    for image, found in zip(images, detector.predict(images)):
        expected = trained(image)
        result = compare_detections(expected, found, 0.01, 100)
        assert len(expected) > 10 and len(result.lost) == len(result.extra) == 0
        assert result.max_box_px < 0.05 and result.max_score < 1e-4


@pytest.mark.parametrize(
    "choice", [["--engine", "onnxruntime"], ["--engine", "openvino"], ["--use_openvino"]]
)
def test_the_command_line(onnx_folder, tiny_coco, tmp_path, choice, capsys):
    pytest.importorskip("openvino")
    image = str(tiny_coco / "images" / "val_0.jpg")
    arguments = ["--model_dir", str(onnx_folder), "--image_file", image, *choice]
    main([*arguments, "--output_dir", str(tmp_path), "--threshold", "0.05"])
    assert len(json.loads((tmp_path / "val_0.json").read_text())["detections"]) > 3
    main([*arguments, "--run_benchmark", "--repeats", "2"])
    kernels = "ONNX Runtime" if "onnxruntime" in choice else "OpenVINO"
    assert f"batch 1, 2 runs, CPU, {kernels} kernels" in capsys.readouterr().out


def test_paddle_is_not_needed(repo, onnx_folder, tiny_coco, tmp_path):
    image = tiny_coco / "images" / "val_0.jpg"
    code = f"""
import runpy, sys
sys.modules["paddle"] = None
sys.argv = ["infer.py", "--model_dir", {str(onnx_folder)!r}, "--image_file", {str(image)!r},
            "--output_dir", {str(tmp_path)!r}, "--engine", "onnxruntime"]
runpy.run_path({str(repo / "deploy/python/infer.py")!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "val_0.json").is_file()


def test_the_other_engines_files_are_named(onnx_folder, exported):
    with pytest.raises(DataError, match="no model.json and .* model.onnx: use `engine` onnxru"):
        Detector(onnx_folder)
    with pytest.raises(DataError, match="no model_portable.onnx and .*: use `engine` paddle$"):
        Detector(exported, engine="openvino")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [ONNX_FILE, PORTABLE_FILE])
def test_each_file_runs_where_it_can(onnx_folder, engine, name):
    """The portable one everywhere; the operator DeformConv is for newer releases."""
    pytest.importorskip(engine)
    files = ModelFolder(onnx_folder, engine, graph=name)
    inputs = stack_samples([files.preprocess(built_in_image())])
    try:
        boxes, counts = open_engine(files, EngineOptions(engine)).run(inputs)
    except EngineError as error:
        assert name == ONNX_FILE and error.graph == files.graph
        assert engine == "openvino" or "DeformConv since version" in error.problem
    else:
        assert boxes.shape[1] == 6 and counts.sum() == len(boxes) > 0


@pytest.fixture
def broken_onnx(broken):
    for name in ("model.onnx", "model_portable.onnx"):
        (broken / name).write_bytes(b"no graph")
    return broken


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_file_is_named(broken_onnx, engine):
    pytest.importorskip(engine)
    with pytest.raises(EngineError, match=f"{TITLES[engine]} .*cannot run") as caught:
        Detector(broken_onnx, engine=engine)
    assert caught.value.graph == ModelFolder(broken_onnx, engine).graph
    again = pickle.loads(pickle.dumps(caught.value))  # it may come from another process
    assert str(again) == str(caught.value) and again.problem == caught.value.problem


@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_that_does_not_fit_the_graph(repo, onnx_folder, tiny_coco, tmp_path, engine):
    """In a process of its own: after such an error OpenVINO leaves the process a stack for signals
    that it has freed, and the next signal would end all tests."""
    pytest.importorskip(engine)
    folder = tmp_path / "model"
    shutil.copytree(onnx_folder, folder)
    settings = yaml.safe_load((folder / "infer_cfg.yml").read_text())
    resize = {"type": "Resize", "target_size": [64, 64], "keep_ratio": False}
    settings.update(image_shape=[3, 64, 64], Preprocess=[resize])
    (folder / "infer_cfg.yml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, str(repo / "deploy/python/infer.py"), "--model_dir", "model"]
    command += ["--image_file", str(tiny_coco / "images" / "val_0.jpg"), "--engine", engine]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.match(rf"error: model/\S+\.onnx: {TITLES[engine]} .*cannot run", done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_package_is_said(broken_onnx, engine, monkeypatch):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(UserError, match=f"^`engine` {engine} needs .* pip install {engine}"):
        Detector(broken_onnx, engine=engine)


def test_tensorrt_is_paddles():
    with pytest.raises(UserError, match="^`run_mode` trt_fp16 needs `engine` paddle"):
        EngineOptions("openvino", run_mode="trt_fp16")


def test_steps_of_an_engine_are_those_of_its_run(onnx_folder):
    for engine in ENGINES:
        pytest.importorskip(engine)
        detector = Detector(onnx_folder, engine=engine, cpu_threads=1)
        sample = detector.preprocess(built_in_image())
        inputs = stack_samples([sample])
        expected = detector.engine.run(inputs)
        detector.engine.bind(inputs)
        detector.engine.execute()
        detector.engine.synchronize()
        for one, other in zip(expected, detector.engine.outputs()):
            np.testing.assert_array_equal(one, other)
