"""The engines by name."""

from typing import Callable

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Engine
from ppdet_lite.runtime.engines.onnx_runtime import OnnxRuntimeEngine
from ppdet_lite.runtime.engines.openvino import OpenVinoEngine
from ppdet_lite.runtime.engines.paddle_inference import PaddleEngine
from ppdet_lite.runtime.engines.tensorrt_engine import TensorRTEngine, TensorRTRTXEngine
from ppdet_lite.runtime.options import EngineOptions

ENGINE_CLASSES: dict[str, Callable[[ModelFolder, EngineOptions], Engine]] = {
    "paddle": PaddleEngine,
    "onnxruntime": OnnxRuntimeEngine,
    "openvino": OpenVinoEngine,
    "tensorrt": TensorRTEngine,
    "tensorrt_rtx": TensorRTRTXEngine,
}


def open_engine(files: ModelFolder, options: EngineOptions) -> Engine:
    """The network of `files` in an engine.

    Raises:
        ConfigError: an export for CPUs on something else: its convolutions by Winograd's method
            are not exact enough in half precision.
        UserError: a device, run mode or package that is not available.
        EngineError: the engine cannot load the files.
    """
    is_bfloat16 = options.enable_mkldnn_bfloat16
    wanted = "`enable_mkldnn_bfloat16`" if is_bfloat16 else f"`device` {options.device}"
    if files.config.target == "cpu" and wanted != "`device` CPU":
        raise ConfigError(
            f"`model_dir` {files.path}: exported for the target cpu, that is for CPUs in float32; "
            f"for {wanted} export it for the target any"
        )
    return ENGINE_CLASSES[options.engine](files, options)
