"""Tracing a detector into Paddle's graphs and into ONNX."""

import tempfile
import warnings
from pathlib import Path
from typing import Union

import paddle
from paddle import nn
from paddle.static import InputSpec

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.formats.legacy_format import legacy_graph
from ppdet_lite.export.options import ExportOptions
from ppdet_lite.modeling.modes import evaluation_mode
from ppdet_lite.runtime.contract import (
    GRAPH_FILE,
    LEGACY_GRAPH_FILE,
    MODEL_NAME,
    ONNX_FILE,
    PARAMS_FILE,
    PORTABLE_FILE,
)

FREE_SIZES = {
    "image": ("batch", "channels", "height", "width"),
    "im_shape": ("batch", "sides"),
    "scale_factor": ("batch", "sides"),
}
"""Names for sizes that are not fixed."""

PADDLE_2 = paddle.__version__.startswith("2.")


class DetectorUpTo(nn.Layer):
    """A detector up to a stage, with positional outputs, as an inference graph has them."""

    def __init__(self, detector: nn.Layer, stage: str = "nms"):
        super().__init__()
        self.detector = detector
        self.stage = stage

    def forward(self, inputs):
        """`graph_inputs` by name -> the tensors of the stage; see `STAGES`."""
        if self.stage == "nms":
            outputs = self.detector(inputs)
            return outputs["bbox"], outputs["bbox_num"]
        raw = self.detector.raw_outputs(inputs["image"])
        if self.stage == "raw":
            return raw
        return self.detector.decode(raw, inputs.get("im_shape"), inputs.get("scale_factor"))


def graph_inputs(detector: nn.Layer, options: ExportOptions) -> dict[str, list]:
    """Shapes of the graph's inputs by name; None where a size is free.

    Only what the stage computes with: Paddle cannot save a graph with an input that nothing
    depends on.
    """
    height, width = options.input_hw or (None, None)
    shapes = {"image": [3, height, width], "im_shape": [2], "scale_factor": [2]}
    names = ("image",) if options.stage == "raw" else detector.inference_inputs
    return {name: [options.batch, *shapes[name]] for name in names}


def paddle_graph(folder: Union[str, Path]) -> Path:
    """The graph beside the parameters in a folder: Paddle 3's own, else the legacy one."""
    graph = Path(folder) / GRAPH_FILE
    return graph if graph.is_file() else Path(folder) / LEGACY_GRAPH_FILE


def save_paddle_graph(
    detector: nn.Layer, folder: Union[str, Path], options: ExportOptions, legacy: bool = False
) -> None:
    """Writes model.json (model.pdmodel with `legacy`, and from Paddle 2) and model.pdiparams.

    Raises:
        UserError: this Paddle can no longer write the legacy format.
    """
    shapes = graph_inputs(detector, options)
    spec = [{name: InputSpec(shape, "float32", name) for name, shape in shapes.items()}]
    wrapper = DetectorUpTo(detector, options.stage)
    with evaluation_mode(wrapper), warnings.catch_warnings(), legacy_graph(legacy):
        # Paddle's own NMS function asks a graph tensor for its device and is told there is none.
        warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
        try:
            static = paddle.jit.to_static(wrapper, input_spec=spec, full_graph=True)
            paddle.jit.save(static, str(Path(folder) / MODEL_NAME), input_spec=spec)
        except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
            if not legacy:
                raise
            raise UserError(
                f"--format paddle-legacy: Paddle {paddle.__version__} cannot write this network as "
                f"model.pdmodel ({' '.join(str(error).split())[-200:]}); use --format paddle, or "
                "export with Paddle 2.6"
            ) from error


def check_onnx_export() -> None:
    """Makes sure that this Paddle and the packages here can export to ONNX.

    Raises:
        UserError: says what to install.
    """
    from ppdet_lite.export.onnx.graph import import_onnx
    from ppdet_lite.export.onnx.network import import_converter

    if PADDLE_2:
        raise UserError(
            f"--format onnx needs Paddle 3, this is {paddle.__version__}; paddle2onnx for Paddle 2 "
            "knows no deformable convolution"
        )
    import_onnx()
    import_converter()


def save_onnx(detector: nn.Layer, folder: Union[str, Path], options: ExportOptions) -> None:
    """Writes model.onnx, and model_portable.onnx if asked for and there is something to replace.

    The network is converted from Paddle's graph; decoding and NMS are written as ONNX operators
    here, because converters replace matrix NMS by another kind.

    Raises:
        UserError: a missing package, or a network that cannot be converted.
        ConfigError: a decoder or NMS that has no ONNX form.
    """
    from ppdet_lite.export.onnx.deform_conv import has_deform_conv, without_deform_conv
    from ppdet_lite.export.onnx.network import convert_network

    check_onnx_export()
    with tempfile.TemporaryDirectory(dir=folder) as traced:  # where there is room
        save_paddle_graph(detector, traced, options._replace(stage="raw"))
        network = convert_network(paddle_graph(traced), Path(traced) / PARAMS_FILE)
    if options.portable_dcn and has_deform_conv(network):
        portable = without_deform_conv(network)
        _finish_onnx(detector, portable, options, Path(folder) / PORTABLE_FILE)
    _finish_onnx(detector, network, options, Path(folder) / ONNX_FILE)


def _finish_onnx(detector: nn.Layer, network, options: ExportOptions, path: Path) -> None:
    """Puts decoding and NMS behind a converted network, names inputs and outputs, and writes it."""
    from ppdet_lite.export.onnx.graph import OnnxGraph
    from ppdet_lite.export.onnx.network import tidy
    from ppdet_lite.export.onnx.stages import append_stage

    raw_infos = list(network.graph.output)
    del network.graph.input[:], network.graph.output[:]
    g = OnnxGraph(network)
    inputs = {}
    for name, shape in graph_inputs(detector, options).items():
        sizes = [word if n is None else n for n, word in zip(shape, FREE_SIZES[name])]
        inputs[name] = g.input(name, "float32", sizes)
    raw = [g.value(info.name) for info in raw_infos]
    channels = [info.type.tensor_type.shape.dim[1].dim_value for info in raw_infos]
    append_stage(g, detector, raw, channels, inputs, options)
    tidy(network)
    g.save(path)
