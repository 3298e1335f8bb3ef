"""The residual unit of the darknet backbones of YOLOv4 (arXiv:2004.10934)."""

from typing import Any

from paddle import Tensor, nn

from ppdet_lite.modeling.layers.conv import ConvBNLayer


class ResidualUnit(nn.Layer):
    """1x1 to `hidden` channels, 3x3 back to `channels`, and the input on top: [B, C, H, W] kept.

    Nothing follows the sum.
    """

    def __init__(self, channels: int, hidden: int, **more: Any):
        super().__init__()
        self.conv1 = ConvBNLayer(channels, hidden, 1, **more)
        self.conv2 = ConvBNLayer(hidden, channels, 3, **more)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))
