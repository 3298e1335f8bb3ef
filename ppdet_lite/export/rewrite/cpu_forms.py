"""The same network in the form that Paddle Inference runs fastest on a CPU, for export."""

import math
from typing import NamedTuple, Sequence

import paddle
from paddle import nn

from ppdet_lite.export.rewrite.gathered_deform_conv import GatheredDeformConv2D
from ppdet_lite.export.rewrite.winograd_conv import TILE, WinogradConv2D, is_winograd_form
from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2


class Limits(NamedTuple):
    """From which size on another form pays, as tools/dev/benchmark_layers.py measured it with
    oneDNN on two cores with AVX2.

    Attributes:
        channels: of Winograd's convolutions; with fewer, moving tiles about costs more than the
            multiplications saved. On 80 x 80 cells 1.5 times as fast with 128 channels, 0.9 times
            with 64.
        tiles: of theirs; with fewer, reading four times the weights costs more. With 512 channels
            1.5 times as fast on a map of 20 x 20 (25 tiles), 0.6 times on one of 10 x 10 (9).
        products: multiply-adds of theirs. 1.1 times as fast with 236 million (128 channels on
            40 x 40 cells, or 256 on 20 x 20), 0.6 times with 59 (128 on 20 x 20).
        deformable_products: of a deformable convolution. 1.4 to 1.7 times as fast with 940 million
            (512 channels on 20 x 20 cells), 0.8 to 1.8 times with 59, 0.5 to 1.0 times with 15.
    """

    channels: int = 128
    tiles: int = 25
    products: int = 128_000_000
    deformable_products: int = 64_000_000


class Replaced(NamedTuple):
    """How many convolutions were written in another form."""

    winograd: int
    gathered: int


DEFAULT_LIMITS = Limits()
NOT_RUN = (0, 0)
"""Size of the maps of a layer that runs in training only."""


def for_cpu(
    network: nn.Layer, input_hw: Sequence[int], limits: Limits = DEFAULT_LIMITS
) -> Replaced:
    """Replaces layers of `network`, in place, by equal ones that take less time on a CPU.

    3x3 convolutions become `WinogradConv2D`, deformable ones `GatheredDeformConv2D`. The maps stay
    the same but for rounding. Batch norms have to be folded before.

    Args:
        input_hw: height and width of the network input; for other sizes the result is not made.
        limits: smaller layers stay as they are.
    """
    sizes = _map_sizes(network, input_hw)
    winograd = gathered = 0
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, DeformableConvV2):
            cells = sizes.get(id(layer.conv_offset), NOT_RUN)
            if _products(layer.conv, cells) > limits.deformable_products:
                layer.conv = GatheredDeformConv2D(layer.conv, cells)
                gathered += 1
        for name, child in list(layer.named_children()):
            if not is_winograd_form(child) or min(child.weight.shape[:2]) < limits.channels:
                continue
            cells = sizes.get(id(child), NOT_RUN)
            if _tiles(*cells) >= limits.tiles and _products(child, cells) > limits.products:
                setattr(layer, name, WinogradConv2D(child))
                winograd += 1
    return Replaced(winograd, gathered)


def _products(conv: nn.Layer, cells: Sequence[int]) -> int:
    """Multiply-adds of a convolution whose output is of so many rows and columns."""
    return math.prod(cells) * math.prod(conv.weight.shape)


def _tiles(height: int, width: int) -> int:
    return -(-height // TILE) * -(-width // TILE)


def _map_sizes(network: nn.Layer, input_hw: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Height and width of the output of every plain convolution, by the layer's id."""
    sizes = {}

    def note(layer, inputs, output):
        sizes[id(layer)] = tuple(output.shape[2:])

    handles = [
        layer.register_forward_post_hook(note)
        for layer in network.sublayers()
        if isinstance(layer, nn.Conv2D)
    ]
    try:
        with paddle.no_grad():
            network.raw_outputs(paddle.zeros([1, 3, *input_hw]))
    finally:
        for handle in handles:
            handle.remove()
    return sizes
