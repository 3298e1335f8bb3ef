"""Modulated deformable convolution, DCNv2 (arXiv:1811.11168)."""

from paddle import ParamAttr, Tensor, nn
from paddle.nn.functional import sigmoid
from paddle.nn.initializer import Constant
from paddle.vision.ops import DeformConv2D, deform_conv2d

from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32


class SampledConv2D(DeformConv2D):
    """Paddle's `DeformConv2D` in a form that exports run, with the bias added behind it.

    Left to `deform_conv2d`, the bias becomes an operator that oneDNN refuses in graphs of Paddle 2.
    """

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """float32 [B, C, H, W], offsets [B, 2 k k, H', W'], mask [B, k k, H', W'] to maps."""
        weight = to_float32(self.weight)
        output = deform_conv2d(
            x, offset, weight, stride=self._stride, padding=self._padding, mask=mask
        )
        if self.bias is None:  # until a batch norm is folded into the convolution
            return output
        return output + self.bias.reshape([1, -1, 1, 1])


class DeformableConvV2(nn.Layer):
    """A convolution that samples at learned offsets and weighs each sample by a learned mask.

    An ordinary convolution `conv_offset` with bias predicts, per output cell, 2 k k offsets (cells,
    y before x) and k k mask logits. It starts at zero, so the layer starts as an ordinary
    convolution at half strength. `conv` holds the weight, shaped and named like that of an ordinary
    convolution, and takes a pretrained one.

    The sampling itself stays in float32 under mixed precision: offsets need more than the ten bits
    of a half, and weights of released models exceed its range.

    Args:
        ch_in, ch_out, filter_size, stride: of the convolution; k is odd.
        learning_rate: factor on the learning rate of the weight (offsets always learn at 1).
    """

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int = 3,
        stride: int = 1,
        *,
        learning_rate: float = 1.0,
    ):
        super().__init__()
        taps = filter_size**2
        self._offset_channels = 2 * taps
        size = {"kernel_size": filter_size, "stride": stride, "padding": (filter_size - 1) // 2}
        zero = ParamAttr(initializer=Constant(0.0)), ParamAttr(initializer=Constant(0.0))
        self.conv_offset = nn.Conv2D(
            ch_in, 3 * taps, weight_attr=zero[0], bias_attr=zero[1], **size
        )
        weight_attr = ParamAttr(learning_rate=learning_rate)
        self.conv = SampledConv2D(ch_in, ch_out, weight_attr=weight_attr, bias_attr=False, **size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ch_in, H, W] to [B, ch_out, H / stride, W / stride]."""
        return self.convolve(x)

    def convolve(self, x: Tensor) -> Tensor:
        """The same, for subclasses: Paddle 2.6 cannot export a `super().forward`."""
        predicted = self.conv_offset(x)
        with full_precision():
            predicted = to_float32(predicted)
            offset = predicted[:, : self._offset_channels]
            mask = sigmoid(predicted[:, self._offset_channels :])
            return self.conv(to_float32(x), offset, mask)
