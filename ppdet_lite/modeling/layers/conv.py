"""Convolution, batch norm and activation in one block."""

from typing import Optional

from paddle import nn

from ppdet_lite.modeling.layers.activation import activation
from ppdet_lite.modeling.layers.norm import batch_norm


class ConvBNLayer(nn.Layer):
    """Convolution without bias, batch norm without weight decay, activation: [B, C, H, W] maps.

    Padding is "same" unless given. Its parameters are named `conv` and `batch_norm`, as in the
    released weights of the YOLO necks and of DarkNet.

    Args:
        ch_in, ch_out: channels.
        filter_size, stride, groups, padding: of the convolution.
        norm_type: see `batch_norm`.
        norm_decay: L2 coefficient of the batch norm.
        act: name of the activation; None for none.
        freeze_norm: see `batch_norm`.
    """

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        padding: Optional[int] = None,
        norm_type: str = "bn",
        norm_decay: float = 0.0,
        act: Optional[str] = "leaky",
        freeze_norm: bool = False,
    ):
        super().__init__()
        self.conv = nn.Conv2D(
            ch_in,
            ch_out,
            filter_size,
            stride=stride,
            padding=(filter_size - 1) // 2 if padding is None else padding,
            groups=groups,
            bias_attr=False,
        )
        self.batch_norm = batch_norm(ch_out, norm_type, norm_decay, frozen=freeze_norm)
        self._activation = activation(act)

    def forward(self, x):
        x = self.batch_norm(self.conv(x))
        return x if self._activation is None else self._activation(x)
