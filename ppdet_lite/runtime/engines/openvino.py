"""Runs an exported .onnx with OpenVINO."""

import numpy as np

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine
from ppdet_lite.runtime.options import EngineOptions


class OpenVinoEngine(Engine):
    """An .onnx in OpenVINO on the CPU, in float32."""

    kernels, device, failures = "OpenVINO", "CPU", (RuntimeError, ValueError)

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        if options.device != "CPU":
            raise UserError(
                f"`engine` openvino, `device` {options.device}: this engine is for CPUs only; use "
                "`device` CPU"
            )
        self._openvino = openvino = require("openvino", "`engine` openvino")
        self.graph = files.graph
        settings = {
            "INFERENCE_NUM_THREADS": options.cpu_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on CPUs that have it
        }
        with self.errors():
            model = openvino.Core().read_model(str(self.graph))
            self._request = openvino.compile_model(model, "CPU", settings).create_infer_request()
            self.input_names = [port.get_any_name() for port in model.inputs]

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)
        for name, array in self._inputs.items():
            self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=False))

    def execute(self) -> None:
        self._request.infer()

    def outputs(self) -> list[np.ndarray]:
        return [tensor.data.copy() for tensor in self._request.output_tensors]
