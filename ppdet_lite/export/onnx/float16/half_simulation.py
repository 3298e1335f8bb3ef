"""What a float16 network computes on a GPU, as a float32 network that rounds after every node.

Engines for CPUs run float16 files in float32: they drop casts and round nothing but the weights,
so that a check with them would find neither lost digits nor overflow.
"""

import math
from pathlib import Path

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from ppdet_lite.export.onnx.cpu_session import CpuSession
from ppdet_lite.export.onnx.float16.half import FLOAT, HALF, raw_outputs, tensor_types
from ppdet_lite.export.onnx.graph import OnnxGraph, Value

MOVING = (
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Relu", "Reshape", "Slice"),
    *("Split", "Squeeze", "Transpose", "Unsqueeze"),
)
"""Operators that make no new numbers."""

LEAST_NORMAL = 2.0**-14
"""Smaller numbers are multiples of 2^-24."""

OVERFLOW = 65520.0
"""Numbers from here on are rounded to infinity."""


class SimulatedHalf:
    """A float16 file in simulated arithmetic.

    Attributes:
        raw_count: the number of raw outputs behind the outputs of the file; 0 if these are the raw
            ones.
    """

    def __init__(self, path: Path):
        model = onnx.load(str(path))
        names = raw_outputs(model)
        self.raw_count = len(names)
        model = simulated_half(model)
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in names
        )
        self._session = CpuSession(model, path)

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name, more than needed are allowed -> outputs, then raw outputs."""
        return self._session.run(inputs)


def simulated_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 copy of a model that rounds its float16 tensors: every node computes in float32 and
    stores its result in float16, as GPUs do, with the only difference that a number exactly between
    two others may be rounded to either."""
    types = tensor_types(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:], copy.graph.value_info[:]
    g = OnnxGraph(copy, prefix="simulated")
    for tensor in copy.graph.initializer:
        if tensor.data_type == HALF:
            tensor.CopyFrom(from_array(to_array(tensor).astype("float32"), tensor.name))
    rounding = _Rounding(g)
    for node in nodes:
        _use_float_attributes(node)
        is_half = types[node.output[0]] == HALF
        names = list(node.output)
        if is_half and node.op_type not in MOVING:
            for i, name in enumerate(names):
                node.output[i] = f"{name}.exact"
        copy.graph.node.append(node)
        for name, exact in zip(names, node.output):
            if name != exact:
                g.op("Identity", rounding(g.value(exact)))
                g.graph.node[-1].output[0] = name
    onnx.checker.check_model(copy)
    return copy


class _Rounding:
    """Rounds values to float16, with constants that all share."""

    def __init__(self, g: OnnxGraph):
        self._g = g
        numbers = (LEAST_NORMAL, OVERFLOW, math.inf, 2.0**13 + 1, 0.75)
        self._constants = [g.constant(number) for number in numbers]

    def __call__(self, x: Value) -> Value:
        """Numbers of 24 bits lose the last 13 by T. J. Dekker's splitting (Numerische Mathematik
        18, 1971, section 4); adding 0.75 leaves multiples of 2^-24."""
        g = self._g
        least, overflow, infinity, factor, shift = self._constants
        size, moved = g.op("Abs", x), x * factor
        is_tiny, is_finite = size < least, size < overflow
        number = g.where(is_tiny, (x + shift) - shift, moved - (moved - x))
        return g.where(is_finite, number, x * infinity)


def _use_float_attributes(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FLOAT
        elif attribute.HasField("t") and attribute.t.data_type == HALF:
            tensor = to_array(attribute.t).astype("float32")
            attribute.t.CopyFrom(from_array(tensor, attribute.t.name))
