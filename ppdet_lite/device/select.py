"""The device to compute on, and the cores of the processor."""

import ctypes
from pathlib import Path
from typing import Optional

import paddle
from paddle import distributed

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.device.ranks import launched_processes
from ppdet_lite.utils.cpu import core_count, prefer_fast_blas
from ppdet_lite.utils.logger import get_logger


def prepare_device(use_gpu: Optional[bool], cpu_threads: Optional[int] = None) -> str:
    """Selects the device and returns its name (`gpu:0` or `cpu`).

    Args:
        use_gpu: True takes the GPU of this process; None takes the CPU where there is no GPU, and
            a line says why.
        cpu_threads: threads of the CPU kernels; None = this process' share of the cores.

    Raises:
        ConfigError: a GPU is asked for that Paddle cannot use.
    """
    check_gpu(use_gpu)
    reason = no_gpu_reason()
    if use_gpu is not False and not reason:
        device = f"gpu:{distributed.ParallelEnv().device_id}"
    else:
        device = "cpu"
        if use_gpu is None:
            get_logger().info("Running on the CPU: %s.", reason)
        prefer_fast_blas()
        use_cpu_cores(cpu_threads or max(1, core_count() // launched_processes()))
    paddle.set_device(device)
    return device


def no_gpu_reason() -> str:
    """Returns the reason why Paddle cannot use a GPU here; empty if it can."""
    if not paddle.is_compiled_with_cuda():
        return "this Paddle was built without CUDA"
    return "" if paddle.device.cuda.device_count() > 0 else "no GPU is visible"


def check_gpu(use_gpu: Optional[bool]) -> None:
    """Raises a ConfigError if `use_gpu` is True and Paddle cannot use a GPU here."""
    if use_gpu and (reason := no_gpu_reason()):
        raise ConfigError(
            f"use_gpu: found true, allowed here: false, null ({reason}; docs/install.md says which "
            "paddlepaddle-gpu to install)"
        )


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
