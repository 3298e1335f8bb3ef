"""INT8 for OpenVINO, by NNCF."""

import logging
import os
from pathlib import Path
from typing import Any, Iterator, Optional, Sequence

import numpy as np
import onnx

from ppdet_lite.core.errors import UserError, require
from ppdet_lite.export.calibration import Calibration
from ppdet_lite.export.onnx.float16.half import raw_outputs
from ppdet_lite.export.onnx.int8.float_part import CONVOLUTIONS, Operator, float_part
from ppdet_lite.quantize.quantizer import AccuracyControl, Quantizer, Written
from ppdet_lite.runtime.contract import INT8_FILES
from ppdet_lite.runtime.engines.engine import Arrays, shortened
from ppdet_lite.utils.signal_stack import same_signal_stack

_BIAS_APART = "/WithoutBiases"
"""Behind the name of a convolution whose bias OpenVINO writes as an addition."""


class OpenVinoQuantizer(Quantizer):
    """NNCF's post-training quantization of the model as OpenVINO reads it.

    Its reader joins operators first (Mish is seven in ONNX), so that no rounding stands inside what
    runs as one. Activations have a zero point where they are negative as well, weights are
    symmetrical per channel, biases are corrected for the mean error of the weights.
    """

    engine = checked_by = "openvino"
    has_accuracy_control = True

    def requirements(self) -> None:
        require("openvino", "`engine` openvino", "int8")
        # Nothing is reported to anybody; NNCF looks at this when it is imported.
        os.environ.setdefault("NNCF_CI", "1")
        require("nncf", "INT8 with `engine` openvino", "int8")

    def write(
        self,
        graph: Path,
        images: Calibration,
        folder: Path,
        control: Optional[AccuracyControl] = None,
    ) -> Written:
        import nncf
        import openvino

        # It names every operator that stays in float. Its own `set_log_level` would also raise the
        # level of handlers that others hung there.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        try:
            model = openvino.convert_model(str(graph))
            in_float = float_operators(model, raw_outputs(onnx.load(str(graph))))
            options: dict[str, Any] = {
                "subset_size": len(images.images),
                "ignored_scope": nncf.IgnoredScope(names=sorted(in_float)),
                "preset": nncf.QuantizationPreset.MIXED,
            }
            names = [port.get_any_name() for port in model.inputs]
            data = nncf.Dataset(_Inputs(images, names))
            with same_signal_stack():
                if control is None:
                    quantized = nncf.quantize(model, data, **options)
                else:
                    quantized = nncf.quantize_with_accuracy_control(
                        model,
                        data,
                        nncf.Dataset(range(control.images)),
                        _validation(control),
                        max_drop=control.max_drop,
                        drop_type=nncf.DropType.ABSOLUTE,
                        **options,
                    )
        except (RuntimeError, ValueError, nncf.ValidationError) as error:
            reason = shortened(" ".join(str(error).split()))
            raise UserError(f"{graph}: NNCF cannot quantize it: {reason}") from error
        try:
            target = folder / INT8_FILES[self.engine][0]
            openvino.save_model(quantized, str(target), compress_to_fp16=False)
        except RuntimeError as error:  # nothing else fails here than the disk
            raise OSError(0, shortened(" ".join(str(error).split()))) from error
        left, count = float_convolutions(quantized)
        return Written(f"NNCF {nncf.__version__}", left, count)


class _Inputs:
    """The inputs of all images by name, made anew each time they are gone through."""

    def __init__(self, images: Calibration, names: Sequence[str]):
        self._images, self._names = images, names

    def __len__(self) -> int:
        return len(self._images.images)

    def __iter__(self) -> Iterator[Arrays]:
        for inputs in self._images.batches():
            yield {name: inputs[name] for name in self._names}


def _validation(control: AccuracyControl) -> Any:
    """AP as NNCF asks for it: of a compiled model on items of the data set, here indices."""

    def average_precision(compiled: Any, items: Any) -> float:
        names = [port.get_any_name() for port in compiled.inputs]

        def run(inputs: Arrays) -> list[np.ndarray]:
            found = compiled({name: inputs[name] for name in names})
            return [found[port] for port in compiled.outputs]

        return control.average_precision(run, [int(index) for index in items])

    return average_precision


def float_operators(model: Any, raw: Sequence[str]) -> set[str]:
    """The operators of an `openvino.Model` that stay in float; see `float_part`.

    Args:
        raw: tensors with the raw outputs of the network; none in a model that ends with them.
    """
    operators = {op.get_friendly_name(): op for op in model.get_ops()}
    graph = {name: Operator(op.get_type_name(), _sources(op)) for name, op in operators.items()}
    graph = {name: op for name, op in graph.items() if op.kind not in ("Constant", "Parameter")}
    if raw:
        ends = [
            name
            for name in graph
            if any(port.get_names() & set(raw) for port in operators[name].outputs())
        ]
    else:
        ends = [name for name, op in graph.items() if op.kind == "Result"]
    return {name for name in float_part(graph, ends) if graph[name].kind != "Result"}


def _sources(op: Any) -> list[Optional[str]]:
    makers = [value.get_node() for value in op.input_values()]
    is_none = ("Constant", "Parameter")
    return [None if m.get_type_name() in is_none else m.get_friendly_name() for m in makers]


def float_convolutions(model: Any) -> tuple[list[str], int]:
    """Names of the convolutions whose weights are not quantized, and the number of the others."""
    names, count = [], 0
    for op in model.get_ops():
        if op.get_type_name() in CONVOLUTIONS:
            if _has_int8_weights(op):
                count += 1
            else:
                names.append(op.get_friendly_name().replace(_BIAS_APART, ""))
    return sorted(names), count


def _has_int8_weights(op: Any) -> bool:
    """True if the weights of a convolution are numbers of eight bits, by way of a few operators."""
    maker = op.input_value(1).get_node()
    for _ in range(6):
        if maker.get_type_name() == "FakeQuantize" or maker.get_element_type().size == 1:
            return True
        if not maker.input_values():
            return False
        maker = maker.input_value(0).get_node()
    return False
