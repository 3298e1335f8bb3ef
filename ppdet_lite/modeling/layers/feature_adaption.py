"""Feature adaption of guided anchors (arXiv:1901.03278): features that look where the box is."""

from paddle import Tensor, nn

from ppdet_lite.modeling.layers.deform_conv import SampledConv2D
from ppdet_lite.modeling.layers.full_precision import full_precision, to_float32
from ppdet_lite.modeling.layers.rfb import RFB

FILTER_SIZE = 3


class FeatureAdaption(nn.Layer):
    """A deformable 3x3 convolution whose samples move with the predicted sizes of the boxes.

    Each of the predicted sizes moves its share of the channels. The sizes get no gradient from
    here. Sampling stays in float32 under mixed precision.

    Args:
        channels: C, before and after, a multiple of `sizes`.
        sizes: boxes with a predicted size, which are the deformable groups.
        rfb: an `RFB` before the convolution.
    """

    def __init__(self, channels: int, sizes: int, rfb: bool = False):
        super().__init__()
        offsets = 2 * FILTER_SIZE**2
        self.rfb = RFB(channels) if rfb else None
        self.conv_offset = nn.Conv2D(2 * sizes, offsets * sizes, 1, groups=sizes)
        size = {"kernel_size": FILTER_SIZE, "padding": FILTER_SIZE // 2}
        self.conv = SampledConv2D(channels, channels, deformable_groups=sizes, **size)

    def forward(self, x: Tensor, log_sizes: Tensor) -> Tensor:
        """[B, C, H, W] and logarithms of the sizes [B, 2 sizes, H, W] to [B, C, H, W]."""
        if self.rfb is not None:
            x = self.rfb(x)
        offset = self.conv_offset(log_sizes.detach())
        with full_precision():
            return self.conv(to_float32(x), to_float32(offset))
