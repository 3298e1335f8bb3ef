"""Paddle Inference as it is installed: what it can do here, its settings, its inputs."""

import warnings
from pathlib import Path
from typing import Any, Optional, Sequence

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.engines.engine import Arrays
from ppdet_lite.utils.cpu import prefer_fast_blas

GPU_MEMORY_MIB = 200
"""Taken at the start; it grows when needed."""

_WITH_TENSORRT = "a paddlepaddle-gpu with TensorRT (deploy/README.md says which)"


def check_installed(device: str, run_mode: str) -> None:
    """Refuses a device or run mode that the installed Paddle does not have."""
    if run_mode != "paddle" and device != "GPU":
        raise UserError(
            f"`run_mode` {run_mode} is TensorRT's: install {_WITH_TENSORRT} and use `device` GPU, "
            "or `run_mode` paddle"
        )
    warnings.filterwarnings("ignore", message="No ccache found")  # only compilers need it
    prefer_fast_blas()
    try:
        import paddle
    except ImportError as error:
        cause: Optional[BaseException] = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):  # Ctrl-C in the middle of the import
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise UserError(
            f"Paddle cannot be imported ({error}); install paddlepaddle, or paddlepaddle-gpu for "
            "`device` GPU (docs/install.md says from where)"
        ) from error
    missing = ""
    if device == "GPU" and not paddle.is_compiled_with_cuda():
        missing = "this Paddle was built without CUDA; install paddlepaddle-gpu (docs/install.md)"
    elif device == "GPU" and paddle.device.cuda.device_count() == 0:
        missing = "no GPU is visible; check its driver"
    elif device == "NPU":
        missing = "`engine` paddle does not have it; use `engine` openvino"
    elif device == "XPU" and not paddle.is_compiled_with_xpu():
        missing = "this Paddle was built without Kunlun support; install Paddle's paddlepaddle-xpu"
    if missing:
        raise UserError(f"`device` {device}: {missing}, or use `device` CPU")
    if run_mode == "paddle":
        return
    built_with, installed = tensorrt_versions()
    if not any(built_with):
        missing = f"this Paddle was built without TensorRT; install {_WITH_TENSORRT}"
    elif not any(installed):
        missing = (
            "the library libnvinfer of TensorRT is not found; install TensorRT "
            f"{'.'.join(map(str, built_with))} and name its folder in LD_LIBRARY_PATH"
        )
    if missing:
        raise UserError(f"`run_mode` {run_mode}: {missing}, or use `run_mode` paddle")


def tensorrt_versions() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Versions of the TensorRT that Paddle was built with and of the installed one; (0, 0, 0)
    for none."""
    from paddle.inference import get_trt_compile_version, get_trt_runtime_version

    return tuple(get_trt_compile_version()), tuple(get_trt_runtime_version())


def check_graph(graph: Path) -> None:
    """Refuses a graph of Paddle 3 under Paddle 2, which would end in a crash of the process."""
    import paddle

    if graph.suffix == ".json" and paddle.__version__.startswith(("1.", "2.")):
        raise UserError(
            f"{graph}: written by Paddle 3, but this is Paddle {paddle.__version__}; install "
            "paddlepaddle>=3, or export the model with the Paddle of this machine"
        )


def new_config(
    graph: Path, params: Optional[Path], device: str, in_float32: Optional[Sequence[str]] = None
) -> Any:
    """paddle.inference.Config for a device.

    Args:
        in_float32: on a GPU, mixed precision in float16 but for these operators; None: float32.
    """
    from paddle.inference import Config, PrecisionType

    config = Config(str(graph), str(params))
    config.disable_glog_info()
    config.switch_ir_optim(True)
    if device == "GPU":
        half = () if in_float32 is None else (PrecisionType.Half,)
        config.enable_use_gpu(GPU_MEMORY_MIB, 0, *half)
        if in_float32 is not None:
            config.exp_disable_mixed_precision_ops(set(in_float32))
    elif device == "XPU":
        config.enable_xpu()
    else:
        config.disable_gpu()
    if (device == "GPU") != config.use_gpu() or (device == "XPU") != config.use_xpu():
        # Paddle only logs that it has no such device, and computes on the CPU.
        raise UserError(f"`device` {device}: this Paddle does not take it; use `device` CPU")
    return config


def bind_inputs(predictor: Any, inputs: Arrays) -> None:
    """Copies arrays of any shape that the graph takes to the predictor's device."""
    for name in predictor.get_input_names():
        handle = predictor.get_input_handle(name)
        handle.reshape(inputs[name].shape)
        handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
