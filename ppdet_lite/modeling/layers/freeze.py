"""Parts of a network that do not train."""

from collections.abc import Iterable

from paddle import nn


def freeze(layers: Iterable[nn.Layer]) -> None:
    """Excludes the parameters of the layers from training."""
    for layer in layers:
        for parameter in layer.parameters():
            parameter.stop_gradient = True
            parameter.trainable = False
