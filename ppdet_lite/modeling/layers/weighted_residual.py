"""The multi-input weighted residual connection (MiWRC) of YOLOv4 (arXiv:2004.10934)."""

from collections.abc import Sequence
from typing import Literal, Optional

import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import Constant

Normalization = Literal["none", "relu", "softmax"]
EPSILON = 1e-4
"""Added to the sum of the weights."""


class WeightedResidual(nn.Layer):
    """Sum of several maps with learned weights, as darknet computes it.

    Args:
        inputs: number of maps.
        channels: one weight per map and channel, map after map; None: one weight per map.
        normalization: "relu" divides what is positive of the weights by its sum, "softmax" their
            exponentials by theirs; over the maps, channel by channel.
    """

    def __init__(
        self, inputs: int, channels: Optional[int] = None, normalization: Normalization = "relu"
    ):
        super().__init__()
        self.normalization, self._inputs = normalization, inputs
        count = inputs * (channels or 1)
        self.weight = self.create_parameter([count], default_initializer=Constant(1.0))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, H, W], as many as `inputs`, to one."""
        shares = self.shares()
        return sum(x * shares[i].reshape([1, -1, 1, 1]).astype(x.dtype) for i, x in enumerate(maps))

    def shares(self) -> Tensor:
        """The weights by which the maps are multiplied, [inputs, C] or [inputs, 1]."""
        weight = self.weight.reshape([self._inputs, -1])
        if self.normalization == "none":
            return weight
        if self.normalization == "relu":
            raised = F.relu(weight)
        else:
            raised = (weight - weight.max(axis=0, keepdim=True)).exp()
        return raised / (EPSILON + raised.sum(axis=0, keepdim=True))
