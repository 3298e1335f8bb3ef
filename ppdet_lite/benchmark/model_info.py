"""Parameters and multiply-adds of a network, layer by layer, behind ppdet model-info.

What is counted: the multiply-adds of convolutions and linear layers on one image, a multiply-add
counting once. Not counted: biases, activations, pooling, enlarging, sums and concatenations.
Multiply-adds of two kinds are kept apart, because deployments and papers treat them differently:

* batch norm, one per value; inference engines fold it into the convolution before it;
* the sampling of deformable convolutions: per output cell, tap and input channel four for the
  bilinear interpolation and one for the mask. The product with the weight, which is that of an
  ordinary convolution of the same shape, and the convolution that predicts the offsets are counted.

How the papers of this family count, found by matching their tables
(tests/benchmark/test_model_info.py holds the figures): convolutions alone, without the products of
deformable ones, an operator that their counter probably did not know. PP-YOLO's table, and row A of
PP-YOLOv2's which repeats it, is in binary units: 2**30 multiply-adds and 2**20 values, running
statistics of batch norms included. The other rows of PP-YOLOv2's table are in decimal units. YOLOX
counts a multiply-add as two operations and adds four for every value that a batch norm makes.
"""

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from typing import Any, Optional

import paddle
from paddle import nn
from paddle.vision.ops import DeformConv2D

from ppdet_lite.modeling.modes import evaluation_mode

_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
_SAMPLE = 5  # multiply-adds: four neighbors of the bilinear interpolation, and the mask


@dataclass
class Cost:
    """Saved values and work of one layer, or of several together.

    Attributes:
        values: running statistics of batch norms included; `trainable` are those of them that
            training moves.
        multiply_adds: of convolutions and linear layers, per image; `deformable` are those of them
            that are products of deformable convolutions. `norm` and `sampling` are not in it.
    """

    values: int = 0
    trainable: int = 0
    multiply_adds: int = 0
    deformable: int = 0
    norm: int = 0
    sampling: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other))))


@dataclass
class Row:
    """A layer, or a part of the network with all that is below it.

    Attributes:
        kind: class name; empty where a name has dots of its own and `name` is a part of it.
        outputs: shapes without the batch, one per feature map; empty where nothing ran as a whole.
    """

    name: str
    kind: str
    outputs: list[tuple]
    cost: Cost


@dataclass
class ModelInfo:
    """The cost of every layer that holds values, by its name in the state dict.

    Attributes:
        layers: in the order of the network; its own name is empty.
        kinds: class names of the layers and of the parts that they make up.
        outputs: shapes without the batch, of all that ran.
        uncounted: layers with a weight of two or more dimensions whose work is not known.
    """

    input_hw: tuple[int, int]
    layers: dict[str, Cost] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, list] = field(default_factory=dict)
    uncounted: list[str] = field(default_factory=list)

    @property
    def total(self) -> Cost:
        return sum(self.layers.values(), Cost())

    def rows(self, depth: Optional[int] = 1) -> list[Row]:
        """Costs added up over equal first `depth` parts of the names; None: layer by layer."""
        groups: dict[str, Cost] = {}
        for name, cost in self.layers.items():
            group = name if depth is None else ".".join(name.split(".")[:depth])
            groups[group] = groups.get(group, Cost()) + cost
        return [
            Row(name, self.kinds.get(name, ""), self.outputs.get(name, []), cost)
            for name, cost in groups.items()
        ]


def measure(model: nn.Layer, height: int, width: int) -> ModelInfo:
    """Runs `model.raw_outputs` on one blank image and counts; the model stays as it was.

    Decoding and NMS are left out. The work of layers on feature maps grows exactly with the area of
    the input as long as its sides are multiples of the largest stride.

    Raises:
        ConfigError: the network does not take this input size.
    """
    info = ModelInfo((height, width))
    _enter_layers(info, model)
    layers, worked = dict(model.named_sublayers()), set()
    names = {id(layer): name for name, layer in layers.items()}

    def record(layer: nn.Layer, inputs: tuple, output: Any) -> None:
        name = names[id(layer)]
        info.outputs[name] = _shapes(output)
        work = _work(layer, inputs[0], output)
        if work is not None:
            info.layers[name] = info.layers.get(name, Cost()) + work
            worked.add(name)

    handles = [layer.register_forward_post_hook(record) for layer in layers.values()]
    try:
        with evaluation_mode(model):
            model.raw_outputs(paddle.zeros([1, 3, height, width]))
    finally:
        for handle in handles:
            handle.remove()
    for name, layer in layers.items():
        weight = getattr(layer, "weight", None)
        is_matrix = isinstance(weight, paddle.Tensor) and weight.ndim > 1
        if is_matrix and name not in worked:
            info.uncounted.append(f"{name} ({info.kinds[name]})")
    return info


def _enter_layers(info: ModelInfo, model: nn.Layer) -> None:
    """Names, classes and values of all layers; a value that two layers share counts once."""
    seen: set[int] = set()
    for name, layer in model.named_sublayers(include_self=True):
        info.kinds[name] = type(layer).__name__
        own = layer.state_dict(include_sublayers=False).values()
        new = [value for value in own if id(value) not in seen]
        seen.update(map(id, new))
        if new:
            moved = (value for value in new if not value.stop_gradient)
            info.layers[name] = Cost(values=_size(new), trainable=_size(moved))


def _size(values: Iterable) -> int:
    return sum(math.prod(value.shape) for value in values)


def _shapes(output) -> list[tuple]:
    """Shapes without the batch of a tensor, or of the tensors in a list or dict."""
    if isinstance(output, paddle.Tensor):
        return [tuple(output.shape[1:])]
    parts = output.values() if isinstance(output, dict) else output
    parts = parts if isinstance(parts, Iterable) else ()
    return [shape for part in parts for shape in _shapes(part)]


def _work(layer: nn.Layer, x, output) -> Optional[Cost]:
    """The work of one call of a layer; None for layers without a rule."""
    if isinstance(layer, _CONVOLUTIONS):
        return Cost(multiply_adds=math.prod(output.shape[2:]) * _size([layer.weight]))
    if isinstance(layer, _TRANSPOSED):
        return Cost(multiply_adds=math.prod(x.shape[2:]) * _size([layer.weight]))
    if isinstance(layer, nn.Linear):
        return Cost(multiply_adds=math.prod(output.shape[1:-1]) * _size([layer.weight]))
    if isinstance(layer, _NORMS):
        return Cost(norm=math.prod(output.shape[1:]))
    if isinstance(layer, DeformConv2D):
        cells, taps = math.prod(output.shape[2:]), math.prod(layer.weight.shape[2:])
        product = cells * _size([layer.weight])
        samples = cells * taps * x.shape[1]
        return Cost(multiply_adds=product, deformable=product, sampling=_SAMPLE * samples)
    return None
