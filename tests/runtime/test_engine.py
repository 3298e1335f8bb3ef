"""Paddle Inference under deploy/python: its kernels, and devices that are not there."""

import sys

import numpy as np
import paddle
import paddle.inference as inference
import pytest
import yaml

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.export.check import built_in_image
from ppdet_lite.runtime.contract import GRAPH_FILES
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import EngineError, shortened
from ppdet_lite.runtime.engines.open_engine import ENGINE_CLASSES
from ppdet_lite.runtime.engines.paddle_inference import PaddleEngine
from ppdet_lite.runtime.engines.paddle_predictor import check_installed
from ppdet_lite.runtime.options import ENGINES, RUN_MODES, EngineOptions
from ppdet_lite.utils import cpu as cpu_module


def test_without_onednn(exported, trained, same_boxes):
    plain = Detector(exported, enable_mkldnn=False)
    assert plain.engine.kernels == "paddle"
    same_boxes(trained, plain, [built_in_image()])


def test_onednn_that_fails_is_replaced_with_one_line(
    exported, trained, same_boxes, capsys, monkeypatch
):
    execute = PaddleEngine.execute

    def fragile(self):
        if self.kernels == "oneDNN":
            raise RuntimeError("(Unimplemented)\nno such kernel")
        execute(self)

    monkeypatch.setattr(PaddleEngine, "execute", fragile)
    detector = Detector(exported)
    same_boxes(trained, detector, [built_in_image()])
    printed = capsys.readouterr().err
    assert printed.startswith("oneDNN is off: ") and printed.count("\n") == 1
    assert printed.endswith(": (Unimplemented) no such kernel\n")
    assert detector.engine.kernels == "paddle"
    strict = Detector(exported, is_strict=True)
    with pytest.raises(EngineError, match="oneDNN cannot run .*no such kernel"):
        strict.predict([built_in_image()])
    assert strict.engine.kernels == "oneDNN" and capsys.readouterr().err == ""


def test_an_error_that_is_not_onednns_leaves_it_on(exported, trained, same_boxes, capsys):
    detector = Detector(exported)
    wrong = {
        "image": np.zeros((1, 3, 10, 10), np.float32),
        "im_shape": np.ones((1, 2), np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    with pytest.raises(EngineError, match="Paddle cannot run") as caught:
        detector.engine.run(wrong)
    assert caught.value.graph == detector.files.graph
    assert detector.engine.kernels == "oneDNN" and capsys.readouterr().err == ""
    same_boxes(trained, detector, [built_in_image()])


def test_long_reasons_are_cut_between_words():
    text = "one two three"
    assert shortened(text, 13) == text
    assert shortened(text, 9) == "one two ..."
    assert shortened(text, 9, keeps_end=True) == "... three"
    assert shortened("x" * 9, 4) == "xxxx ..."


@pytest.mark.parametrize("kind", [IndexError, TypeError, SystemError, NotImplementedError])
def test_paddles_kinds_of_errors_are_said(exported, monkeypatch, kind):
    """OutOfRange, InvalidType, Fatal and Unimplemented."""
    detector = Detector(exported, enable_mkldnn=False)

    def fail(self):
        raise kind("(Fatal) broken")

    monkeypatch.setattr(PaddleEngine, "execute", fail)
    with pytest.raises(EngineError, match="Paddle cannot run .*: .Fatal. broken$"):
        detector.predict([built_in_image()])


def test_ctrl_c_while_paddle_is_imported(monkeypatch):
    """Its libraries turn a KeyboardInterrupt into an ImportError."""

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "paddle":
                raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.delitem(sys.modules, "paddle")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(KeyboardInterrupt):
        check_installed("CPU", "paddle")


def test_bfloat16_only_where_the_cpu_has_it(exported, capsys, monkeypatch):
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: "flags : avx2\n")
    detector = Detector(exported, enable_mkldnn_bfloat16=True)
    assert detector.engine.kernels == "oneDNN"
    assert capsys.readouterr().err == (
        "bfloat16 is off: this CPU has no instructions for it (avx512_bf16, amx_bf16)\n"
    )
    with pytest.raises(UserError, match="`enable_mkldnn_bfloat16`: this CPU has no"):
        Detector(exported, enable_mkldnn_bfloat16=True, is_strict=True)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"engine": "onnxruntime"}, "`engine` paddle$"),
        ({"engine": "openvino", "device": "GPU"}, "`engine` paddle, `device` CPU$"),
        ({"device": "gpu"}, "`device` CPU$"),
        ({"enable_mkldnn": False}, "`enable_mkldnn`$"),
    ],
)
def test_bfloat16_that_would_be_ignored_is_refused(options, needed):
    with pytest.raises(UserError, match=f"^`enable_mkldnn_bfloat16` needs {needed}"):
        EngineOptions(enable_mkldnn_bfloat16=True, **options)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("engine", "tflite"),
        ("device", "TPU"),
        ("run_mode", "fast"),
        ("precision", "fp8"),
        ("cpu_threads", 0),
        ("cpu_threads", 9999),
    ],
)
def test_options_that_do_not_exist(name, found):
    with pytest.raises(UserError, match=f"^`{name}`: found {found}, allowed: "):
        EngineOptions(**{name: found})


