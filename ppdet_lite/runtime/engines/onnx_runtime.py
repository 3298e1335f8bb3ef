"""Runs an exported .onnx with ONNX Runtime."""

import sys
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.built_engines import batch_of_engine
from ppdet_lite.runtime.engines.engine import Arrays, Engine
from ppdet_lite.runtime.engines.onnx_binding import DeviceBinding, check_fixed_sizes
from ppdet_lite.runtime.engines.onnx_providers import CPU, find_provider, nodes_on_the_cpu
from ppdet_lite.runtime.engines.tf32 import check_tf32_possible
from ppdet_lite.runtime.options import EngineOptions

FIRST_WITH_DEFORM_CONV = "1.25"
"""The first release that runs the operator DeformConv on CPUs."""


class OnnxRuntimeEngine(Engine):
    """An .onnx in ONNX Runtime: on the CPU, or on a GPU with one of its providers, where inputs and
    outputs are in the GPU's memory. Nodes that the provider leaves to the CPU are named in a line
    on standard error.
    """

    failures = (Exception,)  # they have no base class of their own

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        onnxruntime = require("onnxruntime", "`engine` onnxruntime")
        self.graph, self.device = files.graph, options.device
        provider = find_provider(options)
        if options.tf32:
            check_tf32_possible()
        provider.load(onnxruntime)
        self.kernels = "ONNX Runtime" + ("" if provider.name == CPU else f" {provider.title}")
        self._version = onnxruntime.__version__
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.cpu_threads
        settings.log_severity_level = 3  # errors; its warnings are about unused constants
        if provider.name != CPU:
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with self.errors():
            self._session = provider.open(onnxruntime, files, settings)
        provider.check_running(self._session)
        self.runs_on, self.gpu = provider.name, provider.gpu
        self.input_names = [entry.name for entry in self._session.get_inputs()]
        self._binding: Optional[DeviceBinding] = None
        if provider.name == CPU:
            return
        self.runs_on += f", TF32 {'on' if options.tf32 else 'off'}"
        if options.cuda_graph:
            check_fixed_sizes(self._session)
            self.runs_on += ", CUDA graph"
        if options.provider in ("tensorrt", "tensorrt_rtx") and files.config.input_hw is not None:
            self.fixed_batch = batch_of_engine(files.config, options.tensorrt)
        if found := nodes_on_the_cpu(self._session):
            print(f"{self.kernels}: on the CPU run {found}", file=sys.stderr)
        with self.errors():
            self._binding = DeviceBinding(onnxruntime, self._session, "cuda")

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)
        if self._binding is not None:
            self._binding.bind(self._inputs)

    def execute(self) -> None:
        if self._binding is not None:
            self._binding.run()
        else:
            self._outputs = self._session.run(None, self._inputs)

    def synchronize(self) -> None:
        if self._binding is not None:
            self._binding.synchronize()

    def outputs(self) -> list[np.ndarray]:
        return self._outputs if self._binding is None else self._binding.outputs()

    def close(self) -> None:
        self._binding = self._session = None
        if self.gpu is not None:  # after the session, which runs in its stream
            self.gpu.close()

    def problem(self, reason: str) -> str:
        advice = f"; this is {self._version}, DeformConv is in {FIRST_WITH_DEFORM_CONV} and later"
        return super().problem(reason) + (advice if "DeformConv" in reason else "")
