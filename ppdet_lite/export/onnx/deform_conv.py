"""Deformable convolution in operators that every engine has."""

import math

import numpy as np
import onnx

from ppdet_lite.core.errors import UserError
from ppdet_lite.export.onnx.graph import DEFORM_PREFIX, OnnxGraph

DEFORMABLE = "DeformConv"


def has_deform_conv(model: onnx.ModelProto) -> bool:
    """True if a model holds the operator."""
    return any(node.op_type == DEFORMABLE for node in model.graph.node)


def without_deform_conv(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model with DeformConv written as GridSample and Conv; a UserError for one whose
    convolution has groups, which no network here has."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    g = OnnxGraph(copy, prefix=DEFORM_PREFIX)
    for node in nodes:
        if node.op_type == DEFORMABLE:
            _append_samples_and_conv(g, node)
        else:
            copy.graph.node.append(node)
    onnx.checker.check_model(copy)
    return copy


def _append_samples_and_conv(g: OnnxGraph, node: onnx.NodeProto) -> None:
    """Appends what computes the output of a DeformConv node.

    Every tap of the filter looks at its own place in every cell: they are read with bilinear
    interpolation, zero outside the map, and weighed by the mask. What is left is a 1x1 convolution
    over all channels of all taps. Channels with offsets of their own are images of their own when
    they are read.
    """
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    x_name, weight, offset_name, bias, mask = [*node.input, "", ""][:5]
    tensors = {tensor.name: tensor for tensor in g.graph.initializer}
    filters = onnx.numpy_helper.to_array(tensors[weight])  # [out, in, k_y, k_x]
    groups, parts = (attributes.get(key, 1) for key in ("group", "offset_group"))
    if groups != 1:
        raise UserError(f"DeformConv with {groups} groups has no portable form here")
    channels, taps = filters.shape[1], math.prod(filters.shape[2:])
    strides, dilations = (attributes.get(key, (1, 1)) for key in ("strides", "dilations"))
    pads = attributes.get("pads", (0, 0))

    x, offset = g.value(x_name), g.value(offset_name)
    rows, columns = offset.size(2), offset.size(3)
    count, x_hw = rows * columns, (x.size(2), x.size(3))
    cell = g.range(count)
    cells, tap = (cell / columns, cell % columns), np.indices(filters.shape[2:]).reshape(2, -1, 1)
    moves, spots = offset.reshape(-1, taps, 2, count).split(1, 1, axis=2), []
    for axis in (1, 0):
        # Where each tap looks, in cells of x, without its offset: [taps, H W].
        base = cells[axis] * strides[axis] + g.constant(tap[axis] * dilations[axis] - pads[axis])
        place = base.cast("float32").unsqueeze(1) + moves[axis]  # [B parts, taps, 1, H W]
        # GridSample counts from -1 to 1 between the outer edges of the first and last cell.
        spots.append((place * 2.0 + 1.0) / x_hw[axis].cast("float32") - 1.0)
    grid = g.concat(spots, axis=2).transpose(0, 1, 3, 2)  # [B parts, taps, H W, 2]
    if parts > 1:
        x = x.reshape(-1, channels // parts, *x_hw)
    samples = g.op("GridSample", x, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
    if mask:
        samples = samples * g.value(mask).reshape(-1, 1, taps, count)
    samples = samples.reshape(-1, channels * taps, rows, columns)
    flat = filters.reshape(len(filters), channels * taps, 1, 1)
    inputs = [samples, flat, *([g.value(bias)] if bias else [])]
    g.op("Conv", *inputs, kernel_shape=[1, 1])
    conv = g.graph.node[-1]
    conv.name, conv.output[0] = node.name, node.output[0]
