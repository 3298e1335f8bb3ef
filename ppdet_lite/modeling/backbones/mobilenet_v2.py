"""MobileNetV2 (arXiv:1801.04381), without the classifier."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from paddle import Tensor, nn

from ppdet_lite.core.workspace import register
from ppdet_lite.modeling.arguments import Multiple, NormType, check_arguments, rising
from ppdet_lite.modeling.backbones.mobilenet_v3 import ConvBN, round_channels
from ppdet_lite.modeling.contracts import Backbone, ShapeSpec, chain


class StagePlan(NamedTuple):
    """Inverted residuals of the same width; the first has the stride."""

    expansion: int
    channels: int
    blocks: int
    stride: int


STEM_CHANNELS, LAST_CHANNELS = 32, 1280
PLAN = (
    StagePlan(1, 16, 1, 1),
    StagePlan(6, 24, 2, 2),
    StagePlan(6, 32, 3, 2),
    StagePlan(6, 64, 4, 2),
    StagePlan(6, 96, 3, 1),
    StagePlan(6, 160, 3, 2),
    StagePlan(6, 320, 1, 1),
)
"""Table 2 of the paper."""


class InvertedResidual(nn.Layer):
    """1x1 expansion (unless by 1), depthwise 3x3, linear 1x1; a shortcut where shapes allow it."""

    def __init__(self, ch_in: int, ch_out: int, stride: int, expansion: int, **norm: Any):
        super().__init__()
        inner = ch_in * expansion
        self._shortcut = stride == 1 and ch_in == ch_out
        self.expand_conv = ConvBN(ch_in, inner, 1, act="relu6", **norm) if expansion > 1 else None
        self.bottleneck_conv = ConvBN(inner, inner, 3, stride, groups=inner, act="relu6", **norm)
        self.linear_conv = ConvBN(inner, ch_out, 1, **norm)

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand_conv is None else self.expand_conv(x)
        out = self.linear_conv(self.bottleneck_conv(inner))
        return x + out if self._shortcut else out


@register
class MobileNetV2(Backbone):
    """A stem, inverted residuals, and a 1x1 convolution to 1280 channels.

    Args:
        scale, width_mult: factors on all channels, which are rounded to multiples of 8; the last
            convolution does not get narrower by `scale`.
        feature_maps: returned maps: 0 is the stem, 1 to 17 the inverted residuals, 18 the last
            convolution.
        norm_type, norm_decay, freeze_norm: see `batch_norm`.
    """

    __shared__ = ("norm_type", "width_mult")

    def __init__(
        self,
        scale: Multiple = 1.0,
        feature_maps: Sequence[int] = (6, 13, 18),
        norm_type: NormType = "bn",
        norm_decay: float = 0.0,
        freeze_norm: bool = False,
        width_mult: Multiple = 1.0,
    ):
        super().__init__()
        last = sum(plan.blocks for plan in PLAN) + 1
        check_arguments(rising("feature_maps", feature_maps, 0, last))
        norm: dict[str, Any] = {"norm_decay": norm_decay, "freeze_norm": freeze_norm}
        channels, stride = round_channels(STEM_CHANNELS * scale * width_mult), 2
        self.conv1 = ConvBN(3, channels, 3, 2, act="relu6", **norm)
        self._layers, shapes = [self.conv1], [ShapeSpec(channels, stride)]
        for plan in PLAN:
            width = round_channels(plan.channels * scale * width_mult)
            for block in range(plan.blocks):
                step = plan.stride if block == 0 else 1
                layer = InvertedResidual(channels, width, step, plan.expansion, **norm)
                self._layers.append(self.add_sublayer(f"conv{len(shapes) + 1}", layer))
                channels, stride = width, stride * step
                shapes.append(ShapeSpec(channels, stride))
        width = round_channels(LAST_CHANNELS * max(1.0, scale) * width_mult)
        self.last_conv = ConvBN(channels, width, 1, act="relu6", **norm)
        self._layers.append(self.last_conv)
        shapes.append(ShapeSpec(width, stride))
        self._returned = list(feature_maps)
        self.out_shape = [shapes[i] for i in feature_maps]

    def forward(self, image: Tensor) -> list[Tensor]:
        return chain(image, self._layers, self._returned)
