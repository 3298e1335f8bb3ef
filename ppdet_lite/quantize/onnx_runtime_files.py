"""INT8 for ONNX Runtime, by its own static quantization."""

import logging
import tempfile
from pathlib import Path
from typing import Any, Iterator, Optional

import onnx

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.onnx.float16.half import raw_outputs
from ppdet_lite.quantize.float_part import CONVOLUTIONS, Operator, float_part
from ppdet_lite.quantize.quantizer import AccuracyControl, Quantizer, Written
from ppdet_lite.runtime.contract import INT8_FILES
from ppdet_lite.runtime.engines.engine import Arrays, shortened

QUANTIZED = ("Conv",)
"""Operators that compute in INT8. With those between them more AP is lost than time is gained
(docs/quantization.md)."""


class OnnxRuntimeQuantizer(Quantizer):
    """ONNX Runtime's static quantization: pairs of QuantizeLinear and DequantizeLinear around what
    it runs in INT8, weights symmetrical per channel, activations with a zero point and the range
    of an average image, as the largest values of all images would make the steps coarse.
    """

    engine = "onnxruntime"

    def requirements(self) -> None:
        for package in ("onnx", "onnxruntime"):
            require(package, "INT8 with `engine` onnxruntime", "onnx")

    def write(
        self,
        graph: Path,
        images: Calibration,
        folder: Path,
        control: Optional[AccuracyControl] = None,
    ) -> Written:
        import onnxruntime
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        model = onnx.load(str(graph))
        name_nodes(model)
        in_float = float_nodes(model)
        target = folder / INT8_FILES[self.engine][0]
        logger = logging.getLogger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # it asks for a preprocessing that the export has done
        try:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                named = Path(temporary, "named.onnx")
                onnx.save(model, str(named))
                quantize_static(
                    str(named),
                    str(target),
                    _Reader(images, [info.name for info in model.graph.input]),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=list(QUANTIZED),
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=sorted(in_float),
                    extra_options={"CalibMovingAverage": True},
                )
        except (RuntimeError, ValueError) as error:
            reason = shortened(" ".join(str(error).split()))
            raise UserError(f"{graph}: ONNX Runtime cannot quantize it: {reason}") from error
        finally:
            logger.setLevel(level)
        convolutions = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
        left = sorted(node.name for node in convolutions if node.name in in_float)
        version = f"ONNX Runtime {onnxruntime.__version__}"
        return Written(version, left, len(convolutions) - len(left))


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
