"""Training and evaluation mode of layers."""

from contextlib import contextmanager
from typing import Iterator

import paddle
from paddle import nn


@contextmanager
def evaluation_mode(model: nn.Layer) -> Iterator[None]:
    """Context with `model` in evaluation mode and without gradients.

    The mode of each layer is restored on exit: frozen norm layers may differ from the model.
    """
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    model.eval()
    try:
        with paddle.no_grad():
            yield
    finally:
        for layer, training in modes:
            layer.training = training
