"""Paddle Inference under deploy/python: its kernels, and devices that are not there."""

import sys

import numpy as np
import paddle
import pytest
import yaml

from ppdet_lite.core.errors import ConfigError, UserError
from ppdet_lite.export.check import built_in_image
from ppdet_lite.utils import cpu as cpu_module


def test_without_onednn(deploy, exported, trained, same_boxes):
    plain = deploy.detector.Detector(exported, enable_mkldnn=False)
    assert not plain.engine.onednn
    same_boxes(trained, plain, [built_in_image()])


def test_onednn_that_fails_is_replaced_with_one_line(
    deploy, exported, trained, same_boxes, capsys, monkeypatch
):
    paddle_engine = deploy.engine_paddle.PaddleEngine
    execute = paddle_engine.execute

    def fragile(self):
        if self.onednn:
            raise RuntimeError("(Unimplemented)\nno such kernel")
        execute(self)

    monkeypatch.setattr(paddle_engine, "execute", fragile)
    detector = deploy.detector.Detector(exported)
    same_boxes(trained, detector, [built_in_image()])
    printed = capsys.readouterr().err
    assert printed == (
        "oneDNN is off, it cannot run this model here: (Unimplemented) no such kernel\n"
    )
    assert not detector.engine.onednn
    assert detector.engine.kernels == "paddle"


def test_an_error_that_is_not_onednns_leaves_it_on(deploy, exported, trained, same_boxes, capsys):
    detector = deploy.detector.Detector(exported)
    wrong = {
        "image": np.zeros((1, 3, 10, 10), np.float32),
        "im_shape": np.ones((1, 2), np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    with pytest.raises(UserError, match=f"{exported}: Paddle cannot run this model"):
        detector.engine.run(wrong)
    assert detector.engine.kernels == "oneDNN" and capsys.readouterr().err == ""
    same_boxes(trained, detector, [built_in_image()])


@pytest.mark.parametrize("kind", [IndexError, TypeError, SystemError, NotImplementedError])
def test_paddles_kinds_of_errors_are_said(deploy, exported, monkeypatch, kind):
    """OutOfRange, InvalidType, Fatal and Unimplemented."""
    detector = deploy.detector.Detector(exported, enable_mkldnn=False)

    def fail(self):
        raise kind("(Fatal) broken")

    monkeypatch.setattr(deploy.engine_paddle.PaddleEngine, "execute", fail)
    with pytest.raises(UserError) as caught:
        detector.predict([built_in_image()])
    assert str(caught.value).startswith(f"{exported}: Paddle cannot run this model. ")
    assert str(caught.value).endswith(": (Fatal) broken")


def test_ctrl_c_while_paddle_is_imported(deploy, monkeypatch):
    """Its libraries turn a KeyboardInterrupt into an ImportError."""

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "paddle":
                raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.delitem(sys.modules, "paddle")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(KeyboardInterrupt):
        deploy.engine_paddle.check_runtime("CPU", "paddle")


def test_bfloat16_only_where_the_cpu_has_it(deploy, exported, capsys, monkeypatch):
    cpu = "flags : avx2\n"
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: cpu)
    detector = deploy.detector.Detector(exported, enable_mkldnn_bfloat16=True)
    assert detector.engine.kernels == "oneDNN"
    assert capsys.readouterr().err == (
        "bfloat16 is off: this CPU has no instructions for it (avx512_bf16, amx_bf16)\n"
    )
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: "flags : avx2 avx512_bf16\n")
    calls = []
    config = FakeConfig(calls)
    engine = detector.engine
    engine.bfloat16 = deploy.engine_paddle._has_bfloat16()
    engine._choose_cpu_kernels(config)
    assert calls == ["enable_mkldnn", "enable_mkldnn_bfloat16"]
    assert engine.kernels == "oneDNN bfloat16"


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"engine": "onnxruntime"}, "--engine paddle"),
        ({"engine": "openvino", "device": "GPU"}, "--engine paddle, --device CPU"),
        ({"device": "GPU"}, "--device CPU"),
        ({"enable_mkldnn": False}, "--enable_mkldnn"),
    ],
)
def test_bfloat16_that_would_be_ignored_is_refused(deploy, broken, options, needed):
    for name in ("model.onnx", "model_portable.onnx"):
        (broken / name).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        deploy.detector.Detector(broken, enable_mkldnn_bfloat16=True, **options)
    assert str(caught.value) == f"--enable_mkldnn_bfloat16 needs {needed}"


