"""The device that is asked for is the one that computes, or an error says what is missing."""

import re
import subprocess
import sys
from types import SimpleNamespace

import paddle.inference as inference
import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.detector import Detector, open_engine
from ppdet_lite.runtime.engines import onnx_providers
from ppdet_lite.runtime.engines.cuda_driver import CudaDevice
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.engines.onnx_providers import Cuda
from ppdet_lite.runtime.engines.openvino import check_device, device_settings
from ppdet_lite.runtime.engines.paddle_predictor import new_config
from ppdet_lite.runtime.options import EngineOptions
from ppdet_lite.runtime.process import EngineProcess
from tests.runtime.gpu_fakes import FakeDriver

CUDA = Cuda.name


@pytest.fixture
def onnx_file(broken):
    (broken / "model.onnx").write_bytes(b"not read")
    return broken


@pytest.fixture
def onnxruntime(monkeypatch, tmp_path):
    """An onnxruntime-gpu of which a test says what it has and what its sessions run."""
    (tmp_path / "capi").mkdir()

    def session(path, settings, providers, enable_fallback):
        return SimpleNamespace(
            get_inputs=list,
            get_outputs=list,
            get_providers=lambda: module.running,
            disable_fallback=lambda: None,
            io_binding=lambda: None,
        )

    module = SimpleNamespace(
        __version__="1.99",
        __file__=str(tmp_path / "__init__.py"),
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *pair: None),
        InferenceSession=session,
        available=[CUDA, "CPUExecutionProvider"],
        running=[CUDA, "CPUExecutionProvider"],
        preload_dlls=lambda: print("Failed to load libcublas.so.99"),
    )
    module.get_available_providers = lambda: module.available
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setattr(onnx_providers, "CudaDevice", lambda: CudaDevice(FakeDriver()))
    return module


def refused(folder, match, device="GPU", engine="onnxruntime"):
    start = f"^`engine` {engine}, `device` {device}: "
    with pytest.raises(UserError, match=start + match) as caught:
        Detector(folder, device, engine=engine)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_provider_that_runs(onnx_file, onnxruntime, capsys):
    engine = Detector(onnx_file, "GPU", engine="onnxruntime").engine
    assert engine.runs_on == f"{CUDA}, TF32 off"
    assert capsys.readouterr().out == ""


def test_a_provider_that_onnx_runtime_lacks(onnx_file, onnxruntime):
    onnxruntime.available = ["CPUExecutionProvider"]
    refused(onnx_file, f"found no {CUDA} .* 1.99; .*onnxruntime-gpu.*, or use `device` CPU$")
    refused(onnx_file, "found XPU, allowed: CPU, GPU", "XPU")


def test_a_provider_whose_library_cannot_be_loaded(onnx_file, onnxruntime, tmp_path, capsys):
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"no library")
    refused(onnx_file, "libonnxruntime_providers_cuda.so cannot be loaded, .*; pip install ")
    assert capsys.readouterr().out == ""


def test_a_provider_that_onnx_runtime_left_out(onnx_file, onnxruntime):
    onnxruntime.running = ["CPUExecutionProvider"]
    refused(onnx_file, f"{CUDA} failed to start, found CPUExecutionProvider; ")


def test_the_installed_onnx_runtime_computes_where_it_is_asked_to(onnx_file):
    onnxruntime = pytest.importorskip("onnxruntime")
    if CUDA not in onnxruntime.get_available_providers():
        refused(onnx_file, f"found no {CUDA}")
        pytest.skip("needs onnxruntime-gpu")
    try:
        Detector(onnx_file, "GPU", engine="onnxruntime")
    except UserError as error:  # without CUDA its library, with CUDA the file is the problem
        is_found = isinstance(error, EngineError)
        assert is_found or "libonnxruntime_providers_cuda.so cannot be loaded, lib" in str(error)
    else:
        pytest.fail("a file that holds no graph was opened")


OPENVINO = """
import sys
import openvino
from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.detector import Detector

for device in sorted({"GPU", "NPU", "XPU"} - set(openvino.Core().available_devices)):
    try:
        Detector(sys.argv[1], device, engine="openvino")
    except UserError as error:
        print(error)
"""
"""In a process of its own: after OpenVINO looked for devices, a signal may crash the process."""


def test_openvino_names_its_devices(onnx_file, repo):
    pytest.importorskip("openvino")
    command = [sys.executable, "-c", OPENVINO, str(onnx_file)]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert lines and "`device` XPU: " in lines[-1], done.stderr
    for line in lines:
        assert re.match("`engine` openvino, `device` ...: found .*CPU.* on this machine", line)
    check_device("GPU", ["CPU", "GPU.0", "GPU.1"])
    with pytest.raises(UserError, match="`device` NPU: found CPU, GPU.0 on"):
        check_device("NPU", ["CPU", "GPU.0"])


def test_openvino_gets_the_settings_that_a_device_has():
    known = {"CPU": ["INFERENCE_NUM_THREADS"], "GPU": [], "NPU": ["PERFORMANCE_HINT"]}
    core = SimpleNamespace(
        get_property=lambda device, key: ["INFERENCE_PRECISION_HINT", *known[device]]
    )
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    assert device_settings(core, "CPU", 3) == {"INFERENCE_NUM_THREADS": 3, **precision}
    assert device_settings(core, "GPU", 3) == precision
    assert device_settings(core, "NPU", 3) == {"PERFORMANCE_HINT": "LATENCY"}


def test_a_config_that_paddle_leaves_on_the_cpu(exported, monkeypatch):
    """It only logs that it was built without the device."""
    files = ModelFolder(exported)
    assert not new_config(files.graph, files.params, "CPU").use_gpu()
    for device in ("GPU", "XPU"):
        monkeypatch.setattr(inference.Config, f"use_{device.lower()}", lambda self: False)
        monkeypatch.setattr(inference.Config, "enable_xpu", lambda self: None)
        with pytest.raises(UserError, match=f"^`device` {device}: this Paddle does not take it"):
            new_config(files.graph, files.params, device)


def test_paddle_has_no_npu(exported):
    with pytest.raises(UserError, match="^`device` NPU: .*use `engine` openvino"):
        Detector(exported, "NPU")


@pytest.mark.parametrize(
    ("engine", "runs_on"),
    [("paddle", "cpu"), ("onnxruntime", "CPUExecutionProvider"), ("openvino", "CPU")],
)
def test_what_runs_on_a_cpu(exported, tiny_onnx, engine, runs_on):
    pytest.importorskip(engine)
    folder = exported if engine == "paddle" else tiny_onnx
    assert open_engine(ModelFolder(folder, engine), EngineOptions(engine)).runs_on == runs_on


def test_what_runs_in_another_process(exported):
    engine = EngineProcess(ModelFolder(exported), EngineOptions())
    try:
        assert engine.runs_on == "cpu"
    finally:
        engine.close()
