"""Batch norms folded into the convolutions before them, for export.

In evaluation a batch norm is a scale and a shift per channel, which the convolution can hold in its
weight and bias: norm(conv(x)) = scale * (W * x) + shift, scale = gamma / sqrt(var + epsilon),
shift = beta - mean * scale.
"""

import numpy as np
from paddle import nn
from paddle.vision.ops import DeformConv2D

from ppdet_lite.export.options import ExportOptions

CONVOLUTIONS = (nn.Conv2D, DeformConv2D)
NORMS = (nn.BatchNorm2D, nn.SyncBatchNorm)


def fold_batch_norm(network: nn.Layer, options: ExportOptions) -> nn.Layer:
    """`network` with batch norms as a part of its convolutions, whatever the options.

    A batch norm is folded where it stands directly behind a convolution among the children of the
    same layer, with the channels of its output: that is how every block here is built,
    deformable ones included. Other batch norms stay as they are.
    """
    for layer in network.sublayers(include_self=True):
        children = list(layer.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:]):
            if _belong_together(conv, norm):
                _fold(conv, norm)
                setattr(layer, name, nn.Identity())
    return network


def _belong_together(conv: nn.Layer, norm: nn.Layer) -> bool:
    if not isinstance(conv, CONVOLUTIONS) or not isinstance(norm, NORMS):
        return False
    return conv.weight.shape[0] == norm._num_features


def _fold(conv: nn.Layer, norm: nn.Layer) -> None:
    """Gives `conv` the effect of `norm`; in float64, so that rounding happens once."""
    mean, variance = (t.numpy().astype(np.float64) for t in (norm._mean, norm._variance))
    gamma = 1.0 if norm.weight is None else norm.weight.numpy().astype(np.float64)
    beta = 0.0 if norm.bias is None else norm.bias.numpy().astype(np.float64)
    bias = 0.0 if conv.bias is None else conv.bias.numpy().astype(np.float64)
    scale = gamma / np.sqrt(variance + norm._epsilon)
    weight = conv.weight.numpy()
    scaled = weight.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    conv.weight.set_value(scaled.astype(weight.dtype))
    shift = (beta + (bias - mean) * scale).astype(weight.dtype)
    if conv.bias is None:
        conv.bias = conv.create_parameter([len(shift)], is_bias=True)
    conv.bias.set_value(shift)
