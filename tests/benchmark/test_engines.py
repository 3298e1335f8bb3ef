"""The engines of the benchmark on GPUs: their names, options, and the exports that they need."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ppdet_lite.benchmark.engines import ENGINES, GRAPH, ONNX_ON_GPUS, Kind
from ppdet_lite.benchmark.exports import Exports, write_exports
from ppdet_lite.benchmark.inference_benchmark import InferenceOptions, open_engines
from ppdet_lite.core.workspace import load_config
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.utils.files import write_image


@pytest.mark.parametrize("name", ENGINES)
def test_options_of_every_engine_go_together(name):
    engine = ENGINES[name]
    options = EngineOptions(device=engine.device, **engine.options)
    assert options.cuda_graph == name.endswith(GRAPH)
    assert options.tf32 == (engine.precision == "tf32")
    assert engine.has_half_weights == (options.precision == "fp16" and name != "gpu_fp16")
    assert engine.has_tensorrt_int8 == (options.precision == "int8" and engine.device == "GPU")


def test_every_way_has_every_arithmetic():
    for way in ONNX_ON_GPUS:
        for precision in ("fp32", "tf32", "fp16", *(["int8"] if way != "cuda" else [])):
            engines = ENGINES[f"{way}_{precision}"], ENGINES[f"{way}_{precision}{GRAPH}"]
            assert [engine.precision for engine in engines] == [precision] * 2
            assert all(engine.device == "GPU" and engine.needs_fixed_nms for engine in engines)


def written(cfg, tmp_path, engines, stages=("raw", "nms")):
    """Folders that are asked for: stage, formats, precision, and where calibration images are."""
    asked = []

    def export(cfg, folder, options):
        asked.append((options.stage, options.formats, options.precision, options.calib_dir))
        folder.mkdir(parents=True)
        InferConfig(
            preprocess=[], class_names=[], stage=options.stage, target=options.target
        ).write(folder / "infer_cfg.yml")
        return folder

    calib_dir = Path("photos")
    found = write_exports(
        cfg, tmp_path, engines, stages, calib_dir=calib_dir, say=lambda text: None, export=export
    )
    return asked, found


def test_exports_for_engines_on_gpus(small_config, tmp_path):
    cfg = load_config(small_config)
    asked, found = written(cfg, tmp_path / "a", ("cuda_fp16_graph", "gpu"))
    assert asked == [
        ("raw", ("onnx", "paddle"), "fp16", Path("photos")),
        ("nms", ("onnx", "paddle"), "fp16", Path("photos")),
        ("nms_fixed", ("onnx",), "fp16", Path("photos")),
    ]
    assert ("nms_fixed", Kind("onnx")) in found.folders
    asked, _ = written(cfg, tmp_path / "b", ("tensorrt_fp32",), ("raw",))
    assert asked == [("raw", ("onnx",), "fp32", None)]


def test_exports_for_int8_on_gpus_hold_its_file(small_config, tmp_path):
    for package in ("onnx", "onnxruntime", "ml_dtypes"):
        pytest.importorskip(package)
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.jpg", np.full((48, 64, 3), 99, np.uint8))
    steps = [{"type": "NormalizeImage", "mean": [0.5] * 3, "std": [0.25] * 3}, {"type": "Permute"}]

    def export(cfg, folder, options):
        folder.mkdir(parents=True)
        write_network(folder / "model.onnx", [1, 3, 48, 64])
        InferConfig(steps, ["a"], stage=options.stage).write(folder / "infer_cfg.yml")
        return folder

    said = []
    for photos in ("photos", "gone"):
        found = write_exports(
            load_config(small_config),
            tmp_path / f"out_{photos}",
            ("tensorrt_int8", "openvino_int8"),
            ("raw",),
            calib_dir=tmp_path / photos,
            say=said.append,
            export=export,
        )
        folder = found.folders["raw", Kind("onnx")]
        is_there = (folder / "model_tensorrt_int8.onnx").is_file()
        assert is_there == (photos == "photos")
        assert is_there == ("model_tensorrt_int8.onnx" in (read(folder).files or {}))
    assert said[-1].startswith("without INT8: ") and "gone" in said[-1]


def read(folder):
    return InferConfig.read(folder / "infer_cfg.yml")


def write_network(path, shape):
    """Two convolutions, the first of which becomes INT8."""
    from ppdet_lite.export.onnx.graph import OnnxGraph

    graph = OnnxGraph(prefix="toy")
    image = graph.input("image", "float32", shape)
    first = graph.op("Conv", image, np.ones((4, 3, 1, 1), np.float32), kernel_shape=[1, 1])
    last = graph.op("Conv", first, np.ones((2, 4, 1, 1), np.float32), kernel_shape=[1, 1])
    graph.output("raw_0", last, "float32", [1, 2, *shape[2:]])
    graph.save(path)


def test_engines_on_gpus_run_nms_of_a_fixed_size(exported, tmp_path):
    for stage in ("raw", "nms", "nms_fixed"):
        (tmp_path / stage).mkdir()
        config = InferConfig.read(exported / "infer_cfg.yml")
        config.__dict__.update(stage=stage, files=None)
        config.write(tmp_path / stage / "infer_cfg.yml")
        for name in ("model.onnx", "model_portable_fp16.onnx"):
            (tmp_path / stage / name).write_bytes(b"")
    folders = {(stage, Kind("onnx")): tmp_path / stage for stage in ("raw", "nms", "nms_fixed")}
    opened = []

    def opener(files, options):
        opened.append((options.engine, files.path.name, files.graph.name, options.device))
        return SimpleNamespace(kernels="TensorRT", runs_on="a GPU", gpu=None)

    options = InferenceOptions(stages=("raw", "nms"))
    entries, _ = open_engines(
        ("tensorrt_fp16", "onnxruntime"), Exports(folders, {}), options, opener
    )
    assert [list(entry.stages) for entry in entries] == [["raw", "nms"]] * 2
    assert opened == [
        ("tensorrt", "raw", "model_portable_fp16.onnx", "GPU"),
        ("tensorrt", "nms_fixed", "model_portable_fp16.onnx", "GPU"),
        ("onnxruntime", "raw", "model.onnx", "CPU"),
        ("onnxruntime", "nms", "model.onnx", "CPU"),
    ]
