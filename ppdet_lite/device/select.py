"""The device to compute on, and the cores of the processor."""

import ctypes
from pathlib import Path
from typing import Optional

import paddle
from paddle import distributed

from ppdet_lite.device.ranks import launched_processes
from ppdet_lite.utils.cpu import core_count, prefer_fast_blas
from ppdet_lite.utils.logger import get_logger


def prepare_device(use_gpu: bool, cpu_threads: Optional[int] = None) -> str:
    """Selects the device and returns its name (`gpu:0` or `cpu`).

    Args:
        use_gpu: take the GPU of this process; without one the CPU is used, and a line says why.
        cpu_threads: threads of the CPU kernels; None = this process' share of the cores.
    """
    built_for_gpu = paddle.is_compiled_with_cuda()
    if use_gpu and built_for_gpu and paddle.device.cuda.device_count() > 0:
        device = f"gpu:{distributed.ParallelEnv().device_id}"
    else:
        device = "cpu"
        if use_gpu:
            reason = "no GPU is visible" if built_for_gpu else "this Paddle was built without CUDA"
            get_logger().info("Running on the CPU: %s.", reason)
        prefer_fast_blas()
        use_cpu_cores(cpu_threads or max(1, core_count() // launched_processes()))
    paddle.set_device(device)
    return device


def normalizes_on_device() -> bool:
    """True if batches go to the device as uint8 pixels and are normalized there: a quarter of the
    bytes to copy, and less work for the processor. On a CPU the reader's one pass is faster.
    """
    return paddle.get_device() != "cpu"


def use_cpu_cores(threads: int) -> bool:
    """Lets Paddle's CPU kernels use so many threads; returns False where that is not possible.

    Importing Paddle limits them to one, and Paddle has no function to change it afterwards: the
    OpenMP runtime that it ships is told directly. Where it ships none, the limit stays.
    """
    libraries = (Path(paddle.__file__).parent / "libs").glob("libiomp5*")
    found = [path for path in libraries if path.name in ("libiomp5.so", "libiomp5md.dll")]
    for path in found:
        ctypes.CDLL(str(path)).omp_set_num_threads(int(threads))
    return bool(found)
