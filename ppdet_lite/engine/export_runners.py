"""Exported files in the engines that deployment uses, on the CPU."""

import os
from pathlib import Path
from typing import Callable, NamedTuple, Union

import numpy as np
from paddle.inference import Config, create_predictor

from ppdet_lite.core.errors import UserError
from ppdet_lite.engine.export_graph import ONNX_FILE, PARAMS_FILE, PORTABLE_FILE, paddle_graph
from ppdet_lite.engine.onnx_deform import DEFORMABLE, has_deform_conv
from ppdet_lite.engine.onnx_graph import import_onnx, import_package
from ppdet_lite.utils.logger import get_logger

FIRST_RUNTIME_WITH_DEFORMABLE = "1.25"
"""ONNX Runtime's."""

THREADS = min(os.cpu_count() or 1, 8)


class ExportedModel:
    """An exported folder run by Paddle Inference.

    Args:
        folder: holds model.json or model.pdmodel, and model.pdiparams.
        onednn: use the oneDNN kernels, as deployment on a CPU does.
    """

    def __init__(self, folder: Union[str, Path], onednn: bool = False):
        config = Config(str(paddle_graph(folder)), str(Path(folder) / PARAMS_FILE))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(THREADS)
        if onednn:
            config.enable_mkldnn()
        elif hasattr(config, "disable_mkldnn"):
            config.disable_mkldnn()
        self.name = f"{'oneDNN' if onednn else 'plain'} kernels"
        self.predictor = create_predictor(config)

    def __call__(self, inputs: "dict[str, np.ndarray]") -> "list[np.ndarray]":
        """Arrays by input name, more than needed is allowed -> the outputs in their order."""
        for name in self.predictor.get_input_names():
            handle = self.predictor.get_input_handle(name)
            handle.reshape(inputs[name].shape)
            handle.copy_from_cpu(np.ascontiguousarray(inputs[name]))
        self.predictor.run()
        names = self.predictor.get_output_names()
        return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]


class OnnxRuntimeModel:
    """An .onnx file run by ONNX Runtime.

    Raises:
        UserError: the package is not installed, or it cannot run the file.
    """

    def __init__(self, path: Union[str, Path]):
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3  # errors
        self.name = f"ONNX Runtime, {Path(path).name}"
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no base class of their own
            advice = ""
            if DEFORMABLE in str(error):
                advice = f"; it has {DEFORMABLE} since version {FIRST_RUNTIME_WITH_DEFORMABLE}"
            raise UserError(
                f"ONNX Runtime {runtime.__version__} cannot run {Path(path).name}: "
                f"{' '.join(str(error).split())[:200]}{advice}"
            ) from error

    def __call__(self, inputs: "dict[str, np.ndarray]") -> "list[np.ndarray]":
        """As `ExportedModel`."""
        names = [entry.name for entry in self.session.get_inputs()]
        return self.session.run(None, {name: inputs[name] for name in names})


class OpenVinoModel:
    """An .onnx file run by OpenVINO, in float32.

    Raises:
        ImportError: the package is not installed.
    """

    def __init__(self, path: Union[str, Path]):
        import openvino

        model = openvino.Core().read_model(str(path))
        # Where a processor has bfloat16, OpenVINO would compute with it.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
        self.name = f"OpenVINO, {Path(path).name}"
        self.names = [port.get_any_name() for port in model.inputs]
        self.request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, inputs: "dict[str, np.ndarray]") -> "list[np.ndarray]":
        """As `ExportedModel`."""
        self.request.infer({name: inputs[name] for name in self.names})
        return [tensor.data.copy() for tensor in self.request.output_tensors]


def import_onnxruntime():
    """The package onnxruntime.

    Raises:
        UserError: it is not installed.
    """
    return import_package("onnxruntime", "the check of the exported .onnx")


class Trial(NamedTuple):
    """One way in which an export is deployed.

    Attributes:
        label: the engine, for messages.
        make: builds the runner.
        may_fail: an engine whose own limits are no fault of the export: that it cannot run it is
            said, and the export stands.
    """

    label: str
    make: Callable
    may_fail: bool = False


def trials(folder: Union[str, Path]) -> "list[Trial]":
    """Every way in which the files of a folder are deployed."""
    folder = Path(folder)
    found = []
    if (folder / PARAMS_FILE).is_file():
        found.append(Trial("Paddle", lambda: ExportedModel(folder)))
        found.append(Trial("oneDNN", lambda: ExportedModel(folder, onednn=True), may_fail=True))
    files = [folder / name for name in (ONNX_FILE, PORTABLE_FILE) if (folder / name).is_file()]
    for path in files:
        # Beside a portable file the other may be for a newer ONNX Runtime than this one.
        has_alternative = path != files[-1]
        found.append(
            Trial("ONNX Runtime", lambda path=path: OnnxRuntimeModel(path), has_alternative)
        )
    for path in files[-1:]:  # the portable one, or all that is needed is in the other
        if not _openvino_is_here():
            get_logger().info("OpenVINO is not installed, so it has not tried %s", path.name)
        elif not has_deform_conv(import_onnx().load(str(path))):
            found.append(Trial("OpenVINO", lambda path=path: OpenVinoModel(path), may_fail=True))
    return found


def _openvino_is_here() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True
