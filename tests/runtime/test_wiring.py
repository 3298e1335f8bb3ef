"""Options of the command line arrive where they belong: engines that note what is asked of them,
and detectors that note what they are given."""

import json
import os
import runpy
import shutil
import sys
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import paddle
import paddle.inference as inference
import pytest

from ppdet_lite.cli.deploy import build_parser, main, open_detector
from ppdet_lite.core.errors import DataError, UserError
from ppdet_lite.runtime import detector as runtime
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.frames import pipeline
from ppdet_lite.runtime.frames.pipeline import FramePipeline
from ppdet_lite.runtime.frames.sources import open_source
from ppdet_lite.utils import cpu as cpu_module
from tests.runtime.conftest import NotingDetector

CPU_PROVIDER = "CPUExecutionProvider"
HAS_SWITCH = hasattr(inference.Config, "disable_mkldnn")


@pytest.fixture
def open_engine(exported):
    """The engine that options of the command line choose."""

    def open_engine(*options, folder=exported):
        arguments = ["--model_dir", str(folder), "--image_file", "a.jpg", *options]
        return open_detector(build_parser().parse_args(arguments)).engine

    return open_engine


# -------------------------------------------------------------------------------------- Paddle
def test_threads_reach_paddle(open_engine, recorder):
    open_engine("--cpu_threads", "3")
    assert recorder.call("set_cpu_math_library_num_threads") == ((3,), {})
    assert recorder.call("disable_gpu") == ((), {})


@pytest.mark.parametrize(
    ("options", "is_on"),
    [
        ([], True),
        (["--enable_mkldnn"], True),
        (["--enable_mkldnn", "True"], True),
        (["--enable_mkldnn", "false"], False),
        (["--no-mkldnn"], False),
    ],
)
def test_onednn_reaches_paddle(open_engine, recorder, options, is_on):
    engine = open_engine(*options)
    assert (recorder.call("enable_mkldnn") == ((), {})) is is_on
    if HAS_SWITCH:  # there it is on unless it is turned off
        assert (recorder.call("disable_mkldnn") == ((), {})) is not is_on
    assert recorder.call("enable_mkldnn_bfloat16") is None
    assert engine.kernels == ("oneDNN" if is_on else "paddle")


def test_bfloat16_reaches_paddle(open_engine, recorder, monkeypatch):
    monkeypatch.setattr(cpu_module, "cpu_info", lambda: "flags : avx512_bf16\n")
    engine = open_engine("--enable_mkldnn_bfloat16")
    assert recorder.call("enable_mkldnn") == recorder.call("enable_mkldnn_bfloat16") == ((), {})
    assert engine.kernels == "oneDNN bfloat16"


@pytest.mark.parametrize("name", ["xpu", "XPU"])
def test_an_xpu_is_asked_for(open_engine, recorder, monkeypatch, name):
    monkeypatch.setattr(paddle, "is_compiled_with_xpu", lambda: True)
    engine = open_engine("--device", name)
    assert recorder.call("enable_xpu") == ((), {})
    for other in ("disable_gpu", "enable_use_gpu", "enable_mkldnn"):
        assert recorder.call(other) is None
    assert engine.kernels == "paddle on XPU"


def test_a_gpu_is_waited_for(open_engine, gpu, monkeypatch):
    calls = []
    monkeypatch.setattr(paddle.device.cuda, "synchronize", lambda: calls.append(True))
    engine = open_engine("--device", "GPU")
    assert gpu.call("enable_use_gpu") is not None and gpu.call("disable_gpu") is None
    engine.execute()
    assert calls == []
    engine.synchronize()
    assert calls == [True]
    open_engine("--device", "CPU").synchronize()
    assert calls == [True]


def test_mixed_precision_of_paddle_on_a_gpu(open_engine, gpu, monkeypatch):
    engine = open_engine("--device", "GPU", "--precision", "fp16")
    (_, _, precision), _ = gpu.call("enable_use_gpu")
    assert precision == inference.PrecisionType.Half
    (in_float32,), _ = gpu.call("exp_disable_mixed_precision_ops")
    for name in ("deformable_conv", "matrix_nms", "multiclass_nms3", "yolo_box", "log", "divide"):
        assert {name, f"pd_op.{name}"} <= in_float32
    assert not {"conv2d", "pd_op.conv2d"} & in_float32
    assert engine.kernels == "paddle on GPU in float16"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert engine.runs_on == "gpu:0, float16, TF32 allowed"
    assert open_engine("--device", "GPU").runs_on == "gpu:0, TF32 off"
    assert gpu.call("exp_disable_mixed_precision_ops") is None


@pytest.mark.parametrize(
    "options",
    [["--precision", "fp16"], ["--device", "GPU", "--run_mode", "trt_fp16", "--precision", "fp16"]],
)
def test_mixed_precision_needs_paddles_own_kernels_on_a_gpu(open_engine, options):
    with pytest.raises(UserError, match="^`precision` fp16: found `engine` paddle"):
        open_engine(*options)


def test_files_of_two_exports_do_not_go_together(broken, tmp_path):
    """The parameters of another network, whole in themselves."""
    other = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.Conv2D(8, 8, 3))
    spec = paddle.static.InputSpec([1, 3, 8, 8], "float32")
    paddle.jit.save(other, str(tmp_path / "other" / "model"), [spec])
    shutil.copy(tmp_path / "other" / "model.pdiparams", broken / "model.pdiparams")
    with pytest.raises(DataError, match="model.pdiparams: found .* tensors, .* of model"):
        Detector(broken)


# ------------------------------------------------------------------------------- the other engines
@pytest.fixture
def onnx_folder(broken):
    for name in ("model.onnx", "model_portable.onnx"):
        (broken / name).write_bytes(b"not read")
    return broken


