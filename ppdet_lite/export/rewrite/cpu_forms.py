"""The same network in the form that Paddle Inference runs fastest on a CPU, for export."""

import math
from typing import NamedTuple, Sequence

import paddle
from paddle import nn

from ppdet_lite.export.options import Limits
from ppdet_lite.export.rewrite.gathered_deform_conv import GatheredDeformConv2D
from ppdet_lite.export.rewrite.winograd_conv import TILE, WinogradConv2D, is_winograd_form
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.feature_adaption import FeatureAdaption
from ppdet_lite.utils.logger import get_logger


class Replaced(NamedTuple):
    """Numbers of convolutions written in another form."""

    winograd: int
    gathered: int


DEFORMABLE = (DeformableConvV2, FeatureAdaption)
"""Layers whose `conv` samples at the offsets that their `conv_offset` predicts."""

NOT_RUN = (0, 0)
"""Size of the maps of a layer that runs in training only."""


def use_cpu_forms(network: nn.Layer, input_hw: Sequence[int], limits: Limits) -> None:
    """Gives layers the form that is fastest on CPUs, in place; the maps stay the same but for
    rounding. Batch norms have to be folded before."""
    if any(replaced := replace_layers(network, input_hw, limits)):
        get_logger().info(
            "for CPUs: %d convolutions by Winograd's method, %d deformable ones by gathered rows",
            *replaced,
        )
    else:
        get_logger().warning(
            "target cpu: no layer of this network is large enough to gain by another form; the "
            "export is that of target any, for every device"
        )


def target_of(network: nn.Layer) -> str:
    """One of TARGETS: "cpu" for a network with layers in a form for CPUs."""
    forms = (WinogradConv2D, GatheredDeformConv2D)
    return "cpu" if any(isinstance(layer, forms) for layer in network.sublayers()) else "any"


def replace_layers(network: nn.Layer, input_hw: Sequence[int], limits: Limits) -> Replaced:
    """Replaces 3x3 convolutions, in place, by `WinogradConv2D` and deformable ones by
    `GatheredDeformConv2D`, for inputs of `input_hw` only. Layers below the limits stay."""
    sizes = _map_sizes(network, input_hw)
    winograd = gathered = 0
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, DEFORMABLE):
            cells = sizes.get(id(layer.conv_offset), NOT_RUN)
            if _products(layer.conv, cells) > limits.deformable_products:
                layer.conv = GatheredDeformConv2D(layer.conv, cells)
                gathered += 1
        for name, child in list(layer.named_children()):
            if not is_winograd_form(child) or min(child.weight.shape[:2]) < limits.channels:
                continue
            height, width = cells = sizes.get(id(child), NOT_RUN)
            tiles = math.ceil(height / TILE) * math.ceil(width / TILE)
            if tiles >= limits.tiles and _products(child, cells) > limits.products:
                setattr(layer, name, WinogradConv2D(child))
                winograd += 1
    return Replaced(winograd, gathered)


def _products(conv: nn.Layer, cells: Sequence[int]) -> int:
    """Multiply-adds of a convolution whose output is of so many rows and columns."""
    return math.prod(cells) * math.prod(conv.weight.shape)


def _map_sizes(network: nn.Layer, input_hw: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Height and width of the output of every plain convolution, by the layer's id."""
    sizes = {}

    def note(layer, inputs, output):
        sizes[id(layer)] = tuple(output.shape[2:])

    convolutions = (layer for layer in network.sublayers() if isinstance(layer, nn.Conv2D))
    handles = [layer.register_forward_post_hook(note) for layer in convolutions]
    try:
        with paddle.no_grad():
            network.raw_outputs(paddle.zeros([1, 3, *input_hw]))
    finally:
        for handle in handles:
            handle.remove()
    return sizes
