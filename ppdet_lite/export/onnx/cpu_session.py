"""Runs an ONNX model that is not a file of an export."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from ppdet_lite.runtime.engines.engine import EngineError


class CpuSession:
    """A model in ONNX Runtime on the CPU; errors name the file `graph` that it was made from."""

    def __init__(self, model: onnx.ModelProto, graph: Path):
        self._graph = graph
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # they have no base class of their own
            raise self._problem(error) from error
        self._names = [entry.name for entry in self._session.get_inputs()]

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name, more than needed are allowed -> the outputs in their order."""
        try:
            return self._session.run(None, {name: inputs[name] for name in self._names})
        except Exception as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> EngineError:
        reason = " ".join(str(error).split())
        return EngineError(self._graph, f"ONNX Runtime cannot run this model: {reason}")
