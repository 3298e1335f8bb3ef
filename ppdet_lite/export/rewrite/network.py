"""The form in which a network is exported: rewrites that leave what it computes as it is."""

import copy
from typing import Any

import numpy as np
from paddle import nn
from paddle.vision.ops import DeformConv2D

from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.cpu_forms import use_cpu_forms
from ppdet_lite.export.rewrite.rep_vgg import join_rep_vgg

CONVOLUTIONS = (nn.Conv2D, DeformConv2D)
NORMS = (nn.BatchNorm2D, nn.SyncBatchNorm)


def exported_network(model: nn.Layer, options: ExportOptions) -> nn.Layer:
    """A copy of `model` in the form in which it is exported; gives the same boxes."""
    network = copy.deepcopy(model)
    network.eval()
    fold_batch_norm(network)
    join_rep_vgg(network)
    if options.target == "cpu" and options.input_hw is not None:
        use_cpu_forms(network, options.input_hw, options.cpu_limits)  # wants norms folded
    return network


def fold_batch_norm(network: nn.Layer) -> None:
    """Makes batch norms a part of the convolutions before them, in place.

    In evaluation a batch norm is a scale and a shift per channel, which the convolution can hold in
    its weight and bias. It is folded where it stands directly behind a convolution among the
    children of the same layer, with the channels of its output: that is how every block here is
    built, deformable ones included. Other batch norms stay as they are.
    """
    for layer in network.sublayers(include_self=True):
        children = list(layer.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:]):
            if not isinstance(conv, CONVOLUTIONS) or not isinstance(norm, NORMS):
                continue
            if conv.weight.shape[0] == norm._num_features:
                _fold(conv, norm)
                setattr(layer, name, nn.Identity())


def _fold(conv: nn.Layer, norm: nn.Layer) -> None:
    """norm(conv(x)) = scale * (W * x) + shift, scale = gamma / sqrt(var + epsilon), shift = beta -
    mean * scale; in float64, so that rounding happens once."""

    def numbers(tensor: Any, otherwise: float = 0.0) -> Any:
        return otherwise if tensor is None else tensor.numpy().astype(np.float64)

    mean, variance, beta, bias = map(numbers, (norm._mean, norm._variance, norm.bias, conv.bias))
    gamma = numbers(norm.weight, 1.0)
    scale = gamma / np.sqrt(variance + norm._epsilon)
    weight = conv.weight.numpy()
    scaled = weight.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    conv.weight.set_value(scaled.astype(weight.dtype))
    shift = (beta + (bias - mean) * scale).astype(weight.dtype)
    if conv.bias is None:
        conv.bias = conv.create_parameter([len(shift)], is_bias=True)
    conv.bias.set_value(shift)
