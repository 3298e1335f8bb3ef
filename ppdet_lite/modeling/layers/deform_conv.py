"""Modulated deformable convolution, DCNv2 (arXiv:1811.11168)."""

from typing import Any, Optional

import paddle
from paddle import ParamAttr, Tensor, nn
from paddle.nn.functional import sigmoid
from paddle.nn.initializer import Constant
from paddle.vision.ops import DeformConv2D, deform_conv2d

from ppdet_lite.modeling.layers.activation import ACTIVATIONS
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.layers.norm import batch_norm


class SampledConv2D(DeformConv2D):
    """`DeformConv2D` that adds its bias separately, so that exported graphs run.

    oneDNN refuses the operator that `deform_conv2d` makes of the bias in graphs of Paddle 2.
    """

    def forward(self, x: Tensor, offset: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """float32 [B, C, H, W], offsets [B, 2 G k k, H', W'], mask [B, G k k, H', W'] to maps.

        G are the deformable groups: each moves its share of the channels. Without a mask all
        samples count fully (deformable convolution v1, arXiv:1703.06211).
        """
        if mask is None and not paddle.in_dynamic_mode():  # paddle2onnx wants one
            mask = paddle.ones_like(offset[:, : offset.shape[1] // 2])
        size = {
            "stride": self._stride,
            "padding": self._padding,
            "deformable_groups": self._deformable_groups,
        }
        output = deform_conv2d(x, offset, to_float32(self.weight), mask=mask, **size)
        if self.bias is None:  # set when a batch norm is folded into the convolution
            return output
        return output + self.bias.reshape([1, -1, 1, 1])


class DeformableConvV2(nn.Layer):
    """Convolution that samples at learned offsets and weighs samples by a learned mask.

    `conv_offset` predicts 2 k k offsets (in cells, y before x) and k k mask logits per output cell.
    It starts at zero, so that the layer starts as a plain convolution times 0.5. `conv` holds the
    weight with name and shape of a plain convolution and accepts its pretrained weight.

    Sampling stays in float32 under mixed precision: offsets need more than the ten bits of a half,
    and weights of released models exceed its range.

    Args:
        filter_size: k, odd.
        learning_rate: factor on the learning rate of all parameters but those of `conv_offset`.
        act: name of the activation.
        norm: arguments of the `batch_norm` after the convolution; None for none.
    """

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int = 3,
        stride: int = 1,
        *,
        learning_rate: float = 1.0,
        act: Optional[str] = None,
        norm: Optional[dict[str, Any]] = None,
    ):
        super().__init__()
        taps = filter_size**2
        self._offset_channels = 2 * taps
        size = {"kernel_size": filter_size, "stride": stride, "padding": (filter_size - 1) // 2}
        zero = ParamAttr(initializer=Constant(0.0))
        self.conv_offset = nn.Conv2D(ch_in, 3 * taps, weight_attr=zero, bias_attr=zero, **size)
        weight = ParamAttr(learning_rate=learning_rate)
        self.conv = SampledConv2D(ch_in, ch_out, weight_attr=weight, bias_attr=False, **size)
        self.norm = (
            None if norm is None else batch_norm(ch_out, learning_rate=learning_rate, **norm)
        )
        self._activation = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        """[B, ch_in, H, W] to [B, ch_out, H / stride, W / stride]."""
        predicted = self.conv_offset(x)
        with full_precision():
            predicted = to_float32(predicted)
            offset = predicted[:, : self._offset_channels]
            mask = sigmoid(predicted[:, self._offset_channels :])
            x = self.conv(to_float32(x), offset, mask)
        if self.norm is not None:
            x = self.norm(x)
        return x if self._activation is None else self._activation(x)
