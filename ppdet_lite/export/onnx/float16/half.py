"""A network in float16: weights and activations, except for chosen nodes and the graph's inputs and
outputs, which stay in float32.

Nodes are named by their first output. Casts stand only where the two types meet, one for each
tensor, and constants are stored in the type in which they are read.
"""

from collections import deque
from typing import Container, Iterable

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.onnx.deform_conv import DEFORMABLE
from ppdet_lite.export.onnx.graph import DEFORM_PREFIX, DETECTOR_PREFIX

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

OF_ANY_TYPE = ("Shape", "Size")
"""Operators that read a tensor of any type and give whole numbers."""

FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that are float32 in every network: region and scales."""

SAMPLING = (DEFORMABLE, "GridSample")
"""Operators that read their first input at places of their own. ONNX Runtime has no GridSample in
float16 on GPUs."""


def float32_by_design(model: onnx.ModelProto) -> set[str]:
    """Nodes that compute in float32 whatever the values: decoding and NMS, sampling of deformable
    convolutions, and the convolutions that predict its offsets and masks.

    Pixels of a large image, powers and the inverse sigmoid near 0 and 1 need more than the eleven
    bits of a half, and so do offsets. In the portable form of a deformable convolution the product
    with the filters is a convolution like any other.
    """
    nodes, makers = list(model.graph.node), _makers(model)
    found = {node.output[0] for node in nodes if _is_decoding(node)}
    sampling = [
        node
        for node in nodes
        if node.op_type in SAMPLING
        or (node.name.startswith(f"{DEFORM_PREFIX}.") and node.op_type not in ("Conv", "Shape"))
    ]
    found.update(node.output[0] for node in sampling)
    reached = deque(name for node in sampling for name in node.input[node.op_type in SAMPLING :])
    while reached:
        node = makers.get(reached.popleft())
        if node is None or node.output[0] in found or node.op_type in OF_ANY_TYPE:
            continue
        found.add(node.output[0])
        if node.op_type != "Conv":
            reached.extend(node.input)
    return found


def to_half(model: onnx.ModelProto, in_float32: Container[str]) -> onnx.ModelProto:
    """A copy of a float32 model in float16 but for the nodes `in_float32`."""
    writer = _HalfWriter(model)
    for node in model.graph.node:
        writer.add(node, FLOAT if node.output[0] in in_float32 else HALF)
    half = writer.finish()
    onnx.checker.check_model(half)
    return half


def tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor by name; a UserError if one cannot be found out."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = (*graph.value_info, *graph.input, *graph.output)
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    for node in graph.node:
        for name in filter(None, node.output):
            if not types.get(name):
                raise UserError(f"the type of {name} ({node.op_type}) cannot be found out")
    return types


def raw_outputs(model: onnx.ModelProto) -> list[str]:
    """The tensors of float numbers that decoding reads of the network, in its order: the raw
    outputs; none in a graph that ends with them."""
    types, makers, found = tensor_types(model), _makers(model), {}
    inputs = {info.name for info in model.graph.input}
    for node in model.graph.node:
        if not _is_decoding(node) or node.op_type in OF_ANY_TYPE:
            continue
        for name in node.input:
            maker = makers.get(name)
            if maker is None or types[name] not in (FLOAT, HALF) or _is_decoding(maker):
                continue
            if not inputs.intersection(maker.input):  # no cast of a size
                found[name] = True
    return list(found)


def _is_decoding(node: onnx.NodeProto) -> bool:
    return node.name.startswith(f"{DETECTOR_PREFIX}.")


def _makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


class _HalfWriter:
    """Takes the nodes of a model in their order and the type in which each computes."""

    def __init__(self, model: onnx.ModelProto):
        self._original = tensor_types(model)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {info.name for info in model.graph.output}
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        self._types = {info.name: self._original[info.name] for info in graph.input}
        self._written: dict[str, onnx.TensorProto] = {}  # constants and their casts
        self._casts: set[str] = set()

    def add(self, original: onnx.NodeProto, wanted: int) -> None:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type == "Identity" and node.output[0] in self._outputs:
            wanted = FLOAT
            if self._types.get(node.input[0]) == HALF:  # the cast itself names the output
                node = onnx.helper.make_node("Cast", node.input, node.output, node.name, to=FLOAT)
        if node.op_type not in ("Cast", *OF_ANY_TYPE):
            as_float = FLOAT_INPUTS.get(node.op_type, ())
            for i, name in enumerate(node.input):
                node.input[i] = self._read(name, FLOAT if i in as_float else wanted)
        else:
            node.input[0] = self._read(node.input[0], self._types.get(node.input[0], FLOAT))
        if wanted == HALF:
            _use_half_attributes(node)
        self._model.graph.node.append(node)
        for name in node.output:
            kind = self._original.get(name, FLOAT)
            self._types[name] = wanted if kind == FLOAT else kind

    def finish(self) -> onnx.ModelProto:
        graph = self._model.graph
        late = {name: f"{name}.float16" for name in self._outputs if self._types[name] == HALF}
        for node in graph.node if late else ():
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = late.get(name, name)
        for name, own in late.items():
            graph.node.append(onnx.helper.make_node("Cast", [own], [name], own, to=FLOAT))
        graph.initializer.extend(self._written.values())
        return self._model

    def _read(self, name: str, wanted: int) -> str:
        """The name under which a tensor is there in a type, if it is one of float numbers."""
        if name in self._constants:
            return self._constant(name, wanted)
        if not name or self._original[name] != FLOAT or self._types[name] == wanted:
            return name
        own = f"{name}.{'float16' if wanted == HALF else 'float32'}"
        if own not in self._casts:
            self._casts.add(own)
            cast = onnx.helper.make_node("Cast", [name], [own], own, to=wanted)
            self._model.graph.node.append(cast)
        return own

    def _constant(self, name: str, wanted: int) -> str:
        tensor = self._constants[name]
        if tensor.data_type != FLOAT or wanted == FLOAT:
            self._written[name] = tensor
            return name
        own = f"{name}.float16"
        if own not in self._written:
            self._written[own] = from_array(rounded(to_array(tensor)), own)
        return own


def rounded(array: np.ndarray) -> np.ndarray:
    """float16; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def _use_half_attributes(node: onnx.NodeProto) -> None:
    """Makes a node give float16 where its attributes say float32."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF
        elif attribute.HasField("t") and attribute.t.data_type == FLOAT:
            attribute.t.CopyFrom(from_array(rounded(to_array(attribute.t)), attribute.t.name))


def count_casts(nodes: Iterable[onnx.NodeProto]) -> int:
    """Number of casts between float32 and float16, or to either."""
    return sum(n.op_type == "Cast" and n.attribute[0].i in (FLOAT, HALF) for n in nodes)
