"""Writing ONNX graphs as formulas.

    g = OnnxGraph()
    image = g.input("image", "float32", ["batch", 3, 640, 640])
    g.output("mean", g.op("ReduceMean", image, keepdims=0) * 2.0, "float32", [])
    g.save("mean.onnx")

Python numbers become constants: a float one of float32, a whole number one of int64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Union

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from ppdet_lite.export.onnx import IR_VERSION, OPSET

DETECTOR_PREFIX, DEFORM_PREFIX = "detector", "deform"
"""Beginnings of names: decoding and NMS, and the portable form of deformable convolutions."""


def _operator(kind: str, is_reversed: bool = False) -> Callable[..., Value]:
    def append(self: Value, other: Operand) -> Value:
        return self.graph.op(kind, *((other, self) if is_reversed else (self, other)))

    return append


class Value:
    """A tensor of a graph; the operators of Python append the node of the same meaning.

    Division of whole numbers rounds towards zero.
    """

    def __init__(self, graph: OnnxGraph, name: str):
        self.graph, self.name = graph, name

    __add__, __sub__, __rsub__ = _operator("Add"), _operator("Sub"), _operator("Sub", True)
    __mul__, __truediv__, __mod__ = _operator("Mul"), _operator("Div"), _operator("Mod")
    __pow__, __lt__, __gt__ = _operator("Pow"), _operator("Less"), _operator("Greater")
    __and__, __or__ = _operator("And"), _operator("Or")

    def __invert__(self) -> Value:
        return self.graph.op("Not", self)

    def cast(self, dtype: str) -> Value:
        """With the numbers as `dtype`, a numpy name."""
        return self.graph.op("Cast", self, to=self.graph.type_code(dtype))

    def reshape(self, *shape: Union[int, Value]) -> Value:
        """Sizes, numbers or Values; 0 keeps a size, -1 takes what is left."""
        return self.graph.op("Reshape", self, self.graph.shape(*shape))

    def transpose(self, *axes: int) -> Value:
        return self.graph.op("Transpose", self, perm=list(axes))

    def size(self, axis: int) -> Value:
        """The size along an axis, int64 [1]."""
        return self.graph.op("Shape", self, start=axis, end=axis + 1)

    def slice(self, start: int, end: int, axis: int) -> Value:
        """The part from `start` up to `end`."""
        return self.graph.op("Slice", self, *([n] for n in (start, end, axis)))

    def split(self, *sizes: int, axis: int) -> list[Value]:
        return self.graph.op("Split", self, list(sizes), outputs=len(sizes), axis=axis)

    def unsqueeze(self, *axes: int) -> Value:
        return self.graph.op("Unsqueeze", self, list(axes))

    def gather(self, index: Operand, axis: int = 0) -> Value:
        return self.graph.op("Gather", self, index, axis=axis)

    def sum(self, axis: int, keepdims: bool = False) -> Value:
        return self.graph.op("ReduceSum", self, [axis], keepdims=int(keepdims))

    def max(self, *axes: int) -> Value:
        return self.graph.op("ReduceMax", self, list(axes), keepdims=0)

    def min(self, *axes: int) -> Value:
        return self.graph.op("ReduceMin", self, list(axes), keepdims=0)


Operand = Union[Value, float, int, Sequence, np.ndarray]


class OnnxGraph:
    """A graph under construction, empty or on top of `model`, which keeps its nodes, inputs and
    outputs; names of new tensors start with `prefix`, which must be new to the model."""

    def __init__(self, model: Optional[onnx.ModelProto] = None, prefix: str = DETECTOR_PREFIX):
        if model is None:
            opset = onnx.helper.make_opsetid("", OPSET)
            empty = onnx.helper.make_graph([], "detector", [], [])
            model = onnx.helper.make_model(empty, opset_imports=[opset])
            model.ir_version = IR_VERSION
        self.model, self.prefix = model, prefix
        self._count = 0

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    def type_code(self, dtype: str) -> int:
        """ONNX's number of a numpy type."""
        return onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def value(self, name: str) -> Value:
        """The tensor of that name."""
        return Value(self, name)

    def input(self, name: str, dtype: str, shape: Sequence) -> Value:
        """Declares an input; a size given as a word is free."""
        self.graph.input.append(self._info(name, dtype, shape))
        return Value(self, name)

    def output(self, name: str, value: Value, dtype: str, shape: Sequence) -> None:
        """Declares an output."""
        self.graph.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
        self.graph.output.append(self._info(name, dtype, shape))

    def _info(self, name: str, dtype: str, shape: Sequence) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, self.type_code(dtype), list(shape))

    def op(self, kind: str, *operands: Operand, outputs: int = 1, **attributes: Any) -> Any:
        """Appends a node: its only output, or a list of them."""
        inputs = [self.constant(x).name if x is not None else "" for x in operands]
        names = [self._new_name(kind) for _ in range(outputs)]
        node = onnx.helper.make_node(kind, inputs, names, name=names[0], **attributes)
        self.graph.node.append(node)
        values = [Value(self, name) for name in names]
        return values[0] if outputs == 1 else values

    def constant(self, value: Operand) -> Value:
        """A Value as it is, anything else as a constant."""
        if isinstance(value, Value):
            return value
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._new_name("constant")
        self.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        return Value(self, name)

    def shape(self, *sizes: Union[int, Value]) -> Value:
        """int64 vector of sizes, numbers or one-element Values."""
        if not any(isinstance(size, Value) for size in sizes):
            return self.constant(np.array(sizes, np.int64))
        parts = (x if isinstance(x, Value) else np.array([x], np.int64) for x in sizes)
        return self.op("Concat", *parts, axis=0)

    def concat(self, values: Sequence[Operand], axis: int) -> Value:
        return self.op("Concat", *values, axis=axis)

    def where(self, condition: Value, yes: Operand, no: Operand) -> Value:
        return self.op("Where", condition, yes, no)

    def range(self, count: Value) -> Value:
        """0 up to `count` [1], int64."""
        return self.op("Range", 0, self.op("Squeeze", count, [0]), 1)

    def _new_name(self, kind: str) -> str:
        self._count += 1
        return f"{self.prefix}.{kind.lower()}.{self._count}"

    def save(self, path: Union[str, Path]) -> None:
        """Checks the model and writes it."""
        onnx.checker.check_model(self.model)
        onnx.save(self.model, str(path))
