"""Runs an exported .onnx with ONNX Runtime."""

from typing import Any

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Engine
from ppdet_lite.runtime.options import EngineOptions

FIRST_WITH_DEFORM_CONV = "1.25"
"""The first release that runs the operator DeformConv on CPUs."""


class OnnxRuntimeEngine(Engine):
    """An .onnx in ONNX Runtime, on the CPU or, with onnxruntime-gpu, on a GPU."""

    failures = (Exception,)  # they have no base class of their own

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        onnxruntime = require("onnxruntime", "`engine` onnxruntime")
        self.graph, self.device = files.graph, options.device
        self.kernels = "ONNX Runtime" + ("" if self.device == "CPU" else f" on {self.device}")
        self._version = onnxruntime.__version__
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.cpu_threads
        settings.log_severity_level = 3  # errors; its warnings are about unused constants
        providers = _providers(onnxruntime, self.device)
        with self.errors():
            self._session = onnxruntime.InferenceSession(
                str(self.graph), settings, providers=providers
            )
        self.input_names = [entry.name for entry in self._session.get_inputs()]

    def execute(self) -> None:
        self._outputs = self._session.run(None, self._inputs)

    def problem(self, reason: str) -> str:
        advice = f"; this is {self._version}, DeformConv is in {FIRST_WITH_DEFORM_CONV} and later"
        return super().problem(reason) + (advice if "DeformConv" in reason else "")


def _providers(onnxruntime: Any, device: str) -> list[str]:
    if device == "CPU":
        return ["CPUExecutionProvider"]
    if device == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    advice = "install onnxruntime-gpu, or " if device == "GPU" else ""
    raise UserError(
        f"`engine` onnxruntime, `device` {device}: this ONNX Runtime does not have it; {advice}use "
        "`device` CPU"
    )
