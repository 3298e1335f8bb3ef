"""Runs an exported .onnx with ONNX Runtime."""

from ppdet_lite.core.errors import require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Engine
from ppdet_lite.runtime.engines.onnx_providers import CPU, check_running, find_provider
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
        provider = find_provider(self.device, onnxruntime)
        self.kernels = "ONNX Runtime" + ("" if self.device == "CPU" else f" {provider.title}")
        self._version = onnxruntime.__version__
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.cpu_threads
        settings.log_severity_level = 3  # errors; its warnings are about unused constants
        providers = list(dict.fromkeys([provider.name, CPU]))
        with self.errors():
            self._session = onnxruntime.InferenceSession(
                str(self.graph), settings, providers=providers, enable_fallback=0
            )
            self._session.disable_fallback()  # in releases that do not know the argument
        check_running(self._session, provider, self.device)
        self.runs_on = provider.name
        self.input_names = [entry.name for entry in self._session.get_inputs()]

    def execute(self) -> None:
        self._outputs = self._session.run(None, self._inputs)

    def problem(self, reason: str) -> str:
        advice = f"; this is {self._version}, DeformConv is in {FIRST_WITH_DEFORM_CONV} and later"
        return super().problem(reason) + (advice if "DeformConv" in reason else "")
