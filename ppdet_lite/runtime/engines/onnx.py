"""Runs an exported .onnx with ONNX Runtime or OpenVINO; Paddle is not needed for that."""

from pathlib import Path
from typing import Optional

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.contract import ModelFolder


class OnnxRuntimeEngine:
    """An exported network in ONNX Runtime.

    Args:
        files: the model folder.
        device: "CPU", or "GPU" with onnxruntime-gpu.
        cpu_threads: threads of the CPU kernels.

    Raises:
        UserError: the package is missing, or cannot run the file.
    """

    fixed_batch: Optional[int] = None

    def __init__(self, files: ModelFolder, device: str = "CPU", cpu_threads: int = 1):
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing("onnxruntime", error) from error
        providers = _providers(onnxruntime, device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cpu_threads
        options.log_severity_level = 3  # errors; its warnings are about unused constants
        try:
            self.session = onnxruntime.InferenceSession(
                str(files.graph), options, providers=providers
            )
        except Exception as error:  # its exceptions have no common base class of their own
            raise _unusable(files.graph, "ONNX Runtime", error) from error
        self.files, self.device = files, device
        self.input_names = [entry.name for entry in self.session.get_inputs()]
        self._inputs, self._outputs = {}, []

    @property
    def kernels(self) -> str:
        """What computes, in words."""
        return "ONNX Runtime" if self.device == "CPU" else f"ONNX Runtime on {self.device}"

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> the graph's outputs in its order."""
        try:
            self.bind(inputs)
            self.execute()
        except Exception as error:  # see above
            raise _unusable(self.files.graph, "ONNX Runtime", error) from error
        return self.outputs()

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        self._inputs = {name: np.ascontiguousarray(inputs[name]) for name in self.input_names}

    def execute(self) -> None:
        self._outputs = self.session.run(None, self._inputs)

    def synchronize(self) -> None:
        """Nothing to wait for: `execute` returns when all is computed."""

    def outputs(self) -> list[np.ndarray]:
        return self._outputs


def _providers(onnxruntime, device: str) -> list[str]:
    """ONNX Runtime's names of what computes.

    Raises:
        UserError: the installed ONNX Runtime does not have the device.
    """
    if device == "CPU":
        return ["CPUExecutionProvider"]
    if device == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    advice = "install onnxruntime-gpu, or " if device == "GPU" else ""
    raise UserError(
        f"--engine onnxruntime --device {device}: this ONNX Runtime does not have it; {advice}use "
        "--device CPU"
    )


class OpenVinoEngine:
    """An exported network in OpenVINO on the CPU, in float32.

    Raises:
        UserError: the package is missing, or cannot run the file.
    """

    fixed_batch: Optional[int] = None
    kernels, device = "OpenVINO", "CPU"

    def __init__(self, files: ModelFolder, device: str = "CPU", cpu_threads: int = 1):
        if device != "CPU":
            raise UserError(f"--engine openvino --device {device}: use --device CPU")
        try:
            import openvino
        except ImportError as error:
            raise _missing("openvino", error) from error
        settings = {
            "INFERENCE_NUM_THREADS": cpu_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on CPUs that have it
        }
        try:
            model = openvino.Core().read_model(str(files.graph))
            self.request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise _unusable(files.graph, "OpenVINO", error) from error
        self.files = files
        self.input_names = [port.get_any_name() for port in model.inputs]

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> the graph's outputs in its order."""
        try:
            self.bind(inputs)
            self.execute()
        except RuntimeError as error:
            raise _unusable(self.files.graph, "OpenVINO", error) from error
        return self.outputs()

    def bind(self, inputs: dict[str, np.ndarray]) -> None:
        import openvino

        for name in self.input_names:
            tensor = openvino.Tensor(np.ascontiguousarray(inputs[name]), shared_memory=False)
            self.request.set_tensor(name, tensor)

    def execute(self) -> None:
        self.request.infer()

    def synchronize(self) -> None:
        """Nothing to wait for: `execute` returns when all is computed."""

    def outputs(self) -> list[np.ndarray]:
        return [tensor.data.copy() for tensor in self.request.output_tensors]


def _missing(package: str, error: ImportError) -> UserError:
    return UserError(
        f"--engine {package}: the package cannot be imported ({error}); pip install {package}"
    )


def _unusable(graph: Path, engine: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:250]
    return UserError(f"{graph}: {engine} cannot run this model: {reason}")
