"""The residual unit of the darknet backbones of YOLOv4 (arXiv:2004.10934)."""

from typing import Any, Optional

from paddle import Tensor, nn

from ppdet_lite.modeling.layers.conv import ConvBNLayer
from ppdet_lite.modeling.layers.weighted_residual import Normalization, WeightedResidual


class ResidualUnit(nn.Layer):
    """1x1 to `hidden` channels, 3x3 back to `channels`, and the input on top: [B, C, H, W] kept.

    Nothing follows the sum.

    Args:
        weighted: normalization of learned weights of the two summands; None: a plain sum.
        **more: arguments of the convolution blocks.
    """

    def __init__(
        self, channels: int, hidden: int, weighted: Optional[Normalization] = None, **more: Any
    ):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, hidden, 1, **more)
        self.conv2 = ConvBNLayer(hidden, channels, 3, **more)
        self.merge = None if weighted is None else WeightedResidual(2, normalization=weighted)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.merge is None else self.merge([y, x])