class FakeConfig:
    """Notes the names of what is called."""

    def __init__(self, calls):
        self._calls = calls

    def __getattr__(self, name):
        return lambda *args: self._calls.append(name)


@pytest.mark.parametrize("mode", ["trt_fp32", "trt_fp16", "trt_int8"])
def test_tensorrt_needs_a_gpu(deploy, exported, mode):
    with pytest.raises(UserError) as caught:
        deploy.detector.Detector(exported, run_mode=mode)
    assert str(caught.value) == (
        f"--run_mode {mode} is TensorRT's: install a paddlepaddle-gpu with TensorRT "
        "(deploy/README.md says which) and add --device GPU, or use --run_mode paddle"
    )


def test_paddle_without_cuda_or_tensorrt(deploy, monkeypatch):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "paddle")
    assert str(caught.value) == (
        "--device GPU: this Paddle was built without CUDA; install paddlepaddle-gpu "
        "(README.md says from where), or use --device CPU"
    )
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="--device GPU: no GPU is visible; use --device CPU"):
        deploy.engine_paddle.check_runtime("GPU", "paddle")
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
    import paddle.inference as inference

    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (0, 0, 0))
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    assert str(caught.value) == (
        "--run_mode trt_fp16: this Paddle was built without TensorRT; install a paddlepaddle-gpu "
        "with TensorRT (deploy/README.md says which), or use --run_mode paddle"
    )
    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (8, 6, 1))
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (0, 0, 0))
    with pytest.raises(UserError) as caught:
        deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    assert str(caught.value) == (
        "--run_mode trt_fp16: the library libnvinfer of TensorRT is not found; install TensorRT "
        "8.6.1 and name its folder in LD_LIBRARY_PATH, or use --run_mode paddle"
    )
    monkeypatch.setattr(inference, "get_trt_runtime_version", lambda: (8, 6, 1))
    deploy.engine_paddle.check_runtime("GPU", "trt_fp16")
    deploy.engine_paddle.check_runtime("GPU", "paddle")


def test_unknown_devices_and_modes(deploy):
    with pytest.raises(UserError, match="--device: found TPU, allowed: CPU, GPU, XPU"):
        deploy.engine_paddle.check_runtime("TPU", "paddle")
    with pytest.raises(UserError, match="--run_mode: found fast, allowed: paddle, trt_fp32, trt_"):
        deploy.engine_paddle.check_runtime("CPU", "fast")
    with pytest.raises(UserError, match="--device XPU: this Paddle was built without Kunlun supp"):
        deploy.engine_paddle.check_runtime("XPU", "paddle")


@pytest.fixture
def for_cpus(broken):
    """An export that says it is for CPUs; the network here is too small to gain by other forms."""
    path = broken / "infer_cfg.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "target": "cpu"}))
    return broken


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"device": "GPU"}, "--device GPU"),
        ({"device": "GPU", "run_mode": "trt_fp16"}, "--device GPU"),
        ({"device": "xpu"}, "--device XPU"),
        ({"enable_mkldnn_bfloat16": True}, "--enable_mkldnn_bfloat16"),
    ],
)
def test_an_export_for_cpus_runs_there_only(deploy, for_cpus, options, wanted):
    with pytest.raises(ConfigError) as caught:
        deploy.detector.Detector(for_cpus, **options)
    assert str(caught.value) == (
        f"--model_dir {for_cpus}: exported with --target cpu, for CPUs in float32; for {wanted} "
        "export it without"
    )


def test_an_export_for_cpus_gives_the_boxes(deploy, for_cpus, trained, same_boxes):
    detector = deploy.detector.Detector(for_cpus)
    assert detector.engine.kernels == "oneDNN"
    same_boxes(trained, detector, [built_in_image()])
