"""Inputs and outputs of ONNX Runtime's sessions in the memory of a device."""

from typing import Any, Sequence

import numpy as np

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.engines.engine import Arrays

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
"""ONNX Runtime's names of types."""


def check_fixed_sizes(session: Any) -> None:
    """Raises a UserError for open sizes, with which a CUDA graph cannot be used."""
    entries = [*session.get_inputs(), *session.get_outputs()]
    if found := [f"{entry.name} {entry.shape}" for entry in entries if not _is_fixed(entry)]:
        raise UserError(
            f"`cuda_graph`: found open sizes, {', '.join(found)}; export the model with a fixed "
            "`input_size` and `batch`, and an NMS of a fixed size"
        )


def _is_fixed(entry: Any) -> bool:
    return all(isinstance(side, int) for side in entry.shape)


class DeviceBinding:
    """Binds a session's inputs and outputs to memory of a device. What keeps its shape keeps its
    place, as a CUDA graph needs it.

    Args:
        onnxruntime: the package.
        device: "cuda" or "cpu".
    """

    def __init__(self, onnxruntime: Any, session: Any, device: str):
        self._onnxruntime, self._session, self._device = onnxruntime, session, device
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._open_outputs = []
        for entry in session.get_outputs():
            if _is_fixed(entry):
                value = self._new_value(entry.shape, DTYPES[entry.type])
                self._binding.bind_ortvalue_output(entry.name, value)
            else:
                self._binding.bind_output(entry.name, device)
                self._open_outputs.append(entry.name)

    def bind(self, inputs: Arrays) -> None:
        """Copies the inputs of the next run to the device."""
        for name, array in inputs.items():
            value = self._inputs.get(name)
            if value is None or tuple(value.shape()) != array.shape:
                value = self._inputs[name] = self._new_value(array.shape, array.dtype)
                self._binding.bind_ortvalue_input(name, value)
            value.update_inplace(array)
        for name in self._open_outputs:  # else the shapes of the last run would be expected
            self._binding.bind_output(name, self._device)

    def run(self) -> None:
        """Runs the session on what was bound last."""
        self._session.run_with_iobinding(self._binding)

    def synchronize(self) -> None:
        """Waits for the outputs."""
        self._binding.synchronize_outputs()

    def outputs(self) -> list[np.ndarray]:
        """The outputs of the last run, in their order."""
        found: list[np.ndarray] = self._binding.copy_outputs_to_cpu()
        return found

    def _new_value(self, shape: Sequence[int], dtype: Any) -> Any:
        make = self._onnxruntime.OrtValue.ortvalue_from_shape_and_type
        return make(list(shape), np.dtype(dtype).type, self._device, 0)
