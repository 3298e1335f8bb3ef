"""The layers of a network whose values float16 cannot hold."""

from pathlib import Path
from typing import Iterable, Mapping, Optional

import numpy as np
import onnx
from onnx.numpy_helper import to_array

from ppdet_lite.export.onnx.cpu_session import CpuSession
from ppdet_lite.export.onnx.float16.half import (
    FLOAT,
    FLOAT_INPUTS,
    float32_by_design,
    rounded,
    tensor_types,
)
from ppdet_lite.export.onnx.graph import DETECTOR_PREFIX, OnnxGraph

LARGEST = 65504.0
"""The largest number of float16."""

HEADROOM = 4.0
"""Other images may have values so many times as large as those that were seen."""

SMALLEST = 2.0**-14
"""Below it float16 has fewer than eleven bits, down to none at 2^-25."""

MOST_LOSS = 2e-3
"""Rounding moves the weights of a layer by 3e-4 of their norm; more than MOST_LOSS is what numbers
below SMALLEST lose."""

Layers = dict[str, str]
"""Layer -> the reason why it stays in float32."""


def largest_values(
    model: onnx.ModelProto, batches: Iterable[dict[str, np.ndarray]], graph: Path
) -> dict[str, float]:
    """The largest absolute value of every tensor of the network, decoding left out, over all
    images; `graph` is the file that `model` was read from."""
    types = tensor_types(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [node for node in copy.graph.node if not _is_decoding(node)]
    known = {info.name for info in copy.graph.input}
    known.update(tensor.name for tensor in copy.graph.initializer)
    del copy.graph.node[:], copy.graph.output[:], copy.graph.value_info[:]
    names: list[str] = []
    for node in nodes:
        if all(not name or name in known for name in node.input):  # else an output of decoding
            copy.graph.node.append(node)
            known.update(node.output)
            names += [name for name in node.output if name and types[name] == FLOAT]
    read = {name for node in copy.graph.node for name in node.input}
    names += [i.name for i in copy.graph.input if i.name in read and types[i.name] == FLOAT]
    g = OnnxGraph(copy, prefix="range")
    for i, name in enumerate(names):
        largest = g.op("ReduceMax", g.op("Abs", g.value(name)), keepdims=0)
        g.output(f"largest_{i}", largest, "float32", [])
    session, found = CpuSession(copy, graph), dict.fromkeys(names, 0.0)
    for inputs in batches:
        for name, value in zip(names, session.run(inputs)):
            found[name] = float(np.maximum(found[name], value))  # a value that is none stays
    return found


def layers_for_float32(
    model: onnx.ModelProto, largest: Optional[Mapping[str, float]] = None
) -> tuple[set[str], Layers]:
    """The nodes, by first output, that have to compute in float32 because of values that float16
    cannot hold, without those that do by design; and their layers.

    Args:
        largest: of `largest_values`; without it only the weights are looked at.
    """
    constants = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    by_design, types = float32_by_design(model), tensor_types(model)
    nodes: set[str] = set()
    layers: Layers = {}
    layer_of: dict[str, str] = {}
    for node in model.graph.node:
        is_layer = any(name in constants and constants[name].ndim > 1 for name in node.input)
        before = next((layer_of[name] for name in node.input if name in layer_of), node.name)
        layer = node.name if is_layer else before
        layer_of.update(dict.fromkeys(node.output, layer))
        if node.output[0] in by_design or types[node.output[0]] != FLOAT:
            continue
        if reason := _reason(node, constants, largest or {}):
            nodes.add(node.output[0])
            layers.setdefault(layer, reason)
    return nodes, layers


def _reason(
    node: onnx.NodeProto, constants: Mapping[str, np.ndarray], largest: Mapping[str, float]
) -> str:
    """The reason why float16 cannot hold the numbers of a node; "" if it can."""
    as_float = FLOAT_INPUTS.get(node.op_type, ())
    for i, name in enumerate(node.input):
        if i in as_float or name not in constants or constants[name].dtype != np.float32:
            continue
        if problem := weight_problem(constants[name]):
            return problem
    for kind, names in (("output", node.output), ("input", node.input)):
        for name in names:
            value = largest.get(name, 0.0)
            if not value <= LARGEST / HEADROOM:  # no number fails as well
                return f"{kind} up to {value:.3g}"
            if 0 < value < SMALLEST:
                return f"{kind} of {value:.3g} at most"
    return ""


def weight_problem(weights: np.ndarray) -> str:
    """The reason why float16 cannot hold an array; "" if it can."""
    largest = float(np.abs(weights).max(initial=0))
    if not largest <= LARGEST:
        return f"weights up to {largest:.3g}"
    exact = weights.astype(np.float64)
    lost = float(np.linalg.norm(rounded(weights) - exact))
    share = lost / max(float(np.linalg.norm(exact)), np.finfo(np.float64).tiny)
    return f"weights lose {share:.2g} of their norm" if share > MOST_LOSS else ""


def _is_decoding(node: onnx.NodeProto) -> bool:
    return node.name.startswith(f"{DETECTOR_PREFIX}.")