def test_files_in_float16_are_no_paddle_files():
    with pytest.raises(UserError, match="^`precision` fp16: found `engine` paddle.*TensorRT"):
        EngineOptions(precision="fp16")
    assert EngineOptions("onnxruntime", precision="fp16").precision == "fp16"


def test_every_engine_has_its_files_and_its_class():
    assert set(ENGINE_CLASSES) == set(GRAPH_FILES) == set(ENGINES)


@pytest.mark.parametrize("mode", RUN_MODES[1:])
def test_tensorrt_needs_a_gpu(exported, mode):
    with pytest.raises(UserError, match=f"^`run_mode` {mode} is TensorRT's: .* `device` GPU"):
        Detector(exported, run_mode=mode)


def test_paddle_without_cuda_or_tensorrt(monkeypatch):
    def refused(message, device="GPU", run_mode="paddle"):
        with pytest.raises(UserError, match=message):
            check_installed(device, run_mode)

    refused("^`device` XPU: .*without Kunlun", "XPU")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    refused("^`device` GPU: .*without CUDA; .*use `device` CPU")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    refused("^`device` GPU: no GPU is visible; .* use `device` CPU")
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (0, 0, 0))
    refused("^`run_mode` trt_fp16: .*without TensorRT; .*use `run_mode` paddle", "GPU", "trt_fp16")
    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (8, 6, 1))
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (0, 0, 0))
    refused("^`run_mode` trt_fp16: .*libnvinfer .*TensorRT 8.6.1 ", "GPU", "trt_fp16")
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (8, 6, 1))
    check_installed("GPU", "trt_fp16")
    check_installed("GPU", "paddle")


@pytest.fixture
def for_cpus(broken):
    """An export that says it is for CPUs; the network here is too small to gain by other forms."""
    path = broken / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "target": "cpu"}))
    return broken


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"device": "GPU"}, "`device` GPU"),
        ({"device": "GPU", "run_mode": "trt_fp16"}, "`device` GPU"),
        ({"device": "xpu"}, "`device` XPU"),
        ({"enable_mkldnn_bfloat16": True}, "`enable_mkldnn_bfloat16`"),
    ],
)
def test_an_export_for_cpus_runs_there_only(for_cpus, options, wanted):
    with pytest.raises(ConfigError, match=f"target cpu, .* for {wanted} export it"):
        Detector(for_cpus, **options)


def test_an_export_for_cpus_gives_the_boxes(for_cpus, trained, same_boxes):
    detector = Detector(for_cpus)
    assert detector.engine.kernels == "oneDNN"
    same_boxes(trained, detector, [built_in_image()])
