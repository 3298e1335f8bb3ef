"""Runs an exported .onnx with OpenVINO."""

import re
from functools import cache
from types import ModuleType
from typing import Any, Sequence

import numpy as np

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.runtime.contract import ModelFolder
from ppdet_lite.runtime.engines.engine import Arrays, Engine
from ppdet_lite.runtime.options import EngineOptions


class OpenVinoEngine(Engine):
    """An .onnx in OpenVINO on one of its devices."""

    kernels, failures = "OpenVINO", (RuntimeError, ValueError)

    def __init__(self, files: ModelFolder, options: EngineOptions):
        super().__init__()
        self._openvino = openvino = require("openvino", "`engine` openvino")
        self.graph, self.device = files.graph, options.device
        core = kept_core(openvino)
        if self.device != "CPU":  # looking for others loads their drivers into the process
            check_device(self.device, core.available_devices)
        with self.errors():
            model = core.read_model(str(self.graph))
            settings = device_settings(core, self.device, options.cpu_threads)
            compiled = core.compile_model(model, self.device, settings)
            self.runs_on = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
            self._request = compiled.create_infer_request()
            self.input_names = [port.get_any_name() for port in model.inputs]
        if self.device not in re.split(r"\W+", self.runs_on):
            raise UserError(f"`device` {self.device}: OpenVINO runs it on {self.runs_on}")

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)
        for name, array in self._inputs.items():
            self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=False))

    def execute(self) -> None:
        self._request.infer()

    def outputs(self) -> list[np.ndarray]:
        return [tensor.data.copy() for tensor in self._request.output_tensors]


@cache
def kept_core(openvino: ModuleType) -> Any:
    """OpenVINO's `Core`, the same one to the end of the process.

    When a `Core` goes, so does the stack of this thread's signal handlers (`same_signal_stack`).
    """
    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    return core


def check_device(device: str, available: Sequence[str]) -> None:
    """Refuses a device that OpenVINO does not find; several of a kind are named "GPU.0", "GPU.1".

    Raises:
        UserError: names the devices that there are.
    """
    kinds = [name.partition(".")[0] for name in available]
    if device not in kinds:
        raise UserError(
            f"`engine` openvino, `device` {device}: found {', '.join(available)} on this machine; "
            "use one of them, or install the driver of the other"
        )


def device_settings(core: Any, device: str, cpu_threads: int) -> dict[str, Any]:
    """The settings that the device has, for a single image at a time and computation in float32;
    NPUs compute in float16 only."""
    settings = {
        "INFERENCE_NUM_THREADS": cpu_threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 or float16 where the device has them
    }
    if device == "NPU":
        del settings["INFERENCE_PRECISION_HINT"]
    known = core.get_property(device, "SUPPORTED_PROPERTIES")
    return {key: value for key, value in settings.items() if key in known}
