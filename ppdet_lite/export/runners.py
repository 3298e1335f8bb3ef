"""Exported files in the engines that deployment uses, on the CPU."""

import contextlib
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Union

import numpy as np
from paddle.inference import Config, create_predictor

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.graph import paddle_graph
from ppdet_lite.export.onnx.deform_conv import DEFORMABLE, has_deform_conv
from ppdet_lite.export.onnx.graph import import_onnx, import_package
from ppdet_lite.runtime.contract import ONNX_FILE, PARAMS_FILE, PORTABLE_FILE
from ppdet_lite.utils.cpu import core_count
from ppdet_lite.utils.logger import get_logger

FIRST_RUNTIME_WITH_DEFORMABLE = "1.25"
"""ONNX Runtime's."""

THREADS = min(core_count(), 8)

PADDLE_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, MemoryError, OSError, SystemError)
"""What Paddle's own kinds of errors become in Python; "External", as of oneDNN, is an OSError."""


class EngineError(UserError):
    """An engine cannot load or run an exported file; the message names both and says why."""


@contextlib.contextmanager
def _errors_of(engine: str, path: Path, kinds=Exception) -> Iterator[None]:
    """Context in which errors of the engine become an EngineError.

    Paddle's messages begin with its call stack and end with the reason, so their end is kept.
    """
    try:
        yield
    except kinds as error:
        text = " ".join(str(error).split())
        reason = text[-250:] if kinds is PADDLE_ERRORS else text[:250]
        if DEFORMABLE in text and engine.startswith("ONNX Runtime"):
            reason += f"; it has {DEFORMABLE} since version {FIRST_RUNTIME_WITH_DEFORMABLE}"
        raise EngineError(f"{engine} cannot run {path.name}: {reason}") from error


class ExportedModel:
    """An exported folder run by Paddle Inference.

    Args:
        folder: holds model.json or model.pdmodel, and model.pdiparams.
        onednn: use the oneDNN kernels, as deployment on a CPU does.

    Raises:
        EngineError: Paddle cannot load or run it, here and in calls.
    """

    def __init__(self, folder: Union[str, Path], onednn: bool = False):
        self.name = f"{'oneDNN' if onednn else 'plain'} kernels"
        self._engine, self._path = "oneDNN" if onednn else "Paddle", paddle_graph(folder)
        config = Config(str(self._path), str(Path(folder) / PARAMS_FILE))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(THREADS)
        if onednn:
            config.enable_mkldnn()
        elif hasattr(config, "disable_mkldnn"):
            config.disable_mkldnn()
        with self._errors():
            self.predictor = create_predictor(config)

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name, more than needed is allowed -> the outputs in their order."""
        with self._errors():
            for name in self.predictor.get_input_names():
                handle = self.predictor.get_input_handle(name)
                handle.reshape(inputs[name].shape)
                handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
            self.predictor.run()
            names = self.predictor.get_output_names()
            return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]

    def _errors(self):
        return _errors_of(self._engine, self._path, PADDLE_ERRORS)


class OnnxRuntimeModel:
    """An .onnx file run by ONNX Runtime.

    Raises:
        UserError: the package is not installed.
        EngineError: it cannot load or run the file, here and in calls.
    """

    def __init__(self, path: Union[str, Path]):
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3  # errors
        self.name = f"ONNX Runtime, {Path(path).name}"
        self._engine, self._path = f"ONNX Runtime {runtime.__version__}", Path(path)
        with self._errors():
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """As `ExportedModel`."""
        names = [entry.name for entry in self.session.get_inputs()]
        inputs = {name: inputs[name] for name in names}
        with self._errors():
            return self.session.run(None, inputs)

    def _errors(self):
        return _errors_of(self._engine, self._path)  # its errors have no base class of their own


class OpenVinoModel:
    """An .onnx file run by OpenVINO, in float32.

    Raises:
        ImportError: the package is not installed.
        EngineError: it cannot load or run the file, here and in calls.
    """

    def __init__(self, path: Union[str, Path]):
        import openvino

        # Where a processor has bfloat16, OpenVINO would compute with it.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
        self.name = f"OpenVINO, {Path(path).name}"
        self._path = Path(path)
        with self._errors():
            model = openvino.Core().read_model(str(path))
            self.names = [port.get_any_name() for port in model.inputs]
            self.request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """As `ExportedModel`."""
        inputs = {name: inputs[name] for name in self.names}
        with self._errors():
            self.request.infer(inputs)
            return [tensor.data.copy() for tensor in self.request.output_tensors]

    def _errors(self):
        return _errors_of("OpenVINO", self._path)


def import_onnxruntime():
    """The package onnxruntime.

    Raises:
        UserError: it is not installed.
    """
    return import_package("onnxruntime", "the check of the exported .onnx")


class Trial(NamedTuple):
    """One way in which an export is deployed.

    Attributes:
        make: builds the runner.
        may_fail: an engine whose own limits are no fault of the export: that it cannot run it is
            said, and the export stands.
    """

    make: Callable
    may_fail: bool = False


def trials(folder: Union[str, Path]) -> list[Trial]:
    """Every way in which the files of a folder are deployed."""
    folder = Path(folder)
    found = []
    if (folder / PARAMS_FILE).is_file():
        found.append(Trial(lambda: ExportedModel(folder)))
        found.append(Trial(lambda: ExportedModel(folder, onednn=True), may_fail=True))
    files = [folder / name for name in (ONNX_FILE, PORTABLE_FILE) if (folder / name).is_file()]
    for path in files:
        # Beside a portable file the other may be for a newer ONNX Runtime than this one.
        has_alternative = path != files[-1]
        found.append(Trial(lambda path=path: OnnxRuntimeModel(path), has_alternative))
    for path in files[-1:]:  # the portable one, or all that is needed is in the other
        if not _openvino_is_here():
            get_logger().info("OpenVINO is not installed, so it has not tried %s", path.name)
        elif not has_deform_conv(import_onnx().load(str(path))):
            found.append(Trial(lambda path=path: OpenVinoModel(path), may_fail=True))
    return found


def _openvino_is_here() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True
