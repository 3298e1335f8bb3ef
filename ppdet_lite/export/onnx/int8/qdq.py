"""INT8 by pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime's static quantization
sets."""

import logging
import tempfile
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional

import onnx

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.onnx.float16.half import raw_outputs
from ppdet_lite.export.onnx.int8.float_part import CONVOLUTIONS, Operator, float_part
from ppdet_lite.runtime.engines.engine import Arrays, shortened

QUANTIZED = ("Conv",)
"""Operators that compute in INT8. With those between them more AP is lost than time is gained
(docs/quantization.md)."""

AVERAGE_IMAGE: dict[str, Any] = {"CalibMovingAverage": True}
"""Ranges are those of an average image, as the largest values of all would make the steps
coarse."""


class Style(NamedTuple):
    """Where an engine wants the pairs, and which numbers in them.

    Attributes:
        activations: name of ONNX Runtime's `QuantType`. Weights are symmetrical INT8 per channel.
        has_depthwise: False leaves convolutions of one channel per group in float.
        options: ONNX Runtime's `extra_options`.
    """

    activations: str
    has_depthwise: bool
    options: dict[str, Any]


CPU_STYLE = Style("QUInt8", True, AVERAGE_IMAGE)
"""For ONNX Runtime on CPUs: activations with a zero point; inputs and outputs of convolutions."""

TENSORRT_STYLE = Style(
    "QInt8",
    False,
    {
        **AVERAGE_IMAGE,
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(QUANTIZED),
    },
)
"""For TensorRT's explicit quantization: every zero point is 0, only the inputs of convolutions are
rounded, so that bias and activation are joined with the convolution in float, and biases stay
float32 (of INT32 ones its parser says: "input has type Int32 but must have type FP8, ..."). The
channels of a depthwise convolution have ranges too different for one step: of 33.0 AP, YOLOX-nano
keeps 6.7 with them in INT8, and 32.3 without."""


class Layers(NamedTuple):
    """The convolutions of a graph in INT8.

    Attributes:
        in_float: names of those that stay in float32.
        in_int8: number of the others.
    """

    in_float: list[str]
    in_int8: int


def write_qdq(graph: Path, images: Calibration, target: Path, style: Style) -> Layers:
    """Writes an .onnx in INT8.

    Args:
        graph: the .onnx in float32.
        images: on which the ranges of values are learned.

    Raises:
        UserError: a package is missing, or ONNX Runtime cannot quantize the graph.
        OSError: the file cannot be written.
    """
    quantization = require("onnxruntime.quantization", "INT8 in .onnx files", "int8")
    model = onnx.load(str(graph))
    name_nodes(model)
    in_float = float_nodes(model)
    if not style.has_depthwise:
        in_float |= depthwise_nodes(model)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it asks for a preprocessing that the export has done
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            named = Path(temporary, "named.onnx")
            onnx.save(model, str(named))
            quantization.quantize_static(
                str(named),
                str(target),
                _Reader(images, [info.name for info in model.graph.input]),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZED),
                per_channel=True,
                activation_type=quantization.QuantType[style.activations],
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=sorted(in_float),
                extra_options=style.options,
            )
    except (RuntimeError, ValueError) as error:
        reason = shortened(" ".join(str(error).split()))
        raise UserError(f"{graph}: ONNX Runtime cannot quantize it: {reason}") from error
    finally:
        logger.setLevel(level)
    convolutions = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
    left = sorted(node.name for node in convolutions if node.name in in_float)
    return Layers(left, len(convolutions) - len(left))


class _Reader:
    """The images as ONNX Runtime's calibration takes them: one after the other, then None."""

    def __init__(self, images: Calibration, names: list[str]):
        self._images, self._names = images, names
        self.rewind()

    def rewind(self) -> None:
        self._inputs: Iterator[Arrays] = self._images.batches()

    def get_next(self) -> Optional[Arrays]:
        inputs = next(self._inputs, None)
        return None if inputs is None else {name: inputs[name] for name in self._names}


def name_nodes(model: onnx.ModelProto) -> None:
    """Gives every node a name of its own, in place."""
    taken: set[str] = set()
    for node in model.graph.node:
        if not node.name or node.name in taken:
            node.name = next(filter(None, node.output))
        taken.add(node.name)


def float_nodes(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes that stay in float; see `float_part`. Every node has a name of its own."""
    makers = {output: node.name for node in model.graph.node for output in node.output}
    graph: dict[str, Any] = {
        node.name: Operator(node.op_type, [makers.get(name) for name in node.input])
        for node in model.graph.node
    }
    raw = raw_outputs(model) or [info.name for info in model.graph.output]
    return float_part(graph, [makers[name] for name in raw])


def depthwise_nodes(model: onnx.ModelProto) -> set[str]:
    """Names of the convolutions of several groups with one input channel each."""
    channels = {
        tensor.name: tensor.dims[1] for tensor in model.graph.initializer if tensor.dims[1:]
    }
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and channels.get(node.input[1]) == 1
        and any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
    }
