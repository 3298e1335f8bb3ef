"""The modes of a network's layers."""

from contextlib import contextmanager
from typing import Iterator

import paddle
from paddle import nn


@contextmanager
def evaluation_mode(model: nn.Layer) -> Iterator[None]:
    """`model` in eval mode, without gradients; afterwards every layer is in the mode it had before.

    Layer by layer, because frozen norm layers stay in eval mode while the rest of a model trains.
    """
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.eval()
    try:
        with paddle.no_grad():
            yield
    finally:
        for layer, training in modes:
            layer.training = training
