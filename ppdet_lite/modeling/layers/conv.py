"""Convolution, batch norm and activation in one block."""

from typing import Any, Optional

from paddle import ParamAttr, Tensor, nn

from ppdet_lite.modeling.layers.activation import activation
from ppdet_lite.modeling.layers.norm import batch_norm


class ConvNorm(nn.Layer):
    """Convolution without bias, batch norm, activation: [B, ch_in, H, W] to [B, ch_out, H', W'].

    Weight files hold the convolution as `conv` and the norm as `norm_name` says.

    Args:
        ch_in, ch_out, filter_size, stride, groups: of the convolution; its padding is "same".
        act: name of the activation; None for none.
        weight_attr: of the convolution.
        **norm: arguments of `batch_norm`.
    """

    norm_name = "norm"

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        act: Optional[str] = None,
        weight_attr: Optional[ParamAttr] = None,
        **norm: Any,
    ):
        super().__init__()
        size = (ch_in, ch_out, filter_size, stride, (filter_size - 1) // 2)
        self.conv = nn.Conv2D(*size, groups=groups, weight_attr=weight_attr, bias_attr=False)
        self.add_sublayer(self.norm_name, batch_norm(ch_out, **norm))
        self._activation = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        x = getattr(self, self.norm_name)(self.conv(x))
        return x if self._activation is None else self._activation(x)


class ConvBNLayer(ConvNorm):
    """`ConvNorm` of the YOLO necks and of DarkNet, with LeakyReLU."""

    norm_name = "batch_norm"

    def __init__(self, *size: int, act: Optional[str] = "leaky", **more: Any):
        super().__init__(*size, act=act, **more)
