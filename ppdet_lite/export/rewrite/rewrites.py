"""The form in which a network is exported: rewrites that leave what it computes as it is."""

import copy
from typing import Callable

from paddle import nn

from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.rewrite.batch_norm_folding import fold_batch_norm
from ppdet_lite.export.rewrite.cpu_forms import use_cpu_forms
from ppdet_lite.export.rewrite.gathered_deform_conv import GatheredDeformConv2D
from ppdet_lite.export.rewrite.winograd_conv import WinogradConv2D

Rewrite = Callable[[nn.Layer, ExportOptions], nn.Layer]
"""A network in evaluation mode, which it may change, to the network in another form."""

REWRITES: tuple[Rewrite, ...] = (fold_batch_norm, use_cpu_forms)
"""In their order: the forms for CPUs want batch norms folded."""


def exported_network(model: nn.Layer, options: ExportOptions) -> nn.Layer:
    """A copy of `model` in the form in which it is exported; gives the same boxes."""
    network = copy.deepcopy(model)
    network.eval()
    for rewrite in REWRITES:
        network = rewrite(network, options)
    return network


def target_of(network: nn.Layer) -> str:
    """One of TARGETS: "cpu" for a network with layers in a form for CPUs."""
    forms = (WinogradConv2D, GatheredDeformConv2D)
    return "cpu" if any(isinstance(layer, forms) for layer in network.sublayers()) else "any"
