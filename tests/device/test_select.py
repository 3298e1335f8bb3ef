"""The device and the threads that a run computes with."""

import ctypes
from pathlib import Path

import paddle
import pytest

from ppdet_lite.device.select import prepare_device, use_cpu_cores


def test_device():
    assert prepare_device(use_gpu=False) == "cpu"
    assert paddle.get_device() == "cpu"


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
