"""The modified spatial attention module (SAM) of YOLOv4 (arXiv:2004.10934, section 3.4)."""

from typing import Any

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppdet_lite.modeling.layers.conv import ConvBNLayer


class PointwiseAttention(nn.Layer):
    """x * sigmoid(norm(1x1 convolution of x)): an attention for every cell and channel, without the
    pools of CBAM (arXiv:1807.06521). [B, C, H, W] kept.
    """

    def __init__(self, channels: int, **norm: Any):
        super().__init__()
        self.conv = ConvBNLayer(channels, channels, 1, act=None, **norm)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.sigmoid(self.conv(x))
