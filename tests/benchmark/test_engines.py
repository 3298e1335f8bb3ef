"""The engines of the benchmark on GPUs: their names, options, and the exports that they need."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ppdet_lite.benchmark.engines import ENGINES, GRAPH, ONNX_ON_GPUS, Kind
from ppdet_lite.benchmark.exports import Exports, write_exports
from ppdet_lite.benchmark.inference_benchmark import InferenceOptions, open_engines
from ppdet_lite.core.workspace import load_config
from ppdet_lite.runtime.contract import InferConfig
from ppdet_lite.runtime.options import EngineOptions


@pytest.mark.parametrize("name", ENGINES)
def test_options_of_every_engine_go_together(name):
    engine = ENGINES[name]
    options = EngineOptions(device=engine.device, **engine.options)
    assert options.cuda_graph == name.endswith(GRAPH)
    assert options.tf32 == (engine.precision == "tf32")
    assert engine.has_half_weights == (options.precision == "fp16")


def test_every_way_has_every_arithmetic():
    for way in ONNX_ON_GPUS:
        for precision in ("fp32", "tf32", "fp16"):
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
