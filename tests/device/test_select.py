"""The device and the threads that a run computes with."""

import ctypes
from pathlib import Path

import paddle
import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.device.select import prepare_device, use_cpu_cores
from ppdet_lite.evaluate.predictor import run_inference
from ppdet_lite.evaluate.run import run_evaluation
from ppdet_lite.export.run import export_model
from ppdet_lite.train.run import run_training


def test_device():
    assert prepare_device(use_gpu=False) == "cpu"
    assert paddle.get_device() == "cpu"


@pytest.mark.parametrize(
    ("has_cuda", "reason"), [(False, "built without CUDA"), (True, "no GPU is visible")]
)
def test_a_gpu_that_is_asked_for_and_not_there(monkeypatch, caplog, has_cuda, reason):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: has_cuda)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=f"^use_gpu: found true, allowed here: .*{reason}"):
        prepare_device(use_gpu=True)
    assert prepare_device(use_gpu=None) == "cpu"
    assert "Running on the CPU" in caplog.text and reason in caplog.text


@pytest.mark.parametrize("tool", [run_training, run_evaluation, export_model, run_inference])
def test_tools_refuse_a_gpu_that_is_not_there(small_config, tiny_coco, monkeypatch, tool):
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 0)
    images = {"infer_img": [tiny_coco / "images" / "val_0.jpg"]} if tool is run_inference else {}
    with pytest.raises(ConfigError, match="^use_gpu: found true"):
        tool(load_config(small_config, ["use_gpu=true"]), **images)


def test_cpu_kernels_get_the_threads_that_are_asked_for():
    runtime = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
    if not runtime.is_file():
        pytest.skip("this Paddle ships no OpenMP runtime of its own")
    openmp = ctypes.CDLL(str(runtime))
    before = openmp.omp_get_max_threads()
    try:
        assert use_cpu_cores(3) and openmp.omp_get_max_threads() == 3
        prepare_device(use_gpu=False, cpu_threads=1)
        assert openmp.omp_get_max_threads() == 1
    finally:
        use_cpu_cores(before)
