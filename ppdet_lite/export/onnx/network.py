"""The network itself, image to raw head outputs, as an ONNX model: converted and tidied up."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import paddle2onnx
from onnx.numpy_helper import from_array, to_array
from onnx.reference import ReferenceEvaluator

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.onnx import OPSET

Arrays = dict[str, np.ndarray]

CONVOLUTION_BIAS_INPUT = {"Conv": 2, "DeformConv": 3}
"""Place of the bias among the inputs."""


def convert_network(graph: Path, params: Path) -> onnx.ModelProto:
    """A Paddle 3 graph (model.json) and its parameters as a tidy model, or a UserError if
    paddle2onnx cannot convert it."""
    try:
        content = paddle2onnx.export(
            str(graph), str(params), opset_version=OPSET, auto_upgrade_opset=False
        )
        model = onnx.load_model_from_string(content)
        tidy(model)
        repair_deform_convs(model)
        tidy(model)
        onnx.checker.check_model(model)
    except (Exception, SystemExit) as error:  # it logs its errors, then ends the process
        reason = error.__context__ if isinstance(error, SystemExit) else error
        raise UserError(
            f"paddle2onnx cannot convert this network; its reason stands above ({reason})"
        ) from error
    return model


def repair_deform_convs(model: onnx.ModelProto) -> None:
    """Writes the number of groups of offsets, which paddle2onnx leaves out, into DeformConv nodes
    with several, in place, and removes masks of ones, which it asks for."""
    nodes = [node for node in model.graph.node if node.op_type == "DeformConv"]
    if not nodes:
        return
    constants = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    channels = _channels(model)
    for node in nodes:
        taps = int(np.prod(constants[node.input[1]].shape[2:]))
        groups = channels[node.input[2]] // (2 * taps)
        if groups > 1:
            node.attribute.append(onnx.helper.make_attribute("offset_group", groups))
        mask = makers.get(node.input[4]) if len(node.input) > 4 else None
        if mask is not None and mask.op_type == "Expand":
            value = constants.get(mask.input[0])
            if value is not None and (value == 1).all():
                node.input[4] = ""


def _channels(model: onnx.ModelProto) -> dict[str, int]:
    """Name of a map -> its channels."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {x.name: x.type.tensor_type.shape.dim for x in (*graph.value_info, *graph.input)}
    return {name: shape[1].dim_value for name, shape in shapes.items() if len(shape) > 1}


def tidy(model: onnx.ModelProto) -> None:
    """Leaves only nodes that compute something, in place.

    Constants become initializers, what follows from constants alone is computed, a constant added
    to a convolution becomes its bias, and names that only repeat others go, as does what no output
    depends on.
    """
    graph = model.graph
    outputs = {output.name for output in graph.output}
    constants = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    alias: dict[str, str] = {}
    makers: dict[str, onnx.NodeProto] = {}
    nodes = []
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = alias.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            alias[node.output[0]] = node.input[0]
            uses[node.input[0]] += uses[node.output[0]] - 1
        elif not outputs & set(node.output) and _is_constant(node, constants):
            constants.update(_evaluate(node, constants))
        elif not _merge_bias(node, makers, constants, uses):
            makers[node.output[0]] = node
            nodes.append(node)
    needed, alive = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            alive.append(node)
            needed.update(node.input)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(alive))
    graph.initializer.extend(
        from_array(array, name) for name, array in constants.items() if name in needed
    )


def _is_constant(node: onnx.NodeProto, constants: Arrays) -> bool:
    if node.op_type == "Constant":
        return True
    return bool(node.input) and all(not name or name in constants for name in node.input)


def _evaluate(node: onnx.NodeProto, constants: Arrays) -> Arrays:
    """The outputs of a node whose inputs are constants, by name."""
    feeds = {name: constants[name] for name in node.input if name}
    names = list(node.output)
    inputs, results = ([onnx.ValueInfoProto(name=name) for name in x] for x in (feeds, names))
    graph = onnx.helper.make_graph([node], "constant", inputs, results)
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    return dict(zip(names, ReferenceEvaluator(model).run(names, feeds)))


def _merge_bias(
    node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], constants: Arrays, uses: Counter
) -> bool:
    """Puts an addition of a constant per channel into the convolution before it, if it is one; the
    bias is added to `constants`. `makers` are the nodes behind each name, `uses` how many inputs
    each name feeds."""
    if node.op_type != "Add":
        return False
    summand, bias = node.input if node.input[0] in makers else reversed(node.input)
    conv = makers.get(summand)
    if conv is None or conv.op_type not in CONVOLUTION_BIAS_INPUT or bias not in constants:
        return False
    array, position = constants[bias], CONVOLUTION_BIAS_INPUT[conv.op_type]
    channels = constants[conv.input[1]].shape[0] if conv.input[1] in constants else -1
    is_free = len(conv.input) <= position or not conv.input[position]
    if array.shape != (1, channels, 1, 1) or uses[summand] != 1 or not is_free:
        return False
    constants[f"{bias}.of_channels"] = array.reshape(-1)
    conv.input.extend([""] * (position + 1 - len(conv.input)))
    conv.input[position] = f"{bias}.of_channels"
    conv.output[0] = node.output[0]  # it may be the name of an output
    makers[node.output[0]] = conv
    return True
