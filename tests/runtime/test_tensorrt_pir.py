"""TensorRT for a model.json of Paddle 3: what is asked of paddle.tensorrt, which only builds with
CUDA have."""

import json
import sys
import types
from pathlib import Path

import paddle
import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.options import TensorRTOptions

NMS = ["multiclass_nms", "multiclass_nms3", "top_k_v2", "topk"]
SCORE = ["yolo_box", "clip", "log", "pow", "elementwise_pow", "reciprocal", "divide"]


class Input:
    def __init__(self, warmup_data):
        self.warmup_data = warmup_data


class TensorRTConfig:
    def __init__(self, inputs, min_subgraph_size):
        self.inputs, self.min_subgraph_size = inputs, min_subgraph_size


@pytest.fixture
def converted(monkeypatch):
    """Stands for paddle.tensorrt, which only builds with CUDA have; notes what is converted."""
    seen = []

    def convert(model, config):
        seen.append((model, config))
        for suffix in (".json", ".pdiparams"):
            Path(config.save_model_dir + suffix).write_text("converted")

    export = types.ModuleType("paddle.tensorrt.export")
    export.Input, export.TensorRTConfig, export.convert = Input, TensorRTConfig, convert
    export.PrecisionMode = {"FP32": "fp32", "FP16": "fp16"}
    package = types.ModuleType("paddle.tensorrt")
    package.export = export
    monkeypatch.setitem(sys.modules, "paddle.tensorrt", package)
    monkeypatch.setitem(sys.modules, "paddle.tensorrt.export", export)
    return seen


@pytest.fixture
def pir(broken, monkeypatch):
    monkeypatch.setattr(paddle, "__version__", "3.3.1")
    for graph in broken.glob("model.pdmodel"):
        graph.rename(broken / "model.json")
    return broken


@pytest.mark.parametrize("mode", ["trt_fp32", "trt_fp16"])
def test_conversion_of_a_paddle_3_graph(pir, gpu, converted, mode, monkeypatch):
    options = TensorRTOptions(batch_size=2)
    detector = Detector(pir, "GPU", mode, tensorrt=options)
    folder = detector.engine.tensorrt.folder
    model, config = converted[0]
    assert model == str(pir / "model")
    assert config.save_model_dir == str(folder / "model")
    assert config.precision_mode == mode[4:] and config.workspace_size == 1 << 30
    assert [entry.name for entry in config.inputs] == ["image", "im_shape", "scale_factor"]
    assert [[x.shape for x in entry.warmup_data] for entry in config.inputs] == [
        [(2, 3, 96, 128)] * 4,
        [(2, 2)] * 4,
        [(2, 2)] * 4,
    ]
    assert config.inputs[1].warmup_data[0].tolist() == [[96, 128]] * 2
    if mode == "trt_fp16":
        assert config.ops_run_float == ["pd_op.deformable_conv"]
        names = [*NMS, *SCORE]
    else:
        assert not hasattr(config, "ops_run_float")
        names = NMS
    about = json.loads((folder / "about.json").read_text())
    assert about["outside_tensorrt"] == config.disable_ops
    assert about["in_float32"] == getattr(config, "ops_run_float", [])
    assert config.disable_ops == [f"pd_op.{name}" for name in names]
    assert gpu.call("files") == (("model.json", "model.pdiparams"), {})
    assert gpu.call("enable_tensorrt_engine") is None
    Detector(pir, "GPU", mode, tensorrt=options)
    assert len(converted) == 1  # from the cache


def test_an_interrupted_conversion_is_done_again(pir, gpu, converted, monkeypatch):
    detector = Detector(pir, "GPU", "trt_fp16")
    (detector.engine.tensorrt.folder / "complete").unlink()
    Detector(pir, "GPU", "trt_fp16")
    assert len(converted) == 2


def test_a_moved_model_is_converted_again(pir, gpu, converted, monkeypatch, tmp_path):
    """Paddle writes the paths of the engines into the converted model."""
    monkeypatch.chdir(pir.parent)
    detector = Detector(pir.name, "GPU", "trt_fp16")
    assert detector.engine.tensorrt.folder.is_absolute()
    moved = pir.rename(tmp_path / "elsewhere")
    Detector(moved, "GPU", "trt_fp16")
    assert len(converted) == 2


def test_a_conversion_that_fails_is_said(pir, gpu, converted, monkeypatch):
    def fail(model, config):
        raise AssertionError("Failed to build engine.\nSee the log")

    monkeypatch.setattr(sys.modules["paddle.tensorrt.export"], "convert", fail)
    with pytest.raises(EngineError, match="AssertionError: Failed to build engine. See the log"):
        Detector(pir, "GPU", "trt_fp16")


def test_what_paddle_3_graphs_cannot_do(pir, gpu, monkeypatch):
    with pytest.raises(UserError, match="^`run_mode` trt_int8: .*model.json; .*paddle-legacy"):
        Detector(pir, "GPU", "trt_int8")
    monkeypatch.setitem(sys.modules, "paddle.tensorrt", None)
    monkeypatch.setitem(sys.modules, "paddle.tensorrt.export", None)
    with pytest.raises(UserError, match="cannot be imported .*pip install tensorrt==8.6.1"):
        Detector(pir, "GPU", "trt_fp16")
