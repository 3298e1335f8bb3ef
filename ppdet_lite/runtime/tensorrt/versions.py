"""Which TensorRT this Paddle was built with, and which one is installed."""

from ppdet_lite.core.errors import UserError


def tensorrt_versions() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the TensorRT that this Paddle was built with, and of the one that is found on this
    machine; (0, 0, 0) for none."""
    from paddle.inference import get_trt_compile_version, get_trt_runtime_version

    return tuple(get_trt_compile_version()), tuple(get_trt_runtime_version())


def check_tensorrt(run_mode: str) -> None:
    """Refuses TensorRT where this Paddle was built without it, or its library is not installed."""
    built_with, installed = tensorrt_versions()
    if not any(built_with):
        raise UserError(
            f"`run_mode` {run_mode}: this Paddle was built without TensorRT; install a "
            "paddlepaddle-gpu with TensorRT (deploy/README.md says which), or use `run_mode` paddle"
        )
    if not any(installed):
        version = ".".join(map(str, built_with))
        raise UserError(
            f"`run_mode` {run_mode}: the library libnvinfer of TensorRT is not found; install "
            f"TensorRT {version} and name its folder in LD_LIBRARY_PATH, or use `run_mode` paddle"
        )
