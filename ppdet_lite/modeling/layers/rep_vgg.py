"""The RepVGG pair (arXiv:2101.03697): two convolutions in training that are one in inference."""

from typing import Optional

from paddle import Tensor, nn

from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.csp import BaseConv


class RepVGGBlock(nn.Layer):
    """A 3x3 and a 1x1 convolution side by side, each with its norm; their sum, then the activation.

    Exports join both to one 3x3 (`export.rewrite.rep_vgg`).
    """

    def __init__(self, channels: int, act: Optional[str]):
        super().__init__()
        self.conv1 = BaseConv(channels, channels, 3, act=None)
        self.conv2 = BaseConv(channels, channels, 1, act=None)
        self._activation = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x) + self.conv2(x)
        return x if self._activation is None else self._activation(x)
