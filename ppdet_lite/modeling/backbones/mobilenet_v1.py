"""MobileNetV1 (arXiv:1704.04861), without the classifier.

Parameters have the names of PaddleDetection's weight files: `conv1._conv.weight` for the stem, then
`conv2_1._depthwise_conv._conv.weight`, `conv2_1._pointwise_conv._conv.weight` ... up to `conv6`.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import KaimingNormal
from paddle.regularizer import L2Decay

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain
from ppdet_lite.modeling.layers.norm import batch_norm


class BlockPlan(NamedTuple):
    """A separable convolution to `channels`; the depthwise one has the stride."""

    name: str
    channels: int
    stride: int


STEM_CHANNELS = 32
PLAN = (
    BlockPlan("conv2_1", 64, 1),
    BlockPlan("conv2_2", 128, 2),
    BlockPlan("conv3_1", 128, 1),
    BlockPlan("conv3_2", 256, 2),
    BlockPlan("conv4_1", 256, 1),
    BlockPlan("conv4_2", 512, 2),
    *(BlockPlan(f"conv5_{i}", 512, 1) for i in range(1, 6)),
    BlockPlan("conv5_6", 1024, 2),
    BlockPlan("conv6", 1024, 1),
)
"""Table 1 of the paper."""


class ConvBN(nn.Layer):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        ch_in: int,
        ch_out: int,
        filter_size: int,
        stride: int = 1,
        *,
        groups: int = 1,
        rate: float = 1.0,
        conv_decay: float = 0.0,
        norm_decay: float = 0.0,
    ):
        super().__init__()
        start = {"initializer": KaimingNormal(), "regularizer": L2Decay(conv_decay)}
        attr = ParamAttr(learning_rate=rate, **start)
        size = (ch_in, ch_out, filter_size, stride, filter_size // 2)
        self._conv = nn.Conv2D(*size, groups=groups, weight_attr=attr, bias_attr=False)
        self._batch_norm = batch_norm(ch_out, norm_decay)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self._batch_norm(self._conv(x)))


class DepthwiseSeparable(nn.Layer):
    """Depthwise 3x3, then 1x1."""

    def __init__(self, ch_in: int, ch_out: int, stride: int, **options: Any):
        super().__init__()
        self._depthwise_conv = ConvBN(ch_in, ch_in, 3, stride, groups=ch_in, **options)
        self._pointwise_conv = ConvBN(ch_in, ch_out, 1, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self._pointwise_conv(self._depthwise_conv(x))


@register
class MobileNet(Backbone):
    """A stem and 13 separable convolutions.

    Args:
        scale, width_mult: factors on all channels.
        feature_maps: returned maps, 1 to 13, counting the separable convolutions.
        conv_learning_rate: factor on the learning rate of the convolutions.
        conv_decay, norm_decay: L2 coefficients of convolutions and norms, instead of the
            optimizer's.
        with_extra_blocks: extra blocks of SSD, not implemented.
        norm_type: see `batch_norm`.
    """

    __shared__ = ("norm_type", "width_mult")
    __unused__ = ("extra_block_filters",)

    def __init__(
        self,
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        conv_decay: float = 0.0,
        scale: Multiple = 1.0,
        conv_learning_rate: float = 1.0,
        feature_maps: Sequence[int] = (4, 6, 13),
        with_extra_blocks: Literal[False] = False,
        width_mult: Multiple = 1.0,
    ):
        super().__init__()
        check_arguments(rising("feature_maps", feature_maps, 1, len(PLAN)))

        def width(channels: int) -> int:
            return max(1, int(channels * scale * width_mult))

        options: dict[str, Any] = {
            "rate": conv_learning_rate,
            "conv_decay": conv_decay,
            "norm_decay": norm_decay,
        }
        channels, stride = width(STEM_CHANNELS), 2
        self.conv1 = ConvBN(3, channels, 3, 2, **options)
        self._layers, shapes = [self.conv1], []
        # Blocks after the last returned map are not built.
        for plan in PLAN[: max(feature_maps)]:
            block = DepthwiseSeparable(channels, width(plan.channels), plan.stride, **options)
            self._layers.append(self.add_sublayer(plan.name, block))
            channels, stride = width(plan.channels), stride * plan.stride
            shapes.append(ShapeSpec(channels, stride))
        self._returned = list(feature_maps)
        self.out_shape = [shapes[i - 1] for i in feature_maps]

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(image, self._layers, self._returned)