@pytest.fixture
def onnxruntime(monkeypatch):
    """An onnxruntime, as far as its answers go."""
    sessions = []

    def session(path, options, providers, enable_fallback):
        sessions.append((options, providers))
        assert enable_fallback == 0
        return SimpleNamespace(
            get_inputs=list, get_providers=lambda: names, disable_fallback=lambda: None
        )

    names = [CPU_PROVIDER]
    module = SimpleNamespace(
        __version__="1.99",
        __file__="nowhere/__init__.py",
        SessionOptions=SimpleNamespace,
        InferenceSession=session,
        get_available_providers=lambda: names,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return sessions


def test_threads_reach_onnx_runtime(open_engine, onnx_folder, onnxruntime):
    options = ["--engine", "onnxruntime", "--cpu_threads", "3"]
    engine = open_engine(*options, folder=onnx_folder)
    (settings, found) = onnxruntime[0]
    assert found == [(CPU_PROVIDER, {})] and settings.intra_op_num_threads == 3
    assert engine.kernels == "ONNX Runtime" and engine.runs_on == CPU_PROVIDER


@pytest.mark.parametrize("choice", [["--use_openvino"], ["--engine", "openvino"]])
def test_precision_and_threads_reach_openvino(open_engine, onnx_folder, monkeypatch, choice):
    """float32 whatever the CPU has, so that all engines find the same."""
    compiled = []
    model = SimpleNamespace(inputs=[])

    def compile_model(*arguments):
        compiled.append(arguments)
        return SimpleNamespace(
            create_infer_request=SimpleNamespace, get_property=lambda key: ["CPU"]
        )

    names = ("INFERENCE_NUM_THREADS", "INFERENCE_PRECISION_HINT")
    core = SimpleNamespace(
        available_devices=["CPU"],
        read_model=lambda path: model,
        compile_model=compile_model,
        get_property=lambda device, key: dict.fromkeys(names, "RW"),
    )
    module = ModuleType("openvino")
    module.Core = lambda: core
    monkeypatch.setitem(sys.modules, "openvino", module)
    open_engine(*choice, "--cpu_threads", "3", folder=onnx_folder)
    ((graph, device, settings),) = compiled
    assert graph is model and device == "CPU"
    assert settings["INFERENCE_PRECISION_HINT"] == "f32"
    assert settings["INFERENCE_NUM_THREADS"] == 3 and "PERFORMANCE_HINT" not in settings


# ------------------------------------------------------------------------------ images and frames
class Capture:
    """A cv2.VideoCapture of `count` black frames."""

    def __init__(self, count):
        self.count, self.given = count, 0

    def isOpened(self):
        return True

    def get(self, key):
        return {cv2.CAP_PROP_FRAME_COUNT: self.count, cv2.CAP_PROP_FPS: 25.0}[key]

    def read(self):
        self.given += 1
        return self.given <= self.count, np.zeros((32, 32, 3), np.uint8)

    def release(self):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs infer.py with a detector that notes, and a capture of 7 frames for anything but
    images; returns both and the pipeline."""
    pipelines = []

    class Pipeline(FramePipeline):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            pipelines.append(self)

    def run(*options):
        detector, capture = NotingDetector(), Capture(7)
        monkeypatch.setattr(runtime, "Detector", lambda *arguments, **options: detector)
        monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: capture)
        monkeypatch.setattr(pipeline, "FramePipeline", Pipeline)
        arguments = ["--model_dir", "x", "--output_dir", str(tmp_path / "out"), *options]
        main([*arguments, "--save_images", "false"])
        return detector, capture, pipelines[-1] if pipelines else None

    return run


def test_batches_of_images(run, tiny_coco):
    images = [str(path) for path in sorted((tiny_coco / "images").glob("*.jpg"))[:5]]
    assert run("--image_file", *images, "--batch_size", "2")[0].sizes == [2, 2, 1]
    assert run("--image_file", *images[:2])[0].sizes == [1, 1]


def test_batches_of_frames(run, tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    assert run("--video_file", str(tmp_path / "v.mp4"), "--batch_size", "3")[0].sizes == [3, 3, 1]
    detector, _, pipeline = run("--video_file", str(tmp_path / "v.mp4"))
    assert detector.sizes == [1] * 7 and pipeline.is_live is False


@pytest.mark.parametrize(
    ("source", "stem"), [(["--rtsp", "rtsp://x/y"], "stream"), (["--camera_id", "0"], "camera_0")]
)
def test_live_sources_skip_frames_and_end_after_max_frames(run, tmp_path, source, stem):
    _, capture, pipeline = run(*source, "--max_frames", "3")
    assert capture.given == 3 and pipeline.is_live is True
    lines = (tmp_path / "out" / f"{stem}.jsonl").read_text().splitlines()
    assert len(lines) + pipeline.skipped == 3
    assert json.loads(lines[-1])["frame"] == 2


def test_a_stream_that_does_not_answer_is_left_after_ten_seconds(monkeypatch):
    opened = []
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda *arguments: opened.append(arguments) or Capture(1)
    )
    open_source("rtsp", "rtsp://x/y")
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]
    assert opened == [("rtsp://x/y", cv2.CAP_FFMPEG, limits)]


def test_threads_are_the_cores_that_may_be_used(repo, monkeypatch):
    path = str(repo / "ppdet_lite/runtime/options.py")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    for cores, threads in ((3, 3), (12, 8)):
        allowed = set(range(4, 4 + cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, a=allowed: a, raising=False)
        assert runpy.run_path(path)["DEFAULT_THREADS"] == threads
