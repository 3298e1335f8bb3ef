"""The same network in the form that Paddle Inference runs fastest on a CPU, for export."""

from typing import NamedTuple, Sequence

import paddle
from paddle import nn

from ppdet_lite.modeling.layers.deform_conv import DeformableConvV2
from ppdet_lite.modeling.layers.gathered_deform import GatheredDeformConv2D
from ppdet_lite.modeling.layers.winograd import TILE, WinogradConv2D, is_winograd_form

FEWEST_CHANNELS = 128
"""With fewer, moving tiles about costs more than the multiplications saved. Measured with oneDNN on
two cores with AVX2: 1.8 times as fast at 256 channels, 1.4 at 128, slower at 64."""

FEWEST_TILES = 25
"""With fewer, reading four times the weights costs more than the multiplications saved. Measured at
512 channels: 1.7 times as fast with 25 tiles (a map of 20 x 20), slower with 9 (10 x 10)."""


class Replaced(NamedTuple):
    """How many convolutions were written in another form."""

    winograd: int
    gathered: int


def for_cpu(
    network: nn.Layer,
    input_hw: Sequence[int],
    fewest_channels: int = FEWEST_CHANNELS,
    fewest_tiles: int = FEWEST_TILES,
) -> Replaced:
    """Replaces layers of `network`, in place, by equal ones for CPUs.

    3x3 convolutions become `WinogradConv2D` where there are enough channels and tiles, deformable
    ones `GatheredDeformConv2D`, however small: engines without the operator then run the graph too,
    although below about 256 channels on 10 x 10 cells Paddle's kernel is faster. The maps stay the
    same but for rounding. Batch norms have to be folded before.

    Args:
        input_hw: height and width of the network input; for other sizes the result is not made.
    """
    sizes = _map_sizes(network, input_hw)
    winograd = gathered = 0
    for layer in network.sublayers(include_self=True):
        # One without a size runs in training only.
        if isinstance(layer, DeformableConvV2) and id(layer.conv_offset) in sizes:
            layer.conv = GatheredDeformConv2D(layer.conv, sizes[id(layer.conv_offset)])
            gathered += 1
        for name, child in list(layer.named_children()):
            if not is_winograd_form(child) or min(child.weight.shape[:2]) < fewest_channels:
                continue
            if _tiles(*sizes.get(id(child), (0, 0))) >= fewest_tiles:
                setattr(layer, name, WinogradConv2D(child))
                winograd += 1
    return Replaced(winograd, gathered)


def _tiles(height: int, width: int) -> int:
    return -(-height // TILE) * -(-width // TILE)


def _map_sizes(network: nn.Layer, input_hw: Sequence[int]) -> "dict[int, tuple[int, int]]":
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
